//! [`Pace`]: when a loop asks the kernel although it has callbacks to run.
//!
//! To ask costs a system call, many times what a callback costs; not to ask leaves connections
//! waiting. So a loop that is busy asks once so many callbacks have run, or so much time has passed
//! since it last did. The clock is read every few turns only.

/// So many callbacks, and the kernel is asked.
const CALLBACKS: usize = 256;

/// So many nanoseconds, and the kernel is asked: about what ten system calls cost.
const BUDGET: u64 = 25_000;

/// The clock is read once in so many turns.
const TURNS: u32 = 8;

/// How far a loop has gone since it last asked the kernel.
#[derive(Debug, Default)]
pub struct Pace {
    callbacks: usize,
    turns: u32,
    asked: u64,
}

impl Pace {
    /// Begins a turn with callbacks to run: whether to ask the kernel before. `now` reads the clock.
    #[inline(always)]
    #[must_use]
    pub fn must_poll(&mut self, now: impl FnOnce() -> u64) -> bool {
        if self.callbacks >= CALLBACKS {
            return true;
        }
        self.turns += 1;
        if self.turns < TURNS {
            return false;
        }
        self.turns = 0;
        now().saturating_sub(self.asked) >= BUDGET
    }

    /// The turn ran so many callbacks.
    #[inline(always)]
    pub fn ran(&mut self, callbacks: usize) {
        self.callbacks += callbacks;
    }

    /// The kernel was asked just now.
    #[inline(always)]
    pub fn polled(&mut self, now: u64) {
        *self = Self { callbacks: 0, turns: 0, asked: now };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{BUDGET, CALLBACKS, Pace, TURNS};

    #[test]
    fn quick_turns_do_not_ask_and_many_do() {
        let mut pace = Pace::default();
        pace.polled(1);
        let mut turns = 0;
        while !pace.must_poll(|| 2) {
            pace.ran(1);
            turns += 1;
        }
        assert_eq!(turns, CALLBACKS);
    }

    #[test]
    fn slow_turns_ask_when_the_time_is_up() {
        let mut pace = Pace::default();
        pace.polled(1);
        for _ in 1..TURNS {
            assert!(!pace.must_poll(|| u64::MAX), "the clock is not read yet");
        }
        assert!(pace.must_poll(|| 1 + BUDGET));
        pace.polled(1 + BUDGET);
        assert!(!pace.must_poll(|| u64::MAX));
    }

    #[test]
    fn a_turn_of_many_callbacks_is_followed_by_a_look() {
        let mut pace = Pace::default();
        pace.ran(CALLBACKS);
        assert!(pace.must_poll(|| 0));
    }
}
