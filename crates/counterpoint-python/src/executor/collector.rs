//! `counterpoint._core.Collector`: told by many futures, waited for once.

use super::future::remote::check_ours;
use super::future::{FutureObject, settled_or_watch, unwatch};
use super::pool::{Blocked, guess_wait_in_loop};
use super::reference::Ref;
use crate::boundary::{
    Pending, Place, Protected, TaskHandle, Ticket, block_on, halts_at_exit, optional_timeout,
    traverse_waiters, truth, wake,
};
use counterpoint_sync::executor::collector::{CollectorState, Ready};
use counterpoint_sync::wait::{Shared, Wait};
use counterpoint_sync::waiter::fork;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyList, PySet};

type State = CollectorState<Ref, TaskHandle>;

/// Those that have settled, whether one of them failed, and those that are not ours.
type Watched<'py> = (Vec<Bound<'py, PyAny>>, bool, Vec<Bound<'py, PyAny>>);

/// What `wait` and `as_completed` put into futures, the stdlib's included: to those it looks
/// like one of the stdlib's own waiters.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Collector {
    state: Protected<State>,
    stop_on_exception: bool,
    /// How many of the watched have not settled, by the pool that is to end them. A future may tell
    /// before it is counted.
    homes: Protected<Vec<(usize, isize)>>,
}

impl Collector {
    /// One of the watched futures settled.
    pub fn tell(&self, py: Python<'_>, future: FutureObject, failed: bool) {
        self.count(py, future.home(), -1);
        // SAFETY: alive: its end is being told.
        self.settle(py, unsafe { Ref::new(future.as_ptr()) }, failed);
    }

    /// Counts a future of that pool.
    fn count(&self, py: Python<'_>, home: usize, change: isize) {
        if home == 0 {
            return;
        }
        let mut grown = Vec::new();
        self.homes.with(py, |homes| match homes.iter_mut().find(|(known, _)| *known == home) {
            Some((_, count)) => *count += change,
            None => {
                grown.extend(homes.iter().copied().chain([(home, change)]));
                std::mem::swap(homes, &mut grown);
            }
        });
    }

    /// Whether some future that is watched is to be ended by that pool.
    fn concerns(&self, py: Python<'_>, home: usize) -> bool {
        self.homes.with(py, |homes| homes.iter().any(|(known, count)| *known == home && *count > 0))
    }

    fn settle(&self, py: Python<'_>, future: Ref, failed: bool) {
        let enough = failed && self.stop_on_exception;
        wake(py, &self.state, |state, wakes| state.tell(future, enough, wakes));
    }
}

#[pymethods]
impl Collector {
    /// A collector that nobody told anything; a failure ends its wait if `stop_on_exception`.
    #[new]
    #[pyo3(signature = (stop_on_exception=false))]
    fn new(stop_on_exception: bool) -> Self {
        let (state, homes) = (Protected::new(State::default()), Protected::new(Vec::new()));
        Self { state, stop_on_exception, homes }
    }

    /// Watches those of `futures` that are ours and have not settled. Returns those that have,
    /// whether one of them failed, and those that are not ours.
    fn watch<'py>(slf: &Bound<'py, Self>, futures: &Bound<'py, PyList>) -> PyResult<Watched<'py>> {
        let (mut settled, mut failed, mut foreign) = (Vec::new(), false, Vec::new());
        if fork::generation() != 0 {
            // Before anything is left in any of them.
            let ours = |future: Bound<'_, PyAny>| FutureObject::check(future.as_ptr());
            futures.iter().filter_map(ours).try_for_each(check_ours)?;
        }
        for future in futures.iter() {
            let Some(ours) = FutureObject::check(future.as_ptr()) else {
                foreign.push(future);
                continue;
            };
            match settled_or_watch(slf.py(), ours, slf.as_ptr())? {
                Some(raised) => {
                    failed |= raised;
                    settled.push(future);
                }
                None => {
                    slf.get().count(slf.py(), ours.home(), 1);
                    guess_wait_in_loop(slf.py(), ours)?;
                }
            }
        }
        Ok((settled, failed, foreign))
    }

    /// Forgets those of `futures` that are ours; returns the others.
    fn unwatch<'py>(
        slf: &Bound<'py, Self>,
        futures: &Bound<'py, PyAny>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        halts_at_exit();
        let mut foreign = Vec::new();
        for future in futures.try_iter()? {
            let future = future?;
            match FutureObject::check(future.as_ptr()) {
                Some(ours) => unwatch(slf.py(), ours, slf.as_any())?,
                None => foreign.push(future),
            }
        }
        Ok(foreign)
    }

    /// From now on waits until so many have settled.
    fn need(&self, py: Python<'_>, needed: usize) {
        self.state.with(py, |state| state.need(needed));
    }

    /// Waits until enough have settled; False if the time was over first.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let mut wait = Wait::new(Ready::default());
        if self.state.with(py, |state| state.is_ready()) {
            return Ok(true);
        }
        if timeout.is_some_and(|seconds| seconds <= 0.0) {
            return Ok(false);
        }
        let deadline = optional_timeout(timeout)?.deadline();
        let _blocked = Blocked::enter(py, |home| self.concerns(py, home))?;
        Ok(block_on(py, &self.state, &mut wait, deadline)?.is_some())
    }

    /// The same wait for a task.
    fn ticket(slf: Py<Self>) -> Ticket {
        let wait = Wait::new(Ready::default());
        Ticket::new(Pending { place: Home(slf), wait, finish: |py, _, ()| Ok(truth(py)) })
    }

    /// Takes what settled since the last time, in order.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let settled = self.state.with(py, State::take);
        PyList::new(py, settled.into_iter().map(|future| future.bind(py)))
    }

    /// Adds those that had settled when it began to watch.
    fn put(&self, futures: &Bound<'_, PyList>) {
        let mut settled: Vec<_> = futures.iter().map(Ref::from).collect();
        wake(futures.py(), &self.state, |state, wakes| state.put(settled.drain(..), wakes));
    }

    /// Takes what settled first, here and from those that are pending; None if nothing has. With
    /// the last everybody who waits goes on. In one step: a handler that raises in between would
    /// leave the others waiting.
    fn pop<'py>(&self, pending: &Bound<'py, PySet>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let py = pending.py();
        let Some(future) = self.state.with(py, State::pop) else { return Ok(None) };
        let future = future.bind(py);
        pending.discard(&future)?;
        if pending.is_empty() {
            self.release(py);
        }
        Ok(Some(future))
    }

    /// Lets everybody who waits go on, and nobody wait.
    fn release(&self, py: Python<'_>) {
        wake(py, &self.state, State::release);
    }

    /// Called by futures of others.
    fn add_result(&self, future: Bound<'_, PyAny>) {
        self.settle(future.py(), Ref::from(future.clone()), false);
    }

    /// Called by futures of others.
    fn add_exception(&self, future: Bound<'_, PyAny>) {
        self.settle(future.py(), Ref::from(future.clone()), true);
    }

    /// Called by futures of others.
    fn add_cancelled(&self, future: Bound<'_, PyAny>) {
        self.settle(future.py(), Ref::from(future.clone()), false);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: called by the collector of garbage.
        let state = unsafe { self.state.peek() };
        state.settled().try_for_each(|future| future.visit(&visit))?;
        traverse_waiters(state.waiters(), &visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.state.with(py, State::take));
    }
}

/// A strong reference to a collector, for a wait that outlives the call.
struct Home(Py<Collector>);

impl Place for Home {
    type State = State;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = State> + 'a {
        self.0.get().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
