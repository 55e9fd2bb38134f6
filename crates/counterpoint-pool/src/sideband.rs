//! The *sideband* of a lane: a pair of sockets for what a ring cannot carry.
//!
//! To the worker go descriptors, which only the kernel can hand over; from it come messages that
//! any of its threads may send at any time, and that outlive it: log records, above all the last
//! ones. A message is sent whole or not at all, whoever is killed when.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The longest message; what is longer has to be cut by its sender.
pub const MAX_MESSAGE: usize = 64 << 10;

/// Room for one descriptor, aligned as the kernel wants it.
type Rights = [u64; 4];

/// Two connected ends: of the pool, and of its worker.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: the call fills in both numbers, which then nobody else owns, or fails.
    unsafe {
        check(libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) as isize)?;
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Sends a message, with a copy of a descriptor if one is given. Without `wait` it fails rather
/// than wait for room.
pub fn send(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    wait: bool,
) -> io::Result<()> {
    let mut vector =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    let mut rights: Rights = [0; 4];
    // SAFETY: all zeros is a valid message; it points to what lives through the call, and the
    // space for one descriptor is less than that of `Rights`.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        if let Some(descriptor) = descriptor {
            message.msg_control = rights.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(size_of::<i32>() as u32) as usize;
            let head = libc::CMSG_FIRSTHDR(&message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(size_of::<i32>() as u32) as usize;
            libc::CMSG_DATA(head).cast::<i32>().write_unaligned(descriptor.as_raw_fd());
        }
        let flags = libc::MSG_NOSIGNAL | if wait { 0 } else { libc::MSG_DONTWAIT };
        check(libc::sendmsg(socket.as_raw_fd(), &message, flags)).map(drop)
    }
}

/// A message that was received: how many bytes, and the descriptor that came with it. The kernel
/// drops one for which this process has no room.
pub struct Mail {
    /// How many bytes.
    pub len: usize,
    /// What came with them.
    pub descriptor: Option<OwnedFd>,
}

/// The next message, into `bytes`; `None`: there is none now, or never will be.
pub fn receive(socket: BorrowedFd<'_>, bytes: &mut [u8]) -> Option<Mail> {
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let mut rights: Rights = [0; 4];
    // SAFETY: all zeros is a valid message; it points to what lives through the call. What the
    // kernel put into the rights it describes in the header, and is owned by nobody else.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&mut vector, 1);
        (message.msg_control, message.msg_controllen) =
            (rights.as_mut_ptr().cast(), libc::CMSG_SPACE(size_of::<i32>() as u32) as usize);
        let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
        let len = check(libc::recvmsg(socket.as_raw_fd(), &mut message, flags)).ok()?;
        if len == 0 {
            return None;
        }
        let head = libc::CMSG_FIRSTHDR(&message);
        let some = !head.is_null() && (*head).cmsg_type == libc::SCM_RIGHTS;
        let descriptor = some
            .then(|| OwnedFd::from_raw_fd(libc::CMSG_DATA(head).cast::<i32>().read_unaligned()));
        Some(Mail { len: len as usize, descriptor })
    }
}

fn check(result: isize) -> io::Result<isize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn messages_and_descriptors_arrive_whole() {
        let (ours, theirs) = pair().unwrap();
        let (given, _) = pair().unwrap();
        send(ours.as_fd(), b"first", Some(given.as_fd()), false).unwrap();
        send(ours.as_fd(), b"second", None, false).unwrap();
        let mut bytes = [0; 16];
        let mail = receive(theirs.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..mail.len], mail.descriptor.is_some()), (&b"first"[..], true));
        let mail = receive(theirs.as_fd(), &mut bytes).unwrap();
        assert_eq!((&bytes[..mail.len], mail.descriptor.is_some()), (&b"second"[..], false));
        assert!(receive(theirs.as_fd(), &mut bytes).is_none());
    }

    #[test]
    fn a_full_or_closed_socket_is_an_error() {
        let (ours, theirs) = pair().unwrap();
        let full = (0..100_000).find_map(|_| send(ours.as_fd(), &[0; 1024], None, false).err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(theirs);
        assert!(send(ours.as_fd(), b"x", None, false).is_err());
    }
}
