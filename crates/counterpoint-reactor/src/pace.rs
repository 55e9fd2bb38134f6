//! [`Pace`]: when a loop asks the kernel although it has callbacks to run.
//!
//! To ask costs a system call, many times what a callback costs; not to ask leaves connections
//! waiting. So a loop that is busy asks once so many callbacks have run, or so much time has passed
//! since it last did. Where turns are quick, the clock is read in every eighth only; a turn that was
//! slow has it read in each.
//!
//! The first turn deals with what the kernel told, the second with what that has scheduled, as a server's
//! tasks are by what it reads. To ask between the two finds the few who are early: they are dealt with
//! by themselves then, and so is everybody from then on.

use std::mem;

/// So many callbacks, and the kernel is asked.
const CALLBACKS: usize = 256;

/// So many nanoseconds, and the kernel is asked: about what ten system calls cost.
const BUDGET: u64 = 25_000;

/// The same before the second turn.
const BEFORE_SECOND: u64 = 1_000_000;

/// At most so many turns go without a look at the clock.
const TURNS: u32 = 8;

/// How far a loop has gone since it last asked the kernel.
#[derive(Debug, Default)]
pub struct Pace {
    callbacks: usize,
    /// When the kernel was asked last.
    asked: u64,
    /// When the clock was read last.
    read: u64,
    /// So many turns until it is read again.
    left: u32,
    /// So many turns between looks at the clock, as the last ones have been.
    stride: u32,
    /// There was no turn since but the first.
    is_second: bool,
}

impl Pace {
    /// Begins a turn with callbacks to run: whether to ask the kernel before. `now` reads the clock.
    #[inline(always)]
    #[must_use]
    pub fn must_poll(&mut self, now: impl FnOnce() -> u64) -> bool {
        if self.callbacks >= CALLBACKS {
            return true;
        }
        let budget = if mem::take(&mut self.is_second) { BEFORE_SECOND } else { BUDGET };
        if self.left > 0 {
            self.left -= 1;
            return false;
        }
        let now = now();
        let quick = now.saturating_sub(self.read) < BUDGET / 8;
        self.stride = if quick { (self.stride * 2 + 1).min(TURNS - 1) } else { 0 };
        (self.left, self.read) = (self.stride, now);
        now.saturating_sub(self.asked) >= budget
    }

    /// The turn ran so many callbacks.
    #[inline(always)]
    pub fn ran(&mut self, callbacks: usize) {
        self.callbacks += callbacks;
    }

    /// The kernel was asked just now, and has told something or not.
    #[inline(always)]
    pub fn polled(&mut self, now: u64, has_told: bool) {
        let stride = self.stride;
        *self =
            Self { callbacks: 0, asked: now, read: now, left: stride, stride, is_second: has_told };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{BEFORE_SECOND, BUDGET, CALLBACKS, Pace, TURNS};

    #[test]
    fn quick_turns_do_not_ask_and_many_do() {
        let mut pace = Pace::default();
        pace.polled(1, false);
        let (mut turns, mut looks) = (0, 0);
        while !pace.must_poll(|| {
            looks += 1;
            2
        }) {
            pace.ran(1);
            turns += 1;
        }
        assert_eq!(turns, CALLBACKS);
        assert!(looks <= CALLBACKS / TURNS as usize + 3, "{looks} looks at the clock");
    }

    #[test]
    fn slow_turns_ask_every_second_time() {
        let (mut pace, mut now) = (Pace::default(), 1);
        pace.polled(now, true);
        for _ in 0..100 {
            now += BUDGET;
            assert!(!pace.must_poll(|| now), "what the first has scheduled comes first");
            now += BUDGET;
            assert!(pace.must_poll(|| now));
            pace.polled(now, true);
        }
    }

    #[test]
    fn where_nothing_was_told_they_ask_every_time() {
        let (mut pace, mut now) = (Pace::default(), 1);
        for _ in 0..100 {
            pace.polled(now, false);
            now += BUDGET;
            assert!(pace.must_poll(|| now));
        }
    }

    #[test]
    fn very_slow_ones_ask_every_time() {
        let (mut pace, mut now) = (Pace::default(), 1);
        for _ in 0..100 {
            pace.polled(now, true);
            now += BEFORE_SECOND;
            assert!(pace.must_poll(|| now));
        }
    }

    #[test]
    fn turns_that_become_slow_are_noticed_soon() {
        let mut pace = Pace::default();
        pace.polled(1, true);
        while pace.stride < TURNS - 1 {
            assert!(!pace.must_poll(|| 2));
        }
        let slow = (1..).take_while(|turn| !pace.must_poll(|| 1 + turn * BUDGET)).count();
        assert!(slow < TURNS as usize, "after {slow} turns");
        pace.polled(1, true);
        assert!(!pace.must_poll(|| 1 + BUDGET));
        assert!(pace.must_poll(|| 1 + BUDGET), "from then on at once");
    }

    #[test]
    fn a_turn_of_many_callbacks_is_followed_by_a_look() {
        let mut pace = Pace::default();
        pace.ran(CALLBACKS);
        assert!(pace.must_poll(|| 0));
    }
}
