//! A word on which a thread of one process sleeps and from which another process wakes it: a Linux
//! futex that is not private, or under loom a condition variable.

#[cfg(not(loom))]
pub(super) use futex::Word;
#[cfg(loom)]
pub(super) use modelled::Word;

#[cfg(not(loom))]
mod futex {
    use super::super::Slept;
    use crate::door::{AtomicU32, Ordering};
    use std::ptr;

    /// Keyed by the page of the file, not by the address: each process has its own address.
    #[derive(Default)]
    #[repr(transparent)]
    pub(in super::super) struct Word(AtomicU32);

    impl Word {
        pub(in super::super) fn value(&self) -> &AtomicU32 {
            &self.0
        }

        /// Sleeps while the word is `value`, to `deadline` (monotonic nanoseconds) at most.
        pub(in super::super) fn sleep_while(&self, value: u32, deadline: Option<u64>) -> Slept {
            loop {
                if self.0.load(Ordering::Relaxed) != value {
                    return Slept::Woken;
                }
                match wait(&self.0, value, deadline) {
                    0 | libc::EAGAIN => {}
                    libc::ETIMEDOUT => return Slept::TimedOut,
                    // EINTR; and whatever else there may be is for the caller to look at too.
                    _ => return Slept::Interrupted,
                }
            }
        }

        pub(in super::super) fn wake(&self) {
            // SAFETY: FUTEX_WAKE only takes the address as a key; `self` is mapped here.
            unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE, 1) };
        }
    }

    /// One FUTEX_WAIT_BITSET, whose deadline is absolute (so that retries need no arithmetic).
    /// Returns 0 or the errno.
    fn wait(word: &AtomicU32, value: u32, deadline: Option<u64>) -> i32 {
        let until = deadline.map(|at| libc::timespec {
            tv_sec: (at / 1_000_000_000) as libc::time_t,
            tv_nsec: (at % 1_000_000_000) as libc::c_long,
        });
        let until_ptr = until.as_ref().map_or(ptr::null(), ptr::from_ref);
        // SAFETY: the word and the timespec outlive the call; the kernel only reads them.
        let result = unsafe {
            libc::syscall(
                libc::SYS_futex,
                word.as_ptr(),
                libc::FUTEX_WAIT_BITSET,
                value,
                until_ptr,
                ptr::null::<u32>(),
                libc::FUTEX_BITSET_MATCH_ANY,
            )
        };
        if result == 0 { 0 } else { std::io::Error::last_os_error().raw_os_error().unwrap_or(0) }
    }
}

#[cfg(loom)]
mod modelled {
    use super::super::Slept;
    use crate::door::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};

    /// The futex's contract (sleep only if the word is still `value`, atomically with wake) in
    /// terms that loom explores. A wait with a deadline ends by it at once.
    #[derive(Default)]
    pub(in super::super) struct Word(AtomicU32, Mutex<()>, Condvar);

    impl Word {
        pub(in super::super) fn value(&self) -> &AtomicU32 {
            &self.0
        }

        pub(in super::super) fn sleep_while(&self, value: u32, deadline: Option<u64>) -> Slept {
            let mut guard = self.1.lock().unwrap();
            while self.0.load(Ordering::Relaxed) == value {
                if deadline.is_some() {
                    return Slept::TimedOut;
                }
                guard = self.2.wait(guard).unwrap();
            }
            Slept::Woken
        }

        pub(in super::super) fn wake(&self) {
            drop(self.1.lock().unwrap());
            self.2.notify_one();
        }
    }
}
