//! A client's end of TLS over TCP.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, LazyLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, Error, SignatureScheme};

/// A caller's buffer is divided: plaintext has twice the room of what is read from the socket at
/// once, because its first record may have begun in an earlier read.
const PLAIN_SHARES: usize = 2;
const SHARES: usize = 3;

static CONFIG: LazyLock<Arc<ClientConfig>> = LazyLock::new(|| Arc::new(config()));

fn config() -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring has ciphers for each version")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        .with_no_client_auth();
    // Each handshake is to cost the same.
    config.resumption = Resumption::disabled();
    config
}

/// Takes every server for the right one.
///
/// A benchmark's server signs its certificate itself, listens on this machine and is told no
/// secret: there is nothing to protect.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A stream that is encrypted.
pub struct Secured {
    stream: TcpStream,
    session: ClientConnection,
}

impl Secured {
    /// Shakes hands on a stream that blocks.
    pub fn open(mut stream: TcpStream) -> io::Result<Self> {
        let server = ServerName::from(stream.peer_addr()?.ip());
        let mut session =
            ClientConnection::new(CONFIG.clone(), server).map_err(io::Error::other)?;
        // A request is taken whole, so that it takes one `writev` where there is room.
        session.set_buffer_limit(None);
        session.complete_io(&mut stream)?;
        Ok(Self { stream, session })
    }

    /// Takes data and sends what there is room for, of earlier data first.
    pub fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(data)?;
        while self.has_unsent() {
            match self.session.write_tls(&mut self.stream) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                other => other?,
            };
        }
        Ok(taken)
    }

    /// Whether data that was taken waits for room; [`Self::write`] goes on with it, given nothing.
    pub fn has_unsent(&self) -> bool {
        self.session.wants_write()
    }

    /// Reads what has come, nothing if the other side has closed.
    ///
    /// All that can be decrypted is returned: none of it is left where epoll does not see it. While
    /// that is nothing, such as half a record or a ticket, it is read on.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (plain, sealed) = buffer.split_at_mut(buffer.len() / SHARES * PLAIN_SHARES);
        loop {
            // One read from the socket: rustls by itself would take 4 KiB at a time.
            let count = self.stream.read(sealed)?;
            let (mut rest, mut filled) = (&sealed[..count], 0);
            while !rest.is_empty() {
                self.session.read_tls(&mut rest)?;
                let state = self.session.process_new_packets().map_err(invalid)?;
                let end = filled + state.plaintext_bytes_to_read();
                self.session.reader().read_exact(&mut plain[filled..end])?;
                filled = end;
                if state.peer_has_closed() {
                    return Ok(filled);
                }
            }
            if filled > 0 || count == 0 {
                return Ok(filled);
            }
        }
    }

    /// From now on nothing waits.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.stream.set_nonblocking(true)
    }
}

impl AsFd for Secured {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use rustls::pki_types::PrivateKeyDer;
    use rustls::pki_types::pem::PemObject;
    use rustls::server::{ServerConfig, ServerConnection};

    use super::*;
    use crate::poll::{Poller, READ, no_events};

    const PEM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/loop_checks/localhost.pem");
    /// The length of [`pattern`]'s period.
    const PERIOD: usize = 251;

    /// The other end, after the handshake.
    struct Server {
        stream: TcpStream,
        session: ServerConnection,
    }

    impl Server {
        fn accept(listener: &TcpListener) -> Self {
            let config = ServerConfig::builder_with_provider(ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(
                    vec![CertificateDer::from_pem_file(PEM).unwrap()],
                    PrivateKeyDer::from_pem_file(PEM).unwrap(),
                )
                .unwrap();
            let mut stream = listener.accept().unwrap().0;
            // What is written is there at once.
            stream.set_nodelay(true).unwrap();
            let mut session = ServerConnection::new(config.into()).unwrap();
            session.complete_io(&mut stream).unwrap();
            Self { stream, session }
        }

        /// What goes over the wire for a message.
        fn sealed(&mut self, message: &[u8]) -> Vec<u8> {
            let mut sealed = Vec::new();
            self.session.writer().write_all(message).unwrap();
            while self.session.wants_write() {
                self.session.write_tls(&mut sealed).unwrap();
            }
            sealed
        }

        /// Reads once from the socket.
        fn read(&mut self, into: &mut Vec<u8>) {
            assert_ne!(self.session.read_tls(&mut self.stream).unwrap(), 0);
            let state = self.session.process_new_packets().unwrap();
            let begin = into.len();
            into.resize(begin + state.plaintext_bytes_to_read(), 0);
            self.session.reader().read_exact(&mut into[begin..]).unwrap();
        }
    }

    fn pair() -> (Secured, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        thread::scope(|scope| {
            let server = scope.spawn(|| Server::accept(&listener));
            let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let client = Secured::open(stream).unwrap();
            client.set_nonblocking().unwrap();
            (client, server.join().unwrap())
        })
    }

    fn pattern(length: usize) -> Vec<u8> {
        (0..length).map(|index| (index % PERIOD) as u8).collect()
    }

    /// Reads once what is sent to it.
    fn read(client: &mut Secured, poller: &Poller, sent: &[u8], server: &mut Server) -> Vec<u8> {
        let mut buffer = vec![0; 256 * 1024];
        server.stream.write_all(sent).unwrap();
        poller.wait(&mut no_events()).unwrap();
        match client.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Vec::new(),
            count => buffer[..count.unwrap()].to_vec(),
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring is C and assembly")]
    fn records_are_read_however_they_are_cut() {
        let (mut client, mut server) = pair();
        let poller = Poller::new().unwrap();
        poller.add(&client, 0, READ).unwrap();
        let several = [b"one", b"two"].map(|message| server.sealed(message)).concat();
        // Both at once: of the second one epoll would say nothing.
        assert_eq!(read(&mut client, &poller, &several, &mut server), b"onetwo");

        let message = pattern(40_000);
        let sealed = server.sealed(&message);
        let pieces = sealed.chunks(997);
        let read = pieces.flat_map(|piece| read(&mut client, &poller, piece, &mut server));
        assert!(read.eq(message));
    }

    #[test]
    #[cfg_attr(miri, ignore = "ring is C and assembly")]
    fn what_there_is_no_room_for_is_sent_later() {
        let (mut client, mut server) = pair();
        let (message, mut taken, mut received) = (pattern(PERIOD * 4000), 0, Vec::new());
        while !client.has_unsent() {
            taken += client.write(&message).unwrap();
        }
        while received.len() < taken {
            assert_eq!(client.write(&[]).unwrap(), 0);
            server.read(&mut received);
        }
        assert!(!client.has_unsent());
        assert_eq!(received, pattern(taken));
    }
}
