//! The watchdog: one thread of the process that looks at the loops that want it, and reports callbacks
//! that keep theirs for long.
//!
//! It attaches only to report, and never once the interpreter is about to end, for which whoever ends
//! it waits. It ends when no loop is watched, and is started anew by the next. A forked child has none,
//! and watches nothing of what its parent watched.

use super::stall::{Pulse, Stack};
use crate::boundary::PerProcess;
use crate::executor::reference::Ref;
use crate::process::courier::Masked;
use counterpoint_reactor::beat::{News, Sight};
use counterpoint_reactor::clock;
use counterpoint_trace::{Line, Stall};
use pyo3::call::PyCallArgs;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// So often within its threshold a loop is looked at.
const LOOKS: u64 = 5;

/// The shortest and the longest time between two looks, in nanoseconds.
const PERIOD: (u64, u64) = (1_000_000, 200_000_000);

/// So long its end is waited for: it may be in a handler of the program's.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where names and log are made: a module of ours.
static HOOKS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

struct Entry {
    pulse: Arc<Pulse>,
    sight: Sight,
    stall: Option<Arc<Stall>>,
}

#[derive(Default)]
struct Inside {
    entries: Vec<Entry>,
    /// The thread runs.
    runs: bool,
    /// It is attached, or about to be.
    attached: bool,
    /// Nothing is watched any more.
    over: bool,
}

#[derive(Default)]
struct Watchdog {
    inside: Mutex<Inside>,
    /// Rung when the thread has detached, and when it is to look again.
    bell: Condvar,
}

static WATCHDOG: PerProcess<Watchdog> = PerProcess::new();

impl Watchdog {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, inside: MutexGuard<'a, Inside>, period: Duration) -> MutexGuard<'a, Inside> {
        let woken = self.bell.wait_timeout(inside, period);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    /// The thread.
    fn serve(&self) {
        let mut inside = self.lock();
        loop {
            // The end of what was reported is still to be told.
            inside.entries.retain(|entry| entry.pulse.threshold() != 0 || entry.stall.is_some());
            if inside.over || inside.entries.is_empty() {
                inside.runs = false;
                return;
            }
            let thresholds = inside.entries.iter().map(|entry| entry.pulse.threshold());
            let shortest = thresholds.filter(|threshold| *threshold != 0).min();
            let period = (shortest.unwrap_or(u64::MAX) / LOOKS).clamp(PERIOD.0, PERIOD.1);
            inside = self.wait(inside, Duration::from_nanos(period));
            inside = self.look_at_all(inside);
        }
    }

