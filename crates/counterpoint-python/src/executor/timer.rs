//! Time limits of tasks: one thread for all of them, which exists while there are any.

use super::future::{FutureObject, fail_attempt, quoted_name};
use super::reference::Ref;
use super::token::CancellationToken;
use crate::boundary::{Protected, TaskHandle, halts_at_exit, thread_owner};
use counterpoint_sync::clock;
use counterpoint_sync::executor::timers::{Alarm, Tick, TimerState};
use counterpoint_sync::waiter::Waiter;
use pyo3::exceptions::PyTimeoutError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

/// What is due: a task's future is failed, and its token told. Each attempt has a limit of its own.
pub struct Limit {
    pub future: Ref,
    pub attempt: u32,
    pub token: Py<CancellationToken>,
    pub seconds: f64,
    /// How many tasks of its pool failed like this.
    pub expired: Arc<AtomicU64>,
}

impl Limit {
    fn future(&self) -> FutureObject {
        // SAFETY: made from a task's future, and alive as long as this.
        unsafe { FutureObject::from_ptr(self.future.as_ptr()) }
    }

    fn is_needed(&self, py: Python<'_>) -> bool {
        let attempt = self.attempt;
        self.future().with(py, |state, _| !state.phase().is_done() && state.attempt() == attempt)
    }

    fn expire(&self, py: Python<'_>) {
        if !self.is_needed(py) {
            return;
        }
        let name = quoted_name(&self.future().bind(py)).ok().flatten();
        let name = name.map_or(String::new(), |name| format!(" {name}"));
        let text = format!("the task{name} did not end within {} s", self.seconds);
        let reason = PyString::new(py, &text).into_any();
        let count = || {
            self.expired.fetch_add(1, Ordering::Relaxed);
        };
        // In this order: a task that ends as soon as it is told must not succeed after all.
        if fail_attempt(py, self.future(), self.attempt, PyTimeoutError::new_err(text), count) {
            self.token.get().cancel(py, reason);
        }
    }
}

static TIMERS: LazyLock<Protected<TimerState<Limit, TaskHandle>>> =
    LazyLock::new(Protected::default);

/// Timers are swept of those not needed any more when so many more were added since.
const SWEEP_EVERY: usize = 1024;

/// Sets a limit, to be enforced at `at`.
pub fn set_limit(py: Python<'_>, at: u64, limit: Limit) -> PyResult<()> {
    let mut limit = Some(limit);
    let (alarm, len) = TIMERS.with(py, |timers| {
        let alarm = limit.take().map(|limit| timers.add(at, limit));
        (alarm.unwrap_or(Alarm::Nothing), timers.len())
    });
    carry_out(py, alarm)?;
    if len.is_multiple_of(SWEEP_EVERY) { sweep(py) } else { Ok(()) }
}

/// Forgets limits of futures that are over; the thread leaves when none is left.
#[pyfunction]
pub fn _sweep_timers(py: Python<'_>) -> PyResult<()> {
    sweep(py)
}

/// Forgets every limit, in a forked child: the tasks are the parent's.
#[pyfunction]
pub fn _forget_timers(py: Python<'_>) {
    drop(TIMERS.with(py, std::mem::take));
}

fn sweep(py: Python<'_>) -> PyResult<()> {
    let (gone, alarm) = TIMERS.with(py, |timers| timers.sweep(|limit| limit.is_needed(py)));
    drop(gone);
    carry_out(py, alarm)
}

/// What starts the thread.
fn starter(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static START: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    START.import(py, "counterpoint._futures.workers", "start_timers")
}

/// Looks up what starts the thread, early: a child that is forked while another thread looks it
/// up for the first time would wait for that thread for ever.
#[pyfunction]
pub fn _prepare_timers(py: Python<'_>) -> PyResult<()> {
    starter(py).map(drop)
}

fn carry_out(py: Python<'_>, alarm: Alarm<TaskHandle>) -> PyResult<()> {
    match alarm {
        Alarm::Nothing => Ok(()),
        Alarm::Wake(waiter) => {
            let _ = waiter.wake();
            Ok(())
        }
        Alarm::Start => {
            let start = starter(py)?;
            let failed = |_: &PyErr| TIMERS.with(py, TimerState::not_started);
            start.call0().map(drop).inspect_err(failed)
        }
    }
}

/// Serves the timers in this thread until there are none.
#[pyfunction]
pub fn _serve_timers(py: Python<'_>) {
    halts_at_exit();
    loop {
        let waiter = Waiter::thread(thread_owner(), 0);
        match TIMERS.with(py, |timers| timers.tick(clock::now(), &waiter)) {
            Tick::Due(limit) => limit.expire(py),
            Tick::Sleep(until) => drop(py.detach(|| waiter.park(Some(until)))),
            Tick::Leave => return,
        }
    }
}
