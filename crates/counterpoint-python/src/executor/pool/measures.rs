//! [`Measures`]: queue delays and run times of a worker's tasks, recorded a few at a time.
//!
//! A histogram costs a lock and the clock a call, each a good part of a tiny task. So a worker
//! keeps its latest measurements to itself, until there are thirty-two, a millisecond is over, or it
//! sleeps; and while tasks are tiny and more are waiting it reads the clock for one in sixteen.
//! Nothing is lost by that: the time between two readings is shared out among the tasks in
//! between, to the nanosecond for each.

use super::native::State;

/// How many measurements are kept back.
const KEPT: usize = 32;

/// For how long, in nanoseconds.
const LATE: u64 = 1_000_000;

/// A task that took less than this, in nanoseconds, is tiny.
const TINY: u64 = 2_000;

/// How many tiny tasks may pass between two readings of the clock.
const SKIPPED: usize = 15;

/// What a worker measured and has not recorded yet.
pub struct Measures {
    delays: [u64; KEPT],
    runs: [u64; KEPT],
    len: usize,
    /// How many at the end are not timed yet.
    untimed: usize,
    /// How long the latest timed task took.
    latest: u64,
    recorded: u64,
}

impl Measures {
    /// Nothing measured, at `now`.
    pub fn new(now: u64) -> Self {
        let (delays, runs) = ([0; KEPT], [0; KEPT]);
        Self { delays, runs, len: 0, untimed: 0, latest: u64::MAX, recorded: now }
    }

    /// Whether the clock need not be read after this task, if more are waiting.
    #[inline(always)]
    pub fn may_skip(&self) -> bool {
        self.latest < TINY && self.untimed < SKIPPED && self.len + 1 < KEPT
    }

    /// Adds a task that began at `begun`; `now` is the same if the clock was not read since.
    /// `true` asks for [`record`](Self::record).
    #[inline(always)]
    pub fn add(&mut self, delay: u64, begun: u64, now: u64) -> bool {
        self.delays[self.len] = delay;
        self.len += 1;
        self.untimed += 1;
        if now != begun {
            self.share_out(now.saturating_sub(begun));
        }
        self.len == KEPT || now.saturating_sub(self.recorded) > LATE
    }

    /// Splits a span among the tasks in it: equally if they were tiny, as it seems; otherwise all
    /// but one were.
    #[inline(always)]
    fn share_out(&mut self, span: u64) {
        let share = (span / self.untimed as u64).min(TINY);
        self.runs[self.len - self.untimed..self.len].fill(share);
        self.latest = share;
        if share == TINY {
            self.latest = span - share * (self.untimed as u64 - 1);
            self.runs[self.len - 1] = self.latest;
        }
        self.untimed = 0;
    }

    /// Records everything; `now` is the latest reading of the clock.
    pub fn record(&mut self, state: &mut State, now: u64) {
        if self.untimed > 0 {
            self.share_out(0);
        }
        if self.len > 0 {
            state.queue_delay.record_all(&self.delays[..self.len]);
            state.run_time.record_all(&self.runs[..self.len]);
        }
        self.len = 0;
        self.recorded = now;
    }
}
