//! *Compatible mode*: the items live in Python objects, and a Python implementation operates.
//!
//! A queue goes there when somebody touches what only the stdlib's implementation has (`mutex`,
//! `queue`, the conditions), or when its class overrides a hook (`_init`, `_qsize`, `_put`,
//! `_get`). It never comes back. The implementation is published under the queue's lock in the
//! same moment as the items leave, with its own mutex held until they have arrived; whoever
//! waited here is woken and finds it.

use super::errors::denied;
use super::kind::Kind;
use super::layout::{RawQueue, StateOf, receiver};
use super::object::Object;
use super::outside::is_within;
use super::patience::as_arguments;
use crate::boundary::{TaskHandle, Timeout, halts_at_exit};
use crate::sync::Condition;
use counterpoint_sync::queue::{Counters, Denied, Emigrate, Overflow};
use counterpoint_sync::wait::{Source, Wait};
use counterpoint_sync::waiter::{Claim, WaitList, Wakes};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;

/// Emigration that publishes the place where the items go.
struct Move<'a, K: Kind> {
    queue: &'a RawQueue<K>,
    py: Python<'a>,
    destination: Option<Object>,
    emigrate: Emigrate<TaskHandle, K::Store>,
}

impl<K: Kind> Source for Move<'_, K> {
    type State = StateOf<K>;
    type Output = Result<(K::Store, Counters), Denied>;

    fn take(
        &mut self,
        state: &mut StateOf<K>,
        claim: Claim,
        wakes: &mut Wakes<TaskHandle>,
    ) -> Option<Self::Output> {
        let moved = self.emigrate.take(state, claim, wakes)?;
        if moved.is_ok() {
            let destination = self.destination.take();
            self.queue.change_extra(self.py, |extra| extra.compatible = destination);
        }
        Some(moved)
    }

    fn list<'s>(&self, state: &'s mut StateOf<K>) -> &'s mut WaitList<TaskHandle> {
        self.emigrate.list(state)
    }
}

/// The Python implementation of this queue, made now if need be.
pub fn compatible<K: Kind>(py: Python<'_>, object: *mut PyObject) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: the receiver of the call being served.
    let (queue, this) = unsafe { (receiver::<K>(object), Bound::from_borrowed_ptr(py, object)) };
    if let Some(there) = queue.extra(py, |extra| extra.compatible.as_ref()) {
        return Ok(there.into_bound(py));
    }
    if is_within(py, queue) {
        return Err(PyRuntimeError::new_err(
            "the queue's mutex, conditions and items cannot be had from within a comparison of \
             the same queue",
        ));
    }
    halts_at_exit();
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = MAKE.import(py, "counterpoint._queue.compatible", "Compatible")?;
    // With its mutex held, so that others wait until it is furnished.
    let destination =
        make.call1((overflow_name(queue.state.with(py, |state| state.overflow())),))?;
    count_waits(py, queue, &destination)?;
    let source = Move {
        queue,
        py,
        destination: Some(destination.clone().into()),
        emigrate: Emigrate::new(),
    };
    let moved = super::operate::run(py, queue, &mut Wait::new(source), Timeout::Never)?;
    match moved {
        Some(Ok((store, counters))) => furnish::<K>(py, &this, &destination, store, counters)?,
        Some(Err(Denied::Foreign)) => {}
        other => {
            let why = other.and_then(Result::err).unwrap_or(Denied::Empty);
            return Err(denied(py, why));
        }
    }
    let there = queue.extra(py, |extra| extra.compatible.as_ref());
    there
        .map(|there| there.into_bound(py))
        .ok_or_else(|| PyRuntimeError::new_err("the queue's implementation has gone"))
}

/// Who waits on the Python implementation's conditions waits for the queue, and is counted there.
fn count_waits<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    destination: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let (puts, gets) = queue.state.with(py, |state| state.share_waits());
    for (name, waits) in [("not_full", puts), ("not_empty", gets)] {
        let condition = destination.getattr(name)?;
        condition.cast::<Condition>()?.get().count_among(py, waits);
    }
    Ok(())
}

/// Brings items and numbers to the Python implementation, which then releases its mutex.
fn furnish<K: Kind>(
    py: Python<'_>,
    queue: &Bound<'_, PyAny>,
    destination: &Bound<'_, PyAny>,
    store: K::Store,
    counters: Counters,
) -> PyResult<()> {
    // SAFETY: the receiver of the call being served.
    let raw = unsafe { receiver::<K>(queue.as_ptr()) };
    let shut_down = raw.state.with(py, |state| state.is_shut_down());
    let items = K::into_objects(py, store)?;
    let numbers = (counters.puts, counters.gets, counters.unfinished, counters.longest);
    destination.call_method1("furnish", (queue, items, numbers, shut_down))?;
    Ok(())
}

/// Calls the Python implementation with the queue and these arguments.
pub fn elsewhere<'py, K: Kind, A>(
    py: Python<'py>,
    object: *mut PyObject,
    name: &str,
    arguments: A,
) -> PyResult<Bound<'py, PyAny>>
where
    A: IntoPyObject<'py, Target = PyTuple, Output = Bound<'py, PyTuple>>,
    PyErr: From<A::Error>,
{
    let there = compatible::<K>(py, object)?;
    // SAFETY: the receiver of the call being served.
    let this = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, object) };
    let rest = arguments.into_pyobject(py)?;
    let all: Vec<_> = std::iter::once(this).chain(rest.iter()).collect();
    there.call_method1(name, PyTuple::new(py, all)?)
}

/// The same for the two hottest calls, whose arguments need no tuple.
pub fn put_elsewhere<K: Kind>(
    py: Python<'_>,
    object: *mut PyObject,
    item: Object,
    timeout: Timeout,
) -> PyResult<()> {
    let there = compatible::<K>(py, object)?;
    // SAFETY: the receiver of the call being served.
    let this = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, object) };
    let (block, seconds) = as_arguments(timeout);
    there.call_method1(intern!(py, "put"), (this, item.into_bound(py), block, seconds))?;
    Ok(())
}

/// See [`put_elsewhere`].
pub fn get_elsewhere<K: Kind>(
    py: Python<'_>,
    object: *mut PyObject,
    timeout: Timeout,
) -> PyResult<*mut PyObject> {
    let there = compatible::<K>(py, object)?;
    // SAFETY: the receiver of the call being served.
    let this = unsafe { Bound::<PyAny>::from_borrowed_ptr(py, object) };
    let (block, seconds) = as_arguments(timeout);
    Ok(there.call_method1(intern!(py, "get"), (this, block, seconds))?.into_ptr())
}

/// The word for an overflow policy.
pub fn overflow_name(overflow: Overflow) -> &'static str {
    match overflow {
        Overflow::Block => "block",
        Overflow::Raise => "raise",
        Overflow::DropOldest => "drop_oldest",
        Overflow::DropNewest => "drop_newest",
    }
}

/// The policy of that name.
pub fn overflow_named(name: &str) -> Option<Overflow> {
    let all = [Overflow::Block, Overflow::Raise, Overflow::DropOldest, Overflow::DropNewest];
    all.into_iter().find(|overflow| overflow_name(*overflow) == name)
}
