//! One connection of the load generator.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use crate::answer::{Answer, Framing};
use crate::options::{Options, Over};
use crate::tls::Secured;

/// What carries it.
enum Carrier {
    Stream(TcpStream),
    Datagrams(UdpSocket),
    Tls(Box<Secured>),
}

impl Carrier {
    fn open(to: SocketAddr, over: Over) -> io::Result<Self> {
        if over == Over::Datagrams {
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
            socket.connect(to)?;
            return Ok(Self::Datagrams(socket));
        }
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        Ok(match over {
            Over::Tls => Self::Tls(Box::new(Secured::open(stream)?)),
            _ => Self::Stream(stream),
        })
    }

    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(data),
            Self::Datagrams(socket) => socket.send(data),
            Self::Tls(secured) => secured.write(data),
        }
    }

    /// Whether it has taken data that it could not send yet; an empty write goes on with that.
    fn has_unsent(&self) -> bool {
        matches!(self, Self::Tls(secured) if secured.has_unsent())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.read(buffer),
            Self::Datagrams(socket) => socket.recv(buffer),
            Self::Tls(secured) => secured.read(buffer),
        }
    }

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.set_nonblocking(true),
            Self::Datagrams(socket) => socket.set_nonblocking(true),
            Self::Tls(secured) => secured.set_nonblocking(),
        }
    }
}

/// Sends a request whole, then waits for the whole answer.
pub struct Connection {
    carrier: Carrier,
    sent: usize,
    answer: Answer,
    /// When the request that is in flight was begun.
    pub started: Instant,
    /// Whether the rest of a request waits for room.
    pub is_blocked: bool,
}

impl Connection {
    /// Connects and sends a request, whose answer [`Self::greet`] waits for.
    pub fn open(options: &Options, request: &[u8]) -> io::Result<Self> {
        let mut carrier = Carrier::open(options.to, options.over)?;
        let mut rest = request;
        while !rest.is_empty() {
            rest = &rest[carrier.write(rest)?..];
        }
        let (answer, started) = (Answer::new(options.framing), Instant::now());
        Ok(Self { carrier, sent: 0, answer, started, is_blocked: false })
    }

    /// Waits for the first answer, and checks that an echo is one.
    ///
    /// By then the server has accepted the connection and made what it makes for it.
    pub fn greet(&mut self, framing: Framing, request: &[u8], buffer: &mut [u8]) -> io::Result<()> {
        let mut seen = 0;
        loop {
            let chunk = self.read(buffer)?;
            let echoed = request.get(seen..seen + chunk);
            if framing != Framing::Http && echoed != Some(&buffer[..chunk]) {
                return Err(io::Error::new(ErrorKind::InvalidData, "an echo that is none"));
            }
            seen += chunk;
            if self.answer.feed(&buffer[..chunk])? {
                self.answer.reset();
                return self.carrier.set_nonblocking();
            }
        }
    }

    /// Begins an exchange.
    pub fn start(&mut self, request: &[u8], now: Instant) -> io::Result<()> {
        self.started = now;
        self.sent = 0;
        self.send(request)
    }

    /// Sends what there is room for.
    pub fn send(&mut self, request: &[u8]) -> io::Result<()> {
        match self.carrier.write(&request[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.is_blocked = self.sent < request.len() || self.carrier.has_unsent();
        Ok(())
    }

    /// Reads once; whether the answer is whole now.
    pub fn receive(&mut self, buffer: &mut [u8]) -> io::Result<bool> {
        let count = match self.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            other => other?,
        };
        let is_whole = self.answer.feed(&buffer[..count])?;
        if is_whole {
            self.answer.reset();
        }
        Ok(is_whole)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.carrier.read(buffer)? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed a connection")),
            count => Ok(count),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.carrier {
            Carrier::Stream(stream) => stream.as_fd(),
            Carrier::Datagrams(socket) => socket.as_fd(),
            Carrier::Tls(secured) => secured.as_fd(),
        }
    }
}
