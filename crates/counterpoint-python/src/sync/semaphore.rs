//! `counterpoint._core.Semaphore`: a counter of permits.

use crate::boundary::{
    Meter, Pending, Place, Protected, TaskHandle, Ticket, Timeout, Waits, block_on, observe,
    optional_timeout, seconds, traverse_waiters, truth, wake,
};
use counterpoint_sync::clock;
use counterpoint_sync::lock::semaphore::{AcquirePermit, SemaphoreState};
use counterpoint_sync::wait::{Shared, Wait};
use pyo3::exceptions::PyValueError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A semaphore; `limit` makes it a bounded one.
#[pyclass(frozen, subclass, module = "counterpoint._core")]
pub struct Semaphore {
    state: Protected<SemaphoreState<TaskHandle>>,
    limit: Protected<usize>,
}

impl Semaphore {
    fn try_acquire(&self, py: Python<'_>) -> bool {
        self.state.with(py, SemaphoreState::try_acquire)
    }

    fn wait_for_permit(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        if timeout == Timeout::Now {
            return Ok(false);
        }
        let mut wait = Wait::new(AcquirePermit::default());
        Ok(block_on(py, &self.state, &mut wait, timeout.deadline())?.is_some())
    }
}

#[pymethods]
impl Semaphore {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { state: Protected::new(SemaphoreState::new(1)), limit: Protected::new(usize::MAX) }
    }

    /// Sets the number of permits, and their limit if `bounded`.
    fn _set(slf: &Bound<'_, Self>, value: usize, bounded: bool) -> PyResult<()> {
        let (py, this) = (slf.py(), slf.get());
        drop(this.state.with(py, |state| state.reset(value)));
        this.limit.with(py, |limit| *limit = if bounded { value } else { usize::MAX });
        observe(slf)
    }

    /// Takes a permit; False if there was none within `timeout` seconds.
    #[pyo3(signature = (blocking = true, timeout = None))]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: Option<f64>) -> PyResult<bool> {
        if !blocking && timeout.is_some() {
            return Err(PyValueError::new_err("can't specify timeout for non-blocking acquire"));
        }
        if self.try_acquire(py) {
            return Ok(true);
        }
        let timeout = if blocking { optional_timeout(timeout)? } else { Timeout::Now };
        self.wait_for_permit(py, timeout)
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.try_acquire(py) || self.wait_for_permit(py, Timeout::Never)?)
    }

    #[pyo3(signature = (_kind = None, _error = None, _traceback = None, /))]
    fn __exit__<'py>(
        &self,
        py: Python<'py>,
        _kind: Option<Bound<'py, PyAny>>,
        _error: Option<Bound<'py, PyAny>>,
        _traceback: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        self.release(py, 1)
    }

    /// Returns `n` permits.
    #[pyo3(signature = (n = 1))]
    fn release(&self, py: Python<'_>, n: isize) -> PyResult<()> {
        if n < 1 {
            return Err(PyValueError::new_err("n must be one or more"));
        }
        let (n, limit) = (n as usize, self.limit.with(py, |limit| *limit));
        let fits = wake(py, &self.state, |state, wakes| {
            let fits = state.value().checked_add(n).is_some_and(|value| value <= limit);
            if fits {
                state.release(n, clock::now, wakes);
            }
            fits
        });
        if fits { Ok(()) } else { Err(PyValueError::new_err("Semaphore released too many times")) }
    }

    #[getter]
    fn _value(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.value())
    }

    #[getter]
    fn _initial_value(&self, py: Python<'_>) -> usize {
        self.limit.with(py, |limit| *limit)
    }

    /// None: permits belong to nobody.
    #[getter]
    fn owner(&self) -> Option<usize> {
        None
    }

    /// How many threads and tasks wait for a permit.
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
        let place = SemaphorePlace(slf.clone().unbind());
        Ticket::new(Pending {
            place,
            wait: Wait::new(AcquirePermit::default()),
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
        drop(self.state.with(py, |state| state.waiters.disband()));
    }
}

struct SemaphorePlace(Py<Semaphore>);

impl Place for SemaphorePlace {
    type State = SemaphoreState<TaskHandle>;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = Self::State> + 'a {
        self.0.get().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
