//! What the parent sleeps on, among other things: an eventfd, or under loom a count.

#[cfg(loom)]
pub(super) use modelled::Event;
#[cfg(not(loom))]
pub(super) use real::Event;

#[cfg(not(loom))]
mod real {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

    pub(in super::super) struct Event(OwnedFd);

    impl Event {
        pub(in super::super) fn create() -> io::Result<Self> {
            // SAFETY: a plain system call.
            let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            // SAFETY: the call just returned it; nobody else has it.
            Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
        }

        pub(in super::super) fn adopt(fd: OwnedFd) -> Self {
            Self(fd)
        }

        pub(in super::super) fn as_fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }

        /// Makes it readable. The one way to fail is that it is, by 2^64 - 2 calls.
        pub(in super::super) fn raise(&self) {
            let one = 1u64.to_ne_bytes();
            // SAFETY: the buffer is valid for the length given.
            unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
        }

        /// Makes it unreadable. Returns how often it was raised since the last time.
        pub(in super::super) fn clear(&self) -> u64 {
            let mut count = [0; 8];
            // SAFETY: the buffer is valid, and exclusive, for the length given. The descriptor
            // does not block: where there is nothing to read, the count stays 0.
            unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
            u64::from_ne_bytes(count)
        }
    }
}

#[cfg(loom)]
mod modelled {
    use loom::sync::{Arc, Condvar, Mutex};

    #[derive(Clone, Default)]
    pub(in super::super) struct Event(Arc<(Mutex<u64>, Condvar)>);

    impl Event {
        pub(in super::super) fn raise(&self) {
            *self.0.0.lock().unwrap() += 1;
            self.0.1.notify_one();
        }

        pub(in super::super) fn clear(&self) -> u64 {
            std::mem::take(&mut *self.0.0.lock().unwrap())
        }

        /// As epoll would: until it is readable.
        pub(in super::super) fn wait(&self) {
            let mut count = self.0.0.lock().unwrap();
            while *count == 0 {
                count = self.0.1.wait(count).unwrap();
            }
        }
    }
}
