//! The monotonic clock, in nanoseconds, and the age at which a waiter stops tolerating barging.

/// A waiter that has waited this long gets the lock handed over instead of a chance to race for
/// it. One millisecond, as in Go's `sync.Mutex` and CPython's `PyMutex`.
pub const HAND_OFF_AFTER: u64 = 1_000_000;

/// Nanoseconds on `CLOCK_MONOTONIC`, the clock that the futex deadlines use.
#[cfg(not(loom))]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, exclusive pointer for the duration of the call, and
    // CLOCK_MONOTONIC exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(loom)]
pub use modelled::{now, set};

/// A model runs in one thread, over and over, and must take the same course each time: its clock
/// stands still unless it is set.
#[cfg(loom)]
mod modelled {
    use std::cell::Cell;

    thread_local! {
        static NOW: Cell<u64> = const { Cell::new(1) };
    }

    /// What was set last.
    pub fn now() -> u64 {
        NOW.get()
    }

    /// Sets the clock.
    pub fn set(now: u64) {
        NOW.set(now);
    }
}

/// The moment `seconds` from now; `None`, never, when that is beyond the clock's range.
pub fn deadline_in(seconds: f64) -> Option<u64> {
    let nanoseconds = seconds.max(0.0) * 1e9;
    // Beyond 2^62 ns (146 years) the sum could overflow: such a wait has no end.
    (nanoseconds < (1u64 << 62) as f64).then(|| now() + nanoseconds.ceil() as u64)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_never_wraps() {
        let before = now();
        assert!(deadline_in(0.5).is_some_and(|at| at >= before + 500_000_000));
        assert!(deadline_in(-3.0).is_some_and(|at| at >= before));
        assert_eq!(deadline_in(f64::INFINITY), None);
        assert_eq!(deadline_in(1e300), None);
    }
}
