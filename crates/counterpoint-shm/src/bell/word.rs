//! A word on which a thread of one process sleeps and from which another process wakes it: a Linux
//! futex that is not private, or under loom a condition variable.

#[cfg(not(loom))]
pub(crate) use futex::Word;
#[cfg(loom)]
pub(crate) use modelled::Word;

#[cfg(not(loom))]
mod futex {
    use super::super::Slept;
    use crate::door::{AtomicU32, Ordering};
    use std::ptr;

    /// Keyed by the page of the file, not by the address: each process has its own address.
    #[derive(Default)]
    #[repr(transparent)]
    pub(crate) struct Word(AtomicU32);

    impl Word {
        pub(crate) fn value(&self) -> &AtomicU32 {
            &self.0
        }

        /// Sleeps while the word is `value`, to `deadline` (monotonic nanoseconds) at most.
        pub(crate) fn sleep_while(&self, value: u32, deadline: Option<u64>) -> Slept {
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

        pub(crate) fn wake(&self) {
            self.wake_many(1);
        }

        /// Wakes so many sleepers at most. Returns how many there were.
        pub(crate) fn wake_many(&self, most: u32) -> usize {
            let most = i32::try_from(most).unwrap_or(i32::MAX);
            // SAFETY: FUTEX_WAKE only takes the address as a key; `self` is mapped here.
            let woken =
                unsafe { libc::syscall(libc::SYS_futex, self.0.as_ptr(), libc::FUTEX_WAKE, most) };
            usize::try_from(woken).unwrap_or(0)
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
    pub(crate) struct Word(AtomicU32, Mutex<Asleep>, Condvar);

    /// Who sleeps, by number, in order, and who of them was told to wake and has not yet.
    #[derive(Default)]
    struct Asleep {
        last: usize,
        sleepers: Vec<usize>,
        told: Vec<usize>,
    }

    impl Asleep {
        fn enter(&mut self) -> usize {
            self.last += 1;
            self.sleepers.push(self.last);
            self.last
        }

        /// Whether this one was told.
        fn leave(&mut self, number: usize) -> bool {
            let told = self.told.iter().position(|told| *told == number);
            told.map(|at| self.told.remove(at)).is_some()
        }

        fn tell(&mut self, most: usize) -> usize {
            let woken = most.min(self.sleepers.len());
            self.told.extend(self.sleepers.drain(..woken));
            woken
        }
    }

    impl Word {
        pub(crate) fn value(&self) -> &AtomicU32 {
            &self.0
        }

        pub(crate) fn sleep_while(&self, value: u32, deadline: Option<u64>) -> Slept {
            let mut guard = self.1.lock().unwrap();
            while self.0.load(Ordering::Relaxed) == value {
                if deadline.is_some() {
                    return Slept::TimedOut;
                }
                let number = guard.enter();
                while !guard.leave(number) {
                    guard = self.2.wait(guard).unwrap();
                }
            }
            Slept::Woken
        }

        pub(crate) fn wake(&self) {
            self.wake_many(1);
        }

        pub(crate) fn wake_many(&self, most: u32) -> usize {
            let woken = self.1.lock().unwrap().tell(most as usize);
            self.2.notify_all();
            woken
        }
    }
}
