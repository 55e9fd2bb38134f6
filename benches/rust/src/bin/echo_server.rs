//! The bare echo server, which event loops are compared with.
//!
//! Prints its port, and exits at the end of its standard input. With `--datagrams` it echoes those. A
//! connection that has something left to send is not read from meanwhile, so a slow reader costs one message
//! of memory.

use std::env;
use std::io::{self, ErrorKind, Read, Write, stdin};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;

use counterpoint_bench::limits::raise_file_limit;
use counterpoint_bench::poll::{Poller, READ, WRITE, no_events};

const BUFFER_BYTES: usize = 256 * 1024;

/// A client, and what it has not taken yet.
struct Client {
    stream: TcpStream,
    rest: Vec<u8>,
}

struct Server {
    poller: Poller,
    listener: TcpListener,
    /// By file descriptor.
    clients: Vec<Option<Client>>,
    buffer: Vec<u8>,
}

fn main() -> io::Result<()> {
    raise_file_limit()?;
    if env::args().nth(1).as_deref() == Some("--datagrams") {
        return serve_datagrams();
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    println!("{}", listener.local_addr()?.port());
    let buffer = vec![0; BUFFER_BYTES];
    Server { poller: Poller::new()?, listener, clients: Vec::new(), buffer }.serve()
}

fn serve_datagrams() -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.set_nonblocking(true)?;
    println!("{}", socket.local_addr()?.port());
    let (poller, mut buffer, mut ready) = (Poller::new()?, vec![0; BUFFER_BYTES], no_events());
    let stdin = stdin().as_raw_fd() as usize;
    poller.add(&socket, socket.as_raw_fd() as usize, READ)?;
    poller.add(&io::stdin(), stdin, READ)?;
    loop {
        for event in poller.wait(&mut ready)? {
            if event.u64 as usize == stdin {
                return Ok(());
            }
            let (count, from) = socket.recv_from(&mut buffer)?;
            sent(socket.send_to(&buffer[..count], from))?;
        }
    }
}

impl Server {
    fn serve(&mut self) -> io::Result<()> {
        let (stdin, listener) = (stdin().as_raw_fd() as usize, self.listener.as_raw_fd() as usize);
        self.poller.add(&self.listener, listener, READ)?;
        self.poller.add(&io::stdin(), stdin, READ)?;
        let mut ready = no_events();
        loop {
            for event in self.poller.wait(&mut ready)? {
                let (token, events) = (event.u64 as usize, event.events);
                if token == stdin {
                    return Ok(());
                } else if token == listener {
                    self.accept()?;
                } else if self.turn(token, events).is_err() {
                    self.clients[token] = None;
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            // The client has gone meanwhile.
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let token = stream.as_raw_fd() as usize;
        self.poller.add(&stream, token, READ)?;
        if self.clients.len() <= token {
            self.clients.resize_with(token + 1, || None);
        }
        self.clients[token] = Some(Client { stream, rest: Vec::new() });
        Ok(())
    }

    /// What one event of a client asks for; an error ends the client.
    fn turn(&mut self, token: usize, events: u32) -> io::Result<()> {
        let client = self.clients[token].as_mut().expect("an open client");
        if events & WRITE != 0 {
            let sent = sent(client.stream.write(&client.rest))?;
            client.rest.drain(..sent);
            if client.rest.is_empty() {
                self.poller.change(&client.stream, token, READ)?;
            }
            return Ok(());
        }
        let count = client.stream.read(&mut self.buffer)?;
        if count == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let sent = sent(client.stream.write(&self.buffer[..count]))?;
        if sent < count {
            client.rest.extend_from_slice(&self.buffer[sent..count]);
            self.poller.change(&client.stream, token, WRITE)?;
        }
        Ok(())
    }
}

/// How much was sent: nothing, if there was no room.
fn sent(result: io::Result<usize>) -> io::Result<usize> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        other => other,
    }
}