    fn look_at_all<'a>(&'a self, mut inside: MutexGuard<'a, Inside>) -> MutexGuard<'a, Inside> {
        let mut at = 0;
        while at < inside.entries.len() && !inside.over {
            if let Some((count, since)) = inside.entries[at].look() {
                let pulse = inside.entries[at].pulse.clone();
                inside.attached = true;
                drop(inside);
                let stall = Python::try_attach(|py| report(py, &pulse, count, since));
                inside = self.lock();
                inside.attached = false;
                self.bell.notify_all();
                // Only this thread takes entries away.
                inside.entries[at].stall = stall;
            }
            at += 1;
        }
        inside
    }
}

impl Entry {
    /// A new stall: its number, and when it was first seen.
    fn look(&mut self) -> Option<(u64, u64)> {
        let threshold = self.pulse.threshold();
        match self.sight.look(&self.pulse.beat, threshold, clock::now())? {
            News::Stalled(count, since) if threshold != 0 => Some((count, since)),
            News::Stalled(..) => None,
            News::Over(lasted) => {
                self.pulse.captured.store(false, Ordering::Relaxed);
                if let Some(stall) = self.stall.take() {
                    stall.end(lasted);
                }
                None
            }
        }
    }
}

/// Records a stall, and tells of it.
fn report(py: Python<'_>, pulse: &Pulse, count: u64, since: u64) -> Arc<Stall> {
    let (callback, stack) = describe(py, pulse, count).unwrap_or_else(|error| {
        error.write_unraisable(py, None);
        (String::new(), None)
    });
    let sampled = stack.is_some().then(|| clock::now().saturating_sub(since));
    let stack = stack.unwrap_or_default();
    let stall = Arc::new(Stall { callback, began: since, sampled, stack, ..Stall::default() });
    pulse.stalls.push(stall.clone());
    if pulse.logs.load(Ordering::Relaxed)
        && let Err(error) = log(py, &stall)
    {
        error.write_unraisable(py, None);
    }
    stall
}

fn describe(py: Python<'_>, pulse: &Pulse, count: u64) -> PyResult<(String, Option<Vec<Line>>)> {
    let Some((subject, stack)) = pulse.look(py, count)? else {
        return Ok((String::new(), None));
    };
    // The frames are let go of before any Python runs, with which the loop's thread may get on.
    let stack = stack.map(Stack::lines);
    let lines = |stack| hook(py, intern!(py, "lines"), (stack,))?.extract();
    let stack = stack.map(lines).transpose()?;
    // Of one that has ended nothing is asked that may be another's by now.
    let owner =
        stack.is_some().then(|| pulse.owner.with(py, |owner| owner.as_ref().map(Ref::share)));
    let owner = owner.flatten().map(|owner| owner.bind(py));
    let callback = hook(py, intern!(py, "name"), (subject.bind(py), owner));
    let callback = callback.and_then(|callback| callback.extract()).unwrap_or_else(|error| {
        error.write_unraisable(py, None);
        String::new()
    });
    Ok((callback, stack))
}

fn hook<'py, A: PyCallArgs<'py>>(
    py: Python<'py>,
    name: &Bound<'py, PyString>,
    arguments: A,
) -> PyResult<Bound<'py, PyAny>> {
    let hooks = HOOKS.get(py).ok_or_else(|| PyRuntimeError::new_err("not initialised"))?;
    hooks.bind(py).call_method1(name, arguments)
}

fn log(py: Python<'_>, stall: &Stall) -> PyResult<()> {
    let seconds = clock::seconds(clock::now().saturating_sub(stall.began));
    let stack = stall.sampled.is_some().then(|| stall.stack.clone());
    let arguments = (&stall.callback, seconds, stack);
    hook(py, intern!(py, "warn"), arguments).map(drop)
}

/// Has a loop looked at for as long as its threshold is not 0.
pub fn watch(py: Python<'_>, pulse: &Arc<Pulse>, hooks: Py<PyAny>) -> io::Result<()> {
    let _known = HOOKS.set(py, hooks);
    let watchdog = WATCHDOG.get();
    let mut inside = watchdog.lock();
    if inside.over {
        return Ok(());
    }
    let known = inside.entries.iter().any(|entry| Arc::ptr_eq(&entry.pulse, pulse));
    if !known {
        let pulse = pulse.clone();
        inside.entries.push(Entry { pulse, sight: Sight::default(), stall: None });
    }
    if !inside.runs {
        let _masked = Masked::all();
        let named = thread::Builder::new().name("counterpoint-watchdog".into());
        named.spawn(|| watchdog.serve())?;
        inside.runs = true;
    }
    drop(inside);
    watchdog.bell.notify_all();
    Ok(())
}

/// The interpreter is about to end: nothing is watched any more.
#[pyfunction]
pub fn end_watchdog(py: Python<'_>) {
    py.detach(|| {
        let watchdog = WATCHDOG.get();
        let mut inside = watchdog.lock();
        inside.over = true;
        watchdog.bell.notify_all();
        let deadline = clock::now() + PATIENCE.as_nanos() as u64;
        while inside.attached && clock::now() < deadline {
            inside = watchdog.wait(inside, PATIENCE);
        }
    });
}
