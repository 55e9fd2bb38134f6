//! `counterpoint._core.RWLock`: many readers or one writer.

use crate::boundary::{
    Meter, Pending, Place, Protected, TaskHandle, Ticket, Timeout, Waits, block_on, current_owner,
    lock_timeout, observe, refuse_deadlock, seconds, thread_owner, traverse_identity,
    traverse_waiters, truth, wake,
};
use counterpoint_sync::lock::Who;
use counterpoint_sync::lock::rwlock::{AcquireRead, AcquireWrite, Misuse, Mode, RwLockState};
use counterpoint_sync::wait::{Shared, Source, Wait};
use counterpoint_sync::waiter::Waiter;
use counterpoint_sync::{Arc, clock};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Both sides of a readers-writer lock; `counterpoint.threading.RWLock` gives each a face.
#[pyclass(frozen, subclass, module = "counterpoint._core")]
pub struct RWLock {
    state: Protected<RwLockState<TaskHandle>>,
}

fn refusal(misuse: Misuse) -> PyErr {
    PyRuntimeError::new_err(match misuse {
        Misuse::Upgrade => {
            "cannot upgrade a read lock to a write lock, which would wait for itself; release \
             the read lock first"
        }
        Misuse::WriteAgain => "cannot acquire the write lock again: it is not reentrant",
        Misuse::ReadWhileWriting => {
            "cannot acquire the read lock while holding the write lock; use downgrade()"
        }
        Misuse::NotHeld => "cannot release un-acquired lock",
    })
}

impl RWLock {
    /// The parties this code may act for: the thread, and the task that runs in it.
    fn parties(py: Python<'_>) -> PyResult<[usize; 2]> {
        Ok([thread_owner(), current_owner(py)?.unwrap_or_else(thread_owner)])
    }

    fn reader(&self, py: Python<'_>) -> PyResult<usize> {
        let parties = Self::parties(py)?;
        let reads = |owner| self.state.with(py, |state| state.readers().any(|(o, ..)| o == owner));
        // The task first: it may run in a thread that reads on its own account.
        Ok(parties.into_iter().rev().find(|&owner| reads(owner)).unwrap_or(parties[0]))
    }

    fn writer(&self, py: Python<'_>) -> PyResult<usize> {
        let parties = Self::parties(py)?;
        let writer = self.state.with(py, |state| state.writer());
        Ok(parties.into_iter().find(|&owner| owner == writer).unwrap_or(parties[0]))
    }

    /// The tasks that hold either side.
    fn holders(&self, py: Python<'_>) -> Vec<Arc<Waiter<TaskHandle>>> {
        self.state.with(py, |state| {
            let readers = state.readers().filter_map(|(.., task)| task);
            readers.chain(state.writer_task()).cloned().collect()
        })
    }

    fn acquire<O>(&self, py: Python<'_>, source: O, timeout: Timeout) -> PyResult<bool>
    where
        O: Source<State = RwLockState<TaskHandle>, Output = Result<(), Misuse>>,
    {
        let mut wait = Wait::new(source);
        let outcome = match wait.try_now(&self.state.held(py)) {
            None if timeout != Timeout::Now => {
                if timeout == Timeout::Never {
                    refuse_deadlock(py, self.holders(py))?;
                }
                block_on(py, &self.state, &mut wait, timeout.deadline())?
            }
            outcome => outcome,
        };
        outcome.transpose().map(|entered| entered.is_some()).map_err(refusal)
    }
}

fn identity(event_loop: Py<PyAny>, task: Py<PyAny>, py: Python<'_>) -> Arc<Waiter<TaskHandle>> {
    let handle = TaskHandle::new(event_loop, py.None(), task);
    Waiter::task(handle.owner(), 0, handle)
}

fn finish(py: Python<'_>, _: &RWLockPlace, entered: Result<(), Misuse>) -> PyResult<Py<PyAny>> {
    entered.map(|()| truth(py)).map_err(refusal)
}

#[pymethods]
impl RWLock {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { state: Protected::new(RwLockState::new(Mode::Writer)) }
    }

    fn _set(slf: &Bound<'_, Self>, fair: bool) -> PyResult<()> {
        let new = RwLockState::new(if fair { Mode::Fair } else { Mode::Writer });
        drop(slf.get().state.with(slf.py(), |state| std::mem::replace(state, new)));
        observe(slf)
    }

