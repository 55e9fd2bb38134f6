//! [`Poller`]: epoll, and which descriptors it watches for what.
//!
//! Level-triggered, unless it is told otherwise: what is left is reported again. That has the kernel
//! look at each descriptor twice, once more after it was read; with [`EDGE`] it looks once.
//! The kernel forgets a descriptor when it is closed, which nobody tells us; so a descriptor that we
//! believe to be watched, and the kernel does not know, is added anew.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Readable: there is data, or an end, or an error to be read.
pub const READ: u32 = libc::EPOLLIN as u32;
/// Writable: there is room, or an error to be met.
pub const WRITE: u32 = libc::EPOLLOUT as u32;

/// Tells once, and then not before it is asked to watch again.
pub const ONCE: u32 = libc::EPOLLONESHOT as u32;

/// Tells of news alone, of urgent data and of an end too: for who reads until there is no more.
pub const EDGE: u32 = (libc::EPOLLET | libc::EPOLLRDHUP | libc::EPOLLPRI) as u32;

/// So many events at most are fetched at once.
pub const BATCH: usize = 256;

/// What happened to a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which.
    pub fd: RawFd,
    /// Some of [`READ`] and [`WRITE`]; both after an error or a hang-up.
    pub what: u32,
}

/// An epoll instance.
#[derive(Debug)]
pub struct Poller(OwnedFd);

/// Room for a batch of events, which costs nothing to make.
#[derive(Debug)]
pub struct Events([MaybeUninit<libc::epoll_event>; BATCH]);

impl Events {
    /// Nothing in it.
    #[inline(always)]
    pub const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; BATCH])
    }
}

impl Default for Events {
    fn default() -> Self {
        Self::new()
    }
}

impl Poller {
    /// A new one, which watches nothing.
    pub fn new() -> io::Result<Self> {
        // SAFETY: a system call without pointers; what it returns is ours alone.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: a descriptor that nobody else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches `fd` for `what`, in place of what it was watched for: `before` (0: for nothing); whether
    /// the kernel knew it otherwise.
    pub fn watch(&self, fd: RawFd, before: u32, what: u32) -> io::Result<bool> {
        match (before, what) {
            (_, 0) => {
                // Whatever comes of it: a closed descriptor is not watched any more either.
                let _ = self.control(libc::EPOLL_CTL_DEL, fd, 0);
                Ok(false)
            }
            (0, _) => self.first_or_else(
                (libc::EPOLL_CTL_ADD, libc::EEXIST, libc::EPOLL_CTL_MOD),
                (fd, what),
            ),
            _ => self.first_or_else(
                (libc::EPOLL_CTL_MOD, libc::ENOENT, libc::EPOLL_CTL_ADD),
                (fd, what),
            ),
        }
    }

    /// The first operation, and where it fails with that error the second; whether it was that.
    fn first_or_else(
        &self,
        (first, error, second): (i32, i32, i32),
        (fd, what): (RawFd, u32),
    ) -> io::Result<bool> {
        match self.control(first, fd, what) {
            Err(failed) if failed.raw_os_error() == Some(error) => {
                self.control(second, fd, what).map(|()| true)
            }
            other => other.map(|()| false),
        }
    }

    fn control(&self, operation: i32, fd: RawFd, what: u32) -> io::Result<()> {
        let mut event = libc::epoll_event { events: what, u64: fd as u64 };
        // SAFETY: a valid event, for the duration of the call.
        let failed = unsafe { libc::epoll_ctl(self.0.as_raw_fd(), operation, fd, &mut event) };
        if failed == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Waits for events, until `timeout` nanoseconds have passed (`None`: for ever). Never returns
    /// before its time without an event, but for a signal.
    pub fn wait<'a>(
        &self,
        events: &'a mut Events,
        timeout: Option<u64>,
    ) -> io::Result<&'a [libc::epoll_event]> {
        let place: *mut libc::epoll_event = events.0.as_mut_ptr().cast();
        // SAFETY: room for BATCH events.
        let count = unsafe { self.wait_raw(place, timeout) };
        if count < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: so many were written by the kernel.
        Ok(unsafe { std::slice::from_raw_parts(place, count as usize) })
    }

