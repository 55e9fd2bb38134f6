//! `counterpoint._core.CancellationToken`: how a running task hears that nobody waits for it.

use super::future::CANCELLED_ERROR;
use super::reference::Ref;
use crate::boundary::{Protected, TaskHandle, block_on, optional_timeout};
use counterpoint_sync::executor::future::{Done, FutureState};
use counterpoint_sync::wait::Wait;
use counterpoint_sync::waiter::Wakes;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;

/// Tells a task that it should stop: its time is over. Nothing stops it by force.
///
/// No stdlib call equals it. Get it with `counterpoint.futures.cancellation_token()`.
#[derive(Default)]
#[pyclass(frozen, weakref, module = "counterpoint.futures")]
pub struct CancellationToken {
    /// Finished once it is cancelled.
    state: Protected<FutureState<TaskHandle>>,
    reason: Protected<Option<Ref>>,
}

impl CancellationToken {
    /// Tells everybody who asks, or waits, from now on. The first reason stays.
    pub fn cancel(&self, py: Python<'_>, reason: Bound<'_, PyAny>) {
        let mut reason = Some(Ref::from(reason));
        self.reason.with(py, |place| {
            if place.is_none() {
                *place = reason.take();
            }
        });
        let mut wakes = Wakes::default();
        let _ = self.state.with(py, |state| state.finish(&mut wakes));
        wakes.wake_all();
    }
}

#[pymethods]
impl CancellationToken {
    /// A token that nobody has cancelled.
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Whether the task should stop.
    #[getter]
    fn is_cancelled(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.phase().is_done())
    }

    /// Why, in words; None while it should go on.
    #[getter]
    fn reason<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.reason.with(py, |reason| reason.as_ref().map(|reason| reason.bind(py)))
    }

    /// Waits until the task should stop; False if `timeout` seconds passed first. A task that
    /// would sleep waits here instead, and so ends at once when its time is over.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        if self.is_cancelled(py) || timeout.is_some_and(|seconds| seconds <= 0.0) {
            return Ok(self.is_cancelled(py));
        }
        let deadline = optional_timeout(timeout)?.deadline();
        let ended = block_on(py, &self.state, &mut Wait::new(Done::default()), deadline);
        drop(self.state.with(py, |state| state.tidy()));
        Ok(ended?.is_some())
    }

    /// Raises `CancelledError` if the task should stop.
    fn raise_if_cancelled(&self, py: Python<'_>) -> PyResult<()> {
        if !self.is_cancelled(py) {
            return Ok(());
        }
        let class = CANCELLED_ERROR.import(py, "concurrent.futures", "CancelledError")?;
        Err(PyErr::from_value(class.call1((self.reason(py),))?))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let state = match self.reason(py) {
            Some(reason) => format!("cancelled: {}", reason.str()?),
            None => "active".to_owned(),
        };
        Ok(format!("<CancellationToken {state}>"))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: called by the collector.
        unsafe { self.reason.peek() }.as_ref().map_or(Ok(()), |reason| reason.visit(&visit))
    }
}