    fn _acquire_read(&self, py: Python<'_>, blocking: bool, timeout: f64) -> PyResult<bool> {
        let timeout = lock_timeout(blocking, timeout)?;
        self.acquire(py, AcquireRead(Who::thread(self.reader(py)?)), timeout)
    }

    fn _acquire_write(&self, py: Python<'_>, blocking: bool, timeout: f64) -> PyResult<bool> {
        let timeout = lock_timeout(blocking, timeout)?;
        // One who reads as a task is refused here as well: it would wait for itself.
        let reader = self.reader(py)?;
        self.acquire(py, AcquireWrite(Who::thread(reader)), timeout)
    }

    fn _release_read(&self, py: Python<'_>) -> PyResult<()> {
        let owner = self.reader(py)?;
        wake(py, &self.state, |state, wakes| state.release_read(owner, clock::now, wakes))
            .map_err(refusal)
    }

    fn _release_write(&self, py: Python<'_>) -> PyResult<()> {
        let owner = self.writer(py)?;
        wake(py, &self.state, |state, wakes| state.release_write(owner, clock::now, wakes))
            .map_err(refusal)
    }

    fn _downgrade(&self, py: Python<'_>) -> PyResult<()> {
        let owner = self.writer(py)?;
        wake(py, &self.state, |state, wakes| state.downgrade(owner, wakes)).map_err(refusal)
    }

    fn _read_ticket(slf: &Bound<'_, Self>, event_loop: Py<PyAny>, task: Py<PyAny>) -> Ticket {
        let identity = identity(event_loop, task, slf.py());
        let wait = Wait::new(AcquireRead(Who::task_of(identity.clone())));
        Ticket::new(Pending { place: RWLockPlace(slf.clone().unbind(), identity), wait, finish })
    }

    fn _write_ticket(slf: &Bound<'_, Self>, event_loop: Py<PyAny>, task: Py<PyAny>) -> Ticket {
        let identity = identity(event_loop, task, slf.py());
        let wait = Wait::new(AcquireWrite(Who::task_of(identity.clone())));
        Ticket::new(Pending { place: RWLockPlace(slf.clone().unbind(), identity), wait, finish })
    }

    /// How many read.
    #[getter]
    fn readers(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.reader_count())
    }

    /// Who writes: a thread's ident, a Task, or None.
    #[getter]
    fn owner(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (number, waiter) =
            self.state.with(py, |state| (state.writer(), state.writer_task().cloned()));
        if let Some(handle) = waiter.as_ref().and_then(|waiter| waiter.notify()) {
            return Ok(handle.task().clone_ref(py));
        }
        Ok(match number {
            0 => py.None(),
            number => number.into_pyobject(py)?.into_any().unbind(),
        })
    }

    /// How many threads and tasks wait, to read or to write.
    #[getter]
    fn waiters(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.waiters())
    }

    /// Those who wait to read, and to write.
    fn _waiting(&self, py: Python<'_>) -> (usize, usize) {
        self.state.with(py, |state| (state.reads.len(), state.writes.len()))
    }

    #[getter]
    fn _meter(&self, py: Python<'_>) -> Meter {
        Meter::of_lock(self.state.with(py, |state| state.waits.share()))
    }

    fn _waits(&self, py: Python<'_>) -> Waits {
        seconds(self.state.with(py, |state| state.waits.summary()))
    }

    fn _at_fork_reinit(&self, py: Python<'_>) {
        drop(self.state.with(py, RwLockState::reset));
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: called by the collector.
        let state = unsafe { self.state.peek() };
        traverse_waiters(&state.reads, &visit)?;
        traverse_waiters(&state.writes, &visit)?;
        let tasks = state.readers().filter_map(|(.., task)| task).chain(state.writer_task());
        tasks.filter_map(|waiter| waiter.notify()).try_for_each(|task| task.traverse(&visit))
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        drop(self.state.with(py, RwLockState::reset));
    }
}

/// The lock, and the identity of the task that waits for it.
struct RWLockPlace(Py<RWLock>, Arc<Waiter<TaskHandle>>);

impl Place for RWLockPlace {
    type State = RwLockState<TaskHandle>;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = Self::State> + 'a {
        self.0.get().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)?;
        traverse_identity(&self.1, visit)
    }
}