    /// # Safety
    /// `place` has room for a batch.
    unsafe fn wait_raw(&self, place: *mut libc::epoll_event, timeout: Option<u64>) -> i32 {
        let (fd, most) = (self.0.as_raw_fd(), BATCH as i32);
        // SAFETY: the caller's promise, for each of these.
        unsafe {
            let timeout = match timeout {
                None => return libc::epoll_wait(fd, place, most, -1),
                Some(0) => return libc::epoll_wait(fd, place, most, 0),
                Some(timeout) => timeout,
            };
            let exact = libc::timespec {
                tv_sec: (timeout / 1_000_000_000) as libc::time_t,
                tv_nsec: (timeout % 1_000_000_000) as libc::c_long,
            };
            let none: *const libc::sigset_t = std::ptr::null();
            let count = libc::syscall(
                libc::SYS_epoll_pwait2,
                fd,
                place,
                most,
                &raw const exact,
                none,
                0usize,
            ) as i32;
            // A kernel before 5.11 has no such call, and a filter from before then forbids it.
            let refused = [libc::ENOSYS, libc::EPERM];
            if count >= 0 || !refused.contains(&*libc::__errno_location()) {
                return count;
            }
            // Milliseconds, and rather late than early.
            let whole = timeout.div_ceil(1_000_000).min(i32::MAX as u64) as i32;
            libc::epoll_wait(fd, place, most, whole)
        }
    }

    /// What an event says.
    #[inline(always)]
    pub fn read(event: &libc::epoll_event) -> Event {
        let (events, fd) = (event.events, event.u64 as RawFd);
        let mut what = events & (READ | WRITE);
        if events & !(READ | WRITE) != 0 {
            what = READ | WRITE;
        }
        Event { fd, what }
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Events, ONCE, Poller, READ, WRITE};
    use crate::alarm::Alarm;
    use crate::clock;
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;

    #[test]
    fn an_alarm_ends_a_wait_and_is_silenced() {
        let (poller, alarm, mut events) =
            (Poller::new().unwrap(), Alarm::new().unwrap(), Events::new());
        poller.watch(alarm.as_fd().as_raw_fd(), 0, READ).unwrap();
        assert_eq!(poller.wait(&mut events, Some(0)).unwrap().len(), 0);
        alarm.ring();
        alarm.ring();
        let [event] = poller.wait(&mut events, None).unwrap() else { panic!("one event") };
        let event = Poller::read(event);
        assert_eq!((event.fd, event.what), (alarm.as_fd().as_raw_fd(), READ));
        alarm.silence();
        assert_eq!(poller.wait(&mut events, Some(0)).unwrap().len(), 0);
    }

    #[test]
    fn a_wait_is_not_short() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        for wanted in [1, 1_000, 999_999, 1_500_000] {
            let begun = clock::now();
            assert_eq!(poller.wait(&mut events, Some(wanted)).unwrap().len(), 0);
            assert!(clock::now() - begun >= wanted);
        }
    }

    #[test]
    fn a_descriptor_that_was_closed_and_opened_again_is_watched_anew() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        poller.watch(fd, 0, READ).unwrap();
        drop((ours, theirs));
        let (again, other) = UnixStream::pair().unwrap();
        let again = if again.as_raw_fd() == fd { again } else { other };
        assert_eq!(again.as_raw_fd(), fd, "the lowest number is given out again");
        poller.watch(fd, READ, READ | WRITE).unwrap();
        let [event] = poller.wait(&mut events, Some(0)).unwrap() else { panic!("one event") };
        assert_eq!(Poller::read(event).what, WRITE);
    }

    #[test]
    fn a_descriptor_that_is_watched_once_is_told_of_once_each_time() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        let (ours, theirs) = UnixStream::pair().unwrap();
        let fd = ours.as_raw_fd();
        drop(theirs);
        let mut before = 0;
        for _ in 0..2 {
            poller.watch(fd, before, READ | ONCE).unwrap();
            assert_eq!(poller.wait(&mut events, None).unwrap().len(), 1);
            assert_eq!(poller.wait(&mut events, Some(0)).unwrap().len(), 0);
            before = ONCE;
        }
    }

    #[test]
    fn a_hang_up_is_news_for_reader_and_writer() {
        let (poller, mut events) = (Poller::new().unwrap(), Events::new());
        let (ours, theirs) = UnixStream::pair().unwrap();
        poller.watch(ours.as_raw_fd(), 0, READ).unwrap();
        drop(theirs);
        let [event] = poller.wait(&mut events, None).unwrap() else { panic!("one event") };
        assert_eq!(Poller::read(event).what, READ | WRITE);
    }
}
