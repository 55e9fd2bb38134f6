//! [`Outgoing`]: what a connection has accepted and not yet sent.

use std::collections::VecDeque;
use std::ffi::c_int;
use std::io;
use std::os::fd::RawFd;

/// So many pieces at most go into one system call: what Linux takes (`IOV_MAX`).
pub const PIECES: usize = 1024;

/// What an event loop sends with: it neither waits, nor raises SIGPIPE where the peer is gone.
pub const SEND_FLAGS: c_int = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;

/// A piece of data that does not change while it is held.
pub trait Piece {
    /// The bytes.
    fn bytes(&self) -> &[u8];
}

/// Pieces in order, the first of which may be sent in part.
#[derive(Debug)]
pub struct Outgoing<P> {
    pieces: VecDeque<P>,
    /// So much of the first piece is sent.
    sent: usize,
    /// So much is left in all.
    left: usize,
}

/// Pieces that are sent. It is one, mostly: that needs no memory.
#[derive(Debug)]
pub struct Done<P> {
    first: Option<P>,
    more: Vec<P>,
}

impl<P> Default for Done<P> {
    fn default() -> Self {
        Self { first: None, more: Vec::new() }
    }
}

impl<P> Done<P> {
    fn push(&mut self, piece: P) {
        match self.first {
            None => self.first = Some(piece),
            Some(_) => self.more.push(piece),
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }
}

impl<P> Default for Outgoing<P> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), sent: 0, left: 0 }
    }
}

impl<P: Piece> Outgoing<P> {
    /// How many bytes are left to send.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.left
    }

    /// Whether all is sent.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// Accepts a piece, of which the first `sent` bytes are sent already; that is allowed only while
    /// there is nothing else.
    pub fn push(&mut self, piece: P, sent: usize) {
        let len = piece.bytes().len();
        debug_assert!(sent == 0 || self.is_empty());
        if sent >= len {
            return;
        }
        if self.pieces.is_empty() {
            self.sent = sent;
        }
        self.left += len - sent;
        self.pieces.push_back(piece);
    }

    /// What is to be sent next, as the kernel wants it.
    fn vectors(&self, vectors: &mut Vec<libc::iovec>) {
        vectors.clear();
        let mut skip = self.sent;
        for piece in self.pieces.iter().take(PIECES) {
            let bytes = &piece.bytes()[std::mem::take(&mut skip)..];
            vectors.push(libc::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            });
        }
    }

    /// Sends as much as the kernel takes at once; how much that was.
    pub fn send(&self, fd: RawFd, vectors: &mut Vec<libc::iovec>) -> io::Result<usize> {
        let sent = if self.pieces.len() == 1 {
            let bytes = &self.pieces[0].bytes()[self.sent..];
            // SAFETY: so many bytes.
            unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), SEND_FLAGS) }
        } else {
            self.vectors(vectors);
            // SAFETY: zeroed is an empty header; the vectors point to pieces that `self` holds.
            unsafe {
                let mut header: libc::msghdr = std::mem::zeroed();
                header.msg_iov = vectors.as_mut_ptr();
                header.msg_iovlen = vectors.len();
                libc::sendmsg(fd, &header, SEND_FLAGS)
            }
        };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
    }

    /// So many bytes are sent: hands the pieces that are done to `done`, to be dropped outside the
    /// lock.
    pub fn advance(&mut self, count: usize, done: &mut Done<P>) {
        debug_assert!(count <= self.left);
        self.left -= count;
        let mut count = count + self.sent;
        self.sent = 0;
        while let Some(piece) = self.pieces.front() {
            let len = piece.bytes().len();
            if len > count {
                self.sent = count;
                return;
            }
            count -= len;
            if let Some(piece) = self.pieces.pop_front() {
                done.push(piece);
            }
        }
    }

    /// Takes all out, unsent, to be dropped outside the lock.
    #[must_use]
    pub fn clear(&mut self) -> VecDeque<P> {
        (self.sent, self.left) = (0, 0);
        std::mem::take(&mut self.pieces)
    }

    /// The pieces that are not sent yet.
    pub fn iter(&self) -> impl Iterator<Item = &P> {
        self.pieces.iter()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Done, Outgoing, Piece};
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    impl Piece for Vec<u8> {
        fn bytes(&self) -> &[u8] {
            self
        }
    }

    fn piece(number: usize) -> Vec<u8> {
        (0..number % 97 + 1).map(|byte| (number * 31 + byte) as u8).collect()
    }

    #[test]
    fn every_byte_is_sent_once_and_in_order() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let (mut outgoing, mut expected, mut done) =
            (Outgoing::default(), Vec::new(), Done::default());
        for number in 0..20_000 {
            expected.extend(piece(number));
            outgoing.push(piece(number), 0);
        }
        assert_eq!(outgoing.len(), expected.len());
        let (mut received, mut part, mut vectors) = (Vec::<u8>::new(), [0; 5000], Vec::new());
        while received.len() < expected.len() {
            match outgoing.send(ours.as_raw_fd(), &mut vectors) {
                Ok(count) => outgoing.advance(count, &mut done),
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
            }
            let count = theirs.read(&mut part).unwrap();
            received.extend(&part[..count]);
        }
        assert!(outgoing.is_empty());
        assert!(received == expected);
        assert_eq!(done.count(), 20_000);
    }

    #[test]
    fn a_piece_may_come_half_sent() {
        let (mut outgoing, mut done) = (Outgoing::default(), Done::default());
        outgoing.push(vec![1, 2, 3], 2);
        outgoing.push(vec![4, 5], 0);
        assert_eq!(outgoing.len(), 3);
        outgoing.advance(2, &mut done);
        assert_eq!((outgoing.len(), done.count()), (1, 1));
        outgoing.advance(1, &mut done);
        assert!(outgoing.is_empty() && done.count() == 2);
        outgoing.push(vec![6], 1);
        assert!(outgoing.is_empty() && outgoing.iter().next().is_none());
    }

    #[test]
    fn what_is_cleared_is_not_sent() {
        let mut outgoing = Outgoing::default();
        outgoing.push(vec![1, 2, 3], 1);
        assert_eq!(outgoing.clear().len(), 1);
        outgoing.push(vec![4], 0);
        assert_eq!(outgoing.len(), 1);
    }
}
