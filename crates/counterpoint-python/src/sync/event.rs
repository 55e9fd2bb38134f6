//! `counterpoint._core.Event`: a flag to wait for.

use crate::boundary::{
    Meter, Pending, Place, Protected, TaskHandle, Ticket, Timeout, Waits, block_on, observe,
    optional_timeout, seconds, traverse_waiters, truth, wake,
};
use counterpoint_sync::lock::condition::{AwaitSignal, SignalState};
use counterpoint_sync::wait::{Shared, Wait};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A flag that threads and tasks wait for.
#[pyclass(frozen, subclass, module = "counterpoint._core")]
pub struct Event {
    state: Protected<SignalState<TaskHandle>>,
}

#[pymethods]
impl Event {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { state: Protected::new(SignalState::default()) }
    }

    fn __init__(slf: &Bound<'_, Self>) -> PyResult<()> {
        observe(slf)
    }

    /// Whether the flag is up.
    fn is_set(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.is_set())
    }

    /// Raises the flag; everyone who waits goes on.
    fn set(&self, py: Python<'_>) {
        wake(py, &self.state, SignalState::set);
    }

    /// Lowers the flag.
    fn clear(&self, py: Python<'_>) {
        self.state.with(py, SignalState::clear);
    }

    /// Waits for the flag; False if it was not up within `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        if self.is_set(py) {
            return Ok(true);
        }
        let timeout = optional_timeout(timeout)?;
        if timeout == Timeout::Now {
            return Ok(false);
        }
        let mut wait = Wait::new(AwaitSignal::default());
        Ok(block_on(py, &self.state, &mut wait, timeout.deadline())?.is_some())
    }

    fn _at_fork_reinit(&self, py: Python<'_>) {
        let set = self.is_set(py);
        drop(self.state.with(py, SignalState::reset));
        if set {
            self.set(py);
        }
    }

    /// None: a flag belongs to nobody.
    #[getter]
    fn owner(&self) -> Option<usize> {
        None
    }

    /// How many threads and tasks wait.
    #[getter]
    fn waiters(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.waiters.len())
    }

    #[getter]
    fn _meter(&self, py: Python<'_>) -> Meter {
        Meter::of_lock(self.state.with(py, |state| state.waits.share()))
    }

    fn _waits(&self, py: Python<'_>) -> Waits {
        seconds(self.state.with(py, |state| state.waits.summary()))
    }

    fn _ticket(slf: &Bound<'_, Self>) -> Ticket {
        Ticket::new(Pending {
            place: EventPlace(slf.clone().unbind()),
            wait: Wait::new(AwaitSignal::default()),
            finish: |py, _, ()| Ok(truth(py)),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: called by the collector.
        traverse_waiters(unsafe { &self.state.peek().waiters }, &visit)
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        drop(self.state.with(py, SignalState::reset));
    }
}

struct EventPlace(Py<Event>);

impl Place for EventPlace {
    type State = SignalState<TaskHandle>;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = Self::State> + 'a {
        self.0.get().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
