//! [`Ticket`]: how a task waits. The same [`Wait`] that a thread drives in `block_on`, driven by
//! the coroutine in `counterpoint/_async.py`.

use super::{Protected, TaskHandle};
use counterpoint_sync::wait::{Attempt, Shared, Source, State, Wait};
use counterpoint_sync::waiter::Waiter;
use counterpoint_sync::{Arc, clock};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::any::Any;

/// What an attempt returns that could not complete.
pub static PENDING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// An object that owns a state and is itself owned by Python.
pub trait Place: Send {
    /// The state.
    type State: State<Notify = TaskHandle> + Send;

    /// The state with its lock: a [`Protected`]'s, or one that threads take which are not
    /// attached.
    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = Self::State> + 'a;

    /// Shows the collector the reference to the object.
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;

    /// An operation ends without its outcome. What it has done by then remains to be told.
    fn given_up(&self, _py: Python<'_>, _source: &mut dyn Any) {}
}

/// An operation in progress, with its types erased.
trait Operation: Send {
    fn try_now(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;
    fn attempt(&mut self, py: Python<'_>, handle: TaskHandle) -> PyResult<Option<Py<PyAny>>>;
    fn expire(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>>;
    fn abandon(&mut self, py: Python<'_>);
    fn is_queued(&self) -> bool;
    fn is_timed(&self) -> bool;
    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError>;
}

/// An operation of type `O` on the object `P`, and how its outcome becomes a Python object.
pub struct Pending<P, O: Source> {
    /// Keeps the object alive and tells where its state is.
    pub place: P,
    /// The operation.
    pub wait: Wait<O>,
    /// Turns the outcome into what the coroutine returns.
    pub finish: fn(Python<'_>, &P, O::Output) -> PyResult<Py<PyAny>>,
}

impl<P, O> Operation for Pending<P, O>
where
    P: Place<State = O::State>,
    O: Source + Send + 'static,
    O::State: State<Notify = TaskHandle>,
{
    fn try_now(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let output = self.wait.try_now(&self.place.shared(py));
        output.map(|output| (self.finish)(py, &self.place, output)).transpose()
    }

    fn attempt(&mut self, py: Python<'_>, handle: TaskHandle) -> PyResult<Option<Py<PyAny>>> {
        let owner = handle.owner();
        let make = |since| Waiter::task(owner, since, handle);
        match self.wait.attempt(&self.place.shared(py), clock::now, make) {
            Attempt::Done(output) => (self.finish)(py, &self.place, output).map(Some),
            Attempt::Pending(_) => Ok(None),
        }
    }

    fn expire(&mut self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let output = self.wait.expire(&self.place.shared(py), clock::now);
        if output.is_none() && !self.wait.is_queued() {
            self.place.given_up(py, &mut self.wait.source);
        }
        output.map(|output| (self.finish)(py, &self.place, output)).transpose()
    }

    fn abandon(&mut self, py: Python<'_>) {
        self.wait.abandon(&self.place.shared(py), clock::now);
        self.place.given_up(py, &mut self.wait.source);
    }

    fn is_queued(&self) -> bool {
        self.wait.is_queued()
    }

    fn is_timed(&self) -> bool {
        self.wait.is_timed()
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.place.traverse(visit)?;
        // In line it belongs to the object's list; afterwards, if to nobody else, to this wait.
        let own = self.wait.waiter().filter(|w| !w.is_waiting() && Arc::strong_count(w) == 1);
        own.and_then(|waiter| waiter.notify()).map_or(Ok(()), |task| task.traverse(visit))
    }
}

/// Shows the collector the identity of a task, which a [`Place`] and the source of its wait own
/// together until the object owns it as well, and shows it.
pub fn traverse_identity(
    identity: &Arc<Waiter<TaskHandle>>,
    visit: &PyVisit<'_>,
) -> Result<(), PyTraverseError> {
    let own = (Arc::strong_count(identity) == 2).then_some(identity);
    own.and_then(|waiter| waiter.notify()).map_or(Ok(()), |task| task.traverse(visit))
}

/// A task's wait in progress. Internal: only `counterpoint._async` uses it.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Ticket {
    /// Out of its place while a method works on it, so that no lock is held meanwhile.
    operation: Protected<Option<Box<dyn Operation>>>,
}

impl Ticket {
    /// A wait that has not been tried.
    pub fn new<P, O>(pending: Pending<P, O>) -> Self
    where
        P: Place<State = O::State> + 'static,
        O: Source + Send + 'static,
        O::State: State<Notify = TaskHandle>,
    {
        Self { operation: Protected::new(Some(Box::new(pending))) }
    }

    fn work<R>(
        &self,
        py: Python<'_>,
        f: impl FnOnce(&mut dyn Operation) -> PyResult<R>,
    ) -> PyResult<R> {
        let mut operation = self
            .operation
            .with(py, Option::take)
            .ok_or_else(|| PyRuntimeError::new_err("a ticket is used by two at once"))?;
        let result = f(operation.as_mut());
        self.operation.with(py, |place| *place = Some(operation));
        result
    }
}

fn or_pending(py: Python<'_>, output: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
    if let Some(output) = output {
        return Ok(output);
    }
    let pending = PENDING.get(py).ok_or_else(|| PyRuntimeError::new_err("not initialised"))?;
    Ok(pending.clone_ref(py))
}

#[pymethods]
impl Ticket {
    /// Tries without queueing.
    fn try_now(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        or_pending(py, self.work(py, |operation| operation.try_now(py))?)
    }

    /// Tries; queues the task, to be told through `future`, if that is impossible now.
    fn attempt(
        &self,
        py: Python<'_>,
        event_loop: Py<PyAny>,
        future: Py<PyAny>,
        task: Py<PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let handle = TaskHandle::new(event_loop, future, task);
        or_pending(py, self.work(py, |operation| operation.attempt(py, handle))?)
    }

    /// Ends the wait by timeout; it may still succeed.
    fn expire(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        or_pending(py, self.work(py, |operation| operation.expire(py))?)
    }

    /// Whether the wait goes on: after `expire()`, where a timeout may not end it now.
    fn is_queued(&self, py: Python<'_>) -> PyResult<bool> {
        self.work(py, |operation| Ok(operation.is_queued()))
    }

    /// Whether its time runs, after an attempt that is pending.
    fn is_timed(&self, py: Python<'_>) -> PyResult<bool> {
        self.work(py, |operation| Ok(operation.is_timed()))
    }

    /// Ends the wait; what was given to it is passed on.
    fn abandon(&self, py: Python<'_>) -> PyResult<()> {
        self.work(py, |operation| {
            operation.abandon(py);
            Ok(())
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: called by the collector.
        match unsafe { self.operation.peek() } {
            Some(operation) => operation.traverse(&visit),
            None => Ok(()),
        }
    }
}
