//! `counterpoint._core.CapacityLimiter`: tokens, at most one per thread or task.

use crate::boundary::{
    Meter, Pending, Place, Protected, TaskHandle, Ticket, Timeout, Waits, block_on, coming_owner,
    current_owner, lock_timeout, observe, refuse_deadlock_of_all, seconds, thread_owner,
    traverse_identity, traverse_waiters, truth, wake,
};
use counterpoint_sync::Arc;
use counterpoint_sync::lock::Who;
use counterpoint_sync::lock::limiter::{AlreadyBorrowing, Borrow, LimiterState};
use counterpoint_sync::wait::{Shared, Wait};
use counterpoint_sync::waiter::Waiter;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A limit on how many threads and tasks do something at once.
#[pyclass(frozen, subclass, module = "counterpoint._core")]
pub struct CapacityLimiter {
    state: Protected<LimiterState<TaskHandle>>,
}

fn refusal(_: AlreadyBorrowing) -> PyErr {
    PyRuntimeError::new_err("this thread or task already holds one of this limiter's tokens")
}

fn finish(
    py: Python<'_>,
    _: &LimiterPlace,
    lent: Result<(), AlreadyBorrowing>,
) -> PyResult<Py<PyAny>> {
    lent.map(|()| truth(py)).map_err(refusal)
}

impl CapacityLimiter {
    /// The current task, if it has a token.
    fn borrowing_task(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        let is_borrowing = |task: &usize| self.state.with(py, |state| state.is_borrowing(*task));
        Ok(current_owner(py)?.filter(is_borrowing))
    }
}

#[pymethods]
impl CapacityLimiter {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { state: Protected::new(LimiterState::new(1)) }
    }

    fn _set(slf: &Bound<'_, Self>, total: usize) -> PyResult<()> {
        slf.get()._resize(slf.py(), total);
        observe(slf)
    }

    fn _resize(&self, py: Python<'_>, total: usize) {
        wake(py, &self.state, |state, wakes| state.set_total(total, wakes));
    }

    /// Borrows a token for this thread; False if there was none within `timeout` seconds (-1: no
    /// limit).
    #[pyo3(
        signature = (blocking = true, timeout = -1.0),
        text_signature = "($self, blocking=True, timeout=-1)"
    )]
    fn acquire(&self, py: Python<'_>, blocking: bool, timeout: f64) -> PyResult<bool> {
        let timeout = lock_timeout(blocking, timeout)?;
        // It would hold two, and may wait for itself.
        if self.borrowing_task(py)?.is_some() {
            return Err(refusal(AlreadyBorrowing));
        }
        let mut wait = Wait::new(Borrow(Who::thread(thread_owner())));
        let outcome = match wait.try_now(&self.state.held(py)) {
            None if timeout != Timeout::Now => {
                if timeout == Timeout::Never {
                    refuse_deadlock_of_all(py, self.state.with(py, |state| state.culprits()))?;
                }
                block_on(py, &self.state, &mut wait, timeout.deadline())?
            }
            outcome => outcome,
        };
        outcome.transpose().map(|lent| lent.is_some()).map_err(refusal)
    }

    /// Returns the token of this thread or task.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        let borrower = self.borrowing_task(py)?.unwrap_or_else(thread_owner);
        wake(py, &self.state, |state, wakes| state.give_back(borrower, wakes)).map_err(|_| {
            PyRuntimeError::new_err("this thread or task holds none of this limiter's tokens")
        })
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        self.acquire(py, true, -1.0)
    }

    #[pyo3(signature = (_kind = None, _error = None, _traceback = None, /))]
    fn __exit__<'py>(
        &self,
        py: Python<'py>,
        _kind: Option<Bound<'py, PyAny>>,
        _error: Option<Bound<'py, PyAny>>,
        _traceback: Option<Bound<'py, PyAny>>,
    ) -> PyResult<()> {
        self.release(py)
    }

    fn _total(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.total())
    }

    /// How many tokens are lent.
    #[getter]
    fn borrowed_tokens(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.borrowed())
    }

    /// None: its tokens may be held by many.
    #[getter]
    fn owner(&self) -> Option<usize> {
        None
    }

    /// How many threads and tasks wait for a token.
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

    /// The wait of the current task for a token.
    fn _ticket(slf: &Bound<'_, Self>) -> PyResult<Ticket> {
        let identity = coming_owner(slf.py())?.map(|task| Waiter::task(task.owner(), 0, task));
        let who = identity.clone().map_or_else(|| Who::thread(thread_owner()), Who::task_of);
        let place = LimiterPlace(slf.clone().unbind(), identity);
        Ok(Ticket::new(Pending { place, wait: Wait::new(Borrow(who)), finish }))
    }

    fn _at_fork_reinit(&self, py: Python<'_>) {
        drop(self.state.with(py, LimiterState::reset));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: called by the collector.
        let state = unsafe { self.state.peek() };
        traverse_waiters(&state.waiters, &visit)?;
        let mut tasks = state.tasks().filter_map(|waiter| waiter.notify());
        tasks.try_for_each(|task| task.traverse(&visit))
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        drop(self.state.with(py, LimiterState::reset));
    }
}

/// The limiter, and the identity of the task that waits for it.
struct LimiterPlace(Py<CapacityLimiter>, Option<Arc<Waiter<TaskHandle>>>);

impl Place for LimiterPlace {
    type State = LimiterState<TaskHandle>;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = Self::State> + 'a {
        self.0.get().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)?;
        self.1.as_ref().map_or(Ok(()), |identity| traverse_identity(identity, visit))
    }
}
