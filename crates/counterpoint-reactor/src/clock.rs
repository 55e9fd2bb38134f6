//! The monotonic clock, and deadlines that are not early.

/// Nanoseconds in a second.
pub const SECOND: f64 = 1e9;

/// Nanoseconds on `CLOCK_MONOTONIC`, which is what Python's `time.monotonic()` reads.
#[inline(always)]
pub fn now() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid, exclusive pointer for the duration of the call, and
    // CLOCK_MONOTONIC exists on every Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The same instant in seconds, as the interpreter computes it.
#[inline(always)]
pub fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / SECOND
}

/// The first nanosecond at which a clock that is read in seconds says `when` or later: so that who
/// was woken and reads the clock never finds itself early. What is past is 0, what is endless or
/// beyond the clock is its end.
#[inline]
pub fn deadline(when: f64) -> u64 {
    let mut nanoseconds = (when * SECOND).ceil() as u64; // saturates
    while nanoseconds < u64::MAX && seconds(nanoseconds) < when {
        nanoseconds = nanoseconds.saturating_add(1.max(nanoseconds >> 52));
    }
    nanoseconds
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{deadline, seconds};

    #[test]
    fn a_deadline_is_never_early_and_hardly_late() {
        let mut random = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..100_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let when = (random >> 11) as f64 / (1u64 << 32) as f64; // up to two million seconds
            let due = deadline(when);
            assert!(seconds(due) >= when, "{when} is due at {due}");
            assert!(due == 0 || seconds(due) - when < 2e-9, "{when} is due at {due} only");
        }
    }

    #[test]
    fn what_is_past_is_due_and_what_is_endless_is_not() {
        assert_eq!(deadline(-1.0), 0);
        assert_eq!(deadline(f64::NEG_INFINITY), 0);
        assert_eq!(deadline(f64::INFINITY), u64::MAX);
        assert_eq!(deadline(1e300), u64::MAX);
    }
}
