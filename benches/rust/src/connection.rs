//! One connection of the load generator.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use crate::answer::{Answer, Framing};

/// Sends a request whole, then waits for the whole answer.
pub struct Connection {
    stream: TcpStream,
    sent: usize,
    answer: Answer,
    /// When the request that is in flight was begun.
    pub started: Instant,
    /// Whether the rest of a request waits for room.
    pub is_blocked: bool,
}

impl Connection {
    /// Connects and sends a request, whose answer [`Self::greet`] waits for.
    pub fn open(to: SocketAddr, framing: Framing, request: &[u8]) -> io::Result<Self> {
        let mut stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        stream.write_all(request)?;
        let (answer, started) = (Answer::new(framing), Instant::now());
        Ok(Self { stream, sent: 0, answer, started, is_blocked: false })
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
                return self.stream.set_nonblocking(true);
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
        match self.stream.write(&request[self.sent..]) {
            Ok(count) => self.sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        self.is_blocked = self.sent < request.len();
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
        match self.stream.read(buffer)? {
            0 => Err(io::Error::new(ErrorKind::UnexpectedEof, "the server closed a connection")),
            count => Ok(count),
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
