//! The monotonic clock, in nanoseconds; all processes of a system read the same one.

#[cfg(not(loom))]
pub use real::now;

#[cfg(not(loom))]
mod real {
    /// Nanoseconds on `CLOCK_MONOTONIC`, the clock that the futex deadlines use.
    pub fn now() -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid, exclusive pointer for the duration of the call, and
        // CLOCK_MONOTONIC exists on every Linux.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
}

#[cfg(loom)]
pub use modelled::*;

/// In a model time passes only where the model says so.
#[cfg(loom)]
mod modelled {
    use crate::door::{AtomicU64, Ordering};

    loom::lazy_static! {
        static ref NOW: AtomicU64 = AtomicU64::new(crate::lane::HOLD);
    }

    /// The model's time. The same for all: each reading is the latest value, as a clock's is.
    pub fn now() -> u64 {
        // ORDERING: as a clock's readings, all threads' are in one order.
        NOW.fetch_add(0, Ordering::SeqCst)
    }

    /// Lets time pass until `moment`.
    pub fn pass(moment: u64) {
        // ORDERING: as above.
        NOW.fetch_max(moment, Ordering::SeqCst);
    }
}
