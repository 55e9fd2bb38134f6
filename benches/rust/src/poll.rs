//! A level-triggered epoll, with file descriptors or indexes as tokens.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// There is something to read, or the other side has closed.
pub const READ: u32 = libc::EPOLLIN as u32;
/// There is room to write.
pub const WRITE: u32 = libc::EPOLLOUT as u32;
/// How many events one wait can bring.
pub const BATCH: usize = 256;

/// What one wait brings: room for [`BATCH`] events.
pub type Ready = [libc::epoll_event; BATCH];

/// An empty [`Ready`].
pub fn no_events() -> Ready {
    [libc::epoll_event { events: 0, u64: 0 }; BATCH]
}

/// Waits for file descriptors.
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// One that waits for nothing yet.
    pub fn new() -> io::Result<Self> {
        // SAFETY: the call takes no pointer.
        let made = checked(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Self { epoll: unsafe { OwnedFd::from_raw_fd(made) } })
    }

    /// Waits for a descriptor from now on, until it is closed.
    pub fn add(&self, fd: &impl AsFd, token: usize, interest: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd, token, interest)
    }

    /// Waits for something else of a descriptor that was added.
    pub fn change(&self, fd: &impl AsFd, token: usize, interest: u32) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd, token, interest)
    }

    fn control(&self, what: i32, fd: &impl AsFd, token: usize, interest: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest, u64: token as u64 };
        let (epoll, fd) = (self.epoll.as_raw_fd(), fd.as_fd().as_raw_fd());
        // SAFETY: both descriptors are open, and the kernel copies the event.
        checked(unsafe { libc::epoll_ctl(epoll, what, fd, &raw mut event) }).map(drop)
    }

    /// The events that there are, after waiting for one; none if a signal came.
    pub fn wait<'a>(&self, ready: &'a mut Ready) -> io::Result<&'a [libc::epoll_event]> {
        let (epoll, room) = (self.epoll.as_raw_fd(), BATCH as i32);
        // SAFETY: the kernel writes at most `room` events, and `ready` has that many.
        let found = checked(unsafe { libc::epoll_wait(epoll, ready.as_mut_ptr(), room, -1) });
        match found {
            Ok(count) => Ok(&ready[..count as usize]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
