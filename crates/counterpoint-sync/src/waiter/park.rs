//! A word on which one thread can sleep: a Linux futex, or under loom a condition variable.

/// Why a parked thread runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Parked {
    /// The word changed.
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran in this thread; the caller decides whether to sleep on.
    Interrupted,
}

#[cfg(not(loom))]
pub(super) use futex::Word;
#[cfg(loom)]
pub(super) use modelled::Word;

#[cfg(not(loom))]
mod futex {
    use super::Parked;
    use crate::door::{AtomicU32, Ordering};
    use std::ptr;

    /// A private futex.
    pub(in super::super) struct Word(pub(in super::super) AtomicU32);

    impl Word {
        pub(in super::super) fn new(value: u32) -> Self {
            Self(AtomicU32::new(value))
        }

        /// Sleeps while the word is `value`, to `deadline` (monotonic nanoseconds) at most.
        pub(in super::super) fn sleep_while(&self, value: u32, deadline: Option<u64>) -> Parked {
            loop {
                // ORDERING: Acquire pairs with the Release in `Waiter::claim`: what the claimer
                // did before it is visible to the thread that it wakes.
                if self.0.load(Ordering::Acquire) != value {
                    return Parked::Woken;
                }
                match wait(&self.0, value, deadline) {
                    0 | libc::EAGAIN => {}
                    libc::ETIMEDOUT => return Parked::TimedOut,
                    libc::EINTR => return Parked::Interrupted,
                    error => unreachable!("futex wait failed with errno {error}"),
                }
            }
        }

        pub(in super::super) fn wake(&self) {
            let op = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: FUTEX_WAKE only takes the address as a key; `self` is alive here.
            unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), op, 1) };
        }
    }

    /// One FUTEX_WAIT_BITSET, whose deadline is absolute (so that retries need no arithmetic).
    /// Returns 0 or the errno.
    fn wait(word: &AtomicU32, value: u32, deadline: Option<u64>) -> i32 {
        let op = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG;
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
                op,
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
    use super::Parked;
    use crate::door::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};

    /// The futex's contract (sleep only if the word is still `value`, atomically with wake) in
    /// terms that loom explores. Deadlines do not pass in a model: tests expire waits by hand.
    pub(in super::super) struct Word(pub(in super::super) AtomicU32, Mutex<()>, Condvar);

    impl Word {
        pub(in super::super) fn new(value: u32) -> Self {
            Self(AtomicU32::new(value), Mutex::new(()), Condvar::new())
        }

        pub(in super::super) fn sleep_while(&self, value: u32, _deadline: Option<u64>) -> Parked {
            let mut guard = self.1.lock().unwrap();
            // ORDERING: Acquire, as in the futex.
            while self.0.load(Ordering::Acquire) == value {
                guard = self.2.wait(guard).unwrap();
            }
            Parked::Woken
        }

        pub(in super::super) fn wake(&self) {
            drop(self.1.lock().unwrap());
            self.2.notify_one();
        }
    }
}
