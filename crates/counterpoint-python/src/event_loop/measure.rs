//! What a loop counts, and what it measures besides when asked to.
//!
//! Counting is a load and a store where the number is at hand anyway. Measuring reads the clock after
//! each callback; whether to is one look at the loop's flags in each turn.

use super::native::{HOLDING, Loop, OWN_CLOCK, State};
use super::system::System;
use super::turn::polled;
use crate::boundary::{Counts, Meter};
use counterpoint_reactor::clock;
use counterpoint_reactor::pace::Pace;
use counterpoint_trace::Durations;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// So many durations are recorded at once.
const BATCH: usize = 256;

/// A [`Durations`] of numbers has them times this: its buckets begin there.
const ONE: u64 = 1_000;

/// A number that only grows, or is a gauge.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it; wraps, so that a gauge can be lowered.
    #[inline(always)]
    pub fn add(&self, number: u64) {
        #[cfg(Py_GIL_DISABLED)]
        self.0.fetch_add(number, Ordering::Relaxed);
        #[cfg(not(Py_GIL_DISABLED))]
        // The GIL makes the two steps one.
        self.0.store(self.get().wrapping_add(number), Ordering::Relaxed);
    }

    /// What it is now.
    #[inline(always)]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is always counted.
#[derive(Default)]
pub struct Counters {
    pub turns: Counter,
    pub polls: Counter,
    pub callbacks: Counter,
    pub fired: Counter,
    pub received: Counter,
    pub sent: Counter,
    /// Stream transports that were made.
    pub connections: Counter,
    /// Those that are not at their end.
    pub open: Counter,
}

/// What is measured when asked to.
#[derive(Default)]
pub struct Measured {
    lag: Durations,
    run_time: Durations,
    depth: Durations,
    asleep: u64,
    elapsed: u64,
    /// When the first of those became ready that the last turn left to the next; 0: unknown.
    since: u64,
    /// When timers were looked for last: what is due by now and was not then became due since.
    fired: u64,
}

/// The meter, once somebody has asked for it.
pub type Metered = OnceLock<(Py<Meter>, Arc<Counts>)>;

impl Loop {
    /// One turn of a loop that is measured.
    #[inline(never)]
    pub fn turn_measured(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        system: &System,
        pace: &mut Pace,
        poll: bool,
    ) -> PyResult<()> {
        let begun = clock::now();
        let idle = self.state.with(py, |state| state.ready.is_empty());
        let (mut now, mut asleep, mut done) = (begun, 0, Ok(()));
        if poll || idle || pace.must_poll(clock::now) {
            let told = self.poll(py, owner, system);
            now = clock::now();
            asleep = if idle { now - begun } else { 0 };
            polled(py, pace, now, matches!(told, Ok(true)));
            done = told.map(drop);
        }
        let oldest = self.oldest(py, now);
        done = done.and_then(|()| self.fire(py, owner));
        if done.is_ok() {
            let ran = self.run_ready_measured(py, owner, oldest, &mut now);
            pace.ran(ran.0);
            done = ran.1;
        }
        self.measured.with(py, |measured| {
            measured.asleep += asleep;
            measured.elapsed += now - begun;
        });
        done
    }

    /// When the first of what is ready now, timers that are due included, became ready.
    fn oldest(&self, py: Python<'_>, now: u64) -> u64 {
        let is_ours = !self.is(OWN_CLOCK);
        let due =
            |state: &mut State| state.timers.first().filter(|deadline| is_ours && *deadline <= now);
        let deadline = self.state.with(py, due);
        self.measured.with(py, |measured| {
            let queued = std::mem::take(&mut measured.since);
            let before = std::mem::replace(&mut measured.fired, now);
            // A deadline may be long past when a timer is set.
            let timer = deadline.map(|deadline| deadline.max(before));
            [(queued != 0).then_some(queued), timer].into_iter().flatten().min().unwrap_or(now)
        })
    }

    /// Runs what is ready now, and notes how long it waited and how long each took; `before` is now,
    /// and moves on.
    fn run_ready_measured(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        oldest: u64,
        before: &mut u64,
    ) -> (usize, PyResult<()>) {
        let count = self.state.with(py, |state| state.ready.len());
        if count > 0 {
            self.measured.with(py, |measured| {
                measured.lag.record(before.saturating_sub(oldest));
                measured.depth.record(count as u64 * ONE);
            });
        }
        let (mut ran, mut since) = (0, 0);
        let mut took = [0; BATCH];
        let mut done = Ok(());
        while ran < count && done.is_ok() {
            let Some(due) = self.next_due(py, count) else { break };
            done = self.run_numbered(py, owner, &due, ran);
            drop(due); // what that sets off is the callback's time
            let now = clock::now();
            took[ran % BATCH] = now - *before;
            ran += 1;
            if ran % BATCH == 0 {
                self.measured.with(py, |measured| measured.run_time.record_all(&took));
            }
            if since == 0 && self.state.with(py, |state| state.ready.len()) > count - ran {
                since = now;
            }
            *before = now;
        }
        self.counters.callbacks.add(ran as u64);
        if done.is_ok() && self.is(HOLDING) {
            done = self.end_turn(py, owner);
            let now = clock::now();
            took[ran.saturating_sub(1) % BATCH] += now - *before; // the last one's, as good as any's
            *before = now;
        }
        done = self.noted(py, done);
        self.measured.with(py, |measured| {
            if ran % BATCH != 0 {
                measured.run_time.record_all(&took[..ran % BATCH]);
            }
            measured.since = since;
        });
        (ran, done)
    }

    /// The meter, brought up to date; the same object each time.
    pub fn meter(&self, py: Python<'_>) -> PyResult<Py<Meter>> {
        if self.metered.get().is_none() {
            let waits = self.measured.with(py, |measured| {
                let Measured { lag, run_time, depth, .. } = measured;
                vec![("lag", lag.share()), ("run_time", run_time.share()), ("depth", depth.share())]
            });
            let counts = Arc::<Counts>::default();
            let meter = Meter::new(None, counts.clone(), waits);
            let meter = meter.with_stalls(self.pulse.stalls.clone());
            let meter = Py::new(py, meter)?;
            let _first = self.metered.set((meter, counts));
        }
        self.write_counts(py);
        self.metered
            .get()
            .map(|(meter, _)| meter.clone_ref(py))
            .ok_or_else(|| crate::boundary::fetch(py))
    }

    /// Brings the meter up to date, if there is one.
    pub fn write_counts(&self, py: Python<'_>) {
        let Some((_, counts)) = self.metered.get() else { return };
        let (asleep, elapsed) =
            self.measured.with(py, |measured| (measured.asleep, measured.elapsed));
        let Counters { turns, polls, callbacks, fired, received, sent, connections, .. } =
            &self.counters;
        counts.set([
            ("turns", turns.get()),
            ("polls", polls.get()),
            ("callbacks", callbacks.get()),
            ("timers_fired", fired.get()),
            ("bytes_received", received.get()),
            ("bytes_sent", sent.get()),
            ("connections", connections.get()),
            ("asleep_ns", asleep),
            ("elapsed_ns", elapsed),
        ]);
    }
}
