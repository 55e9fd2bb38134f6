//! How a thread waits for a future, and how a task does.

use super::callbacks::share;
use super::complete::{acquire, cancel};
use super::remote::{self, read_settled, settle};
use super::{FutureObject, stdlib};
use crate::boundary::{Timeout, block_on, guarded};
use crate::executor::reference::Ref;
use counterpoint_sync::clock;
use counterpoint_sync::executor::future::{Done, Phase};
use counterpoint_sync::wait::Wait;
#[cfg(not(Py_GIL_DISABLED))]
use pyo3::exceptions::PyIndexError;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;

/// What a reader finds.
pub enum Outcome {
    /// It is not over.
    Unfinished,
    /// It was cancelled.
    Cancelled,
    /// It returned this, or None.
    Result(Option<Ref>),
    /// It raised this.
    Exception(Ref),
}

/// Reads the outcome; the caller has obeyed the condition if there is one.
fn read(py: Python<'_>, future: FutureObject) -> PyResult<Outcome> {
    read_settled(py, future, |state, fields| match state.phase() {
        Phase::Pending | Phase::Running => Outcome::Unfinished,
        Phase::Cancelled | Phase::Notified => Outcome::Cancelled,
        Phase::Finished => {
            // SAFETY: under the lock.
            let (exception, result) = unsafe { (share(fields.exception), share(fields.result)) };
            exception.map_or(Outcome::Result(result), Outcome::Exception)
        }
    })
}

/// A reference to the result if the future has one and nobody knows its condition. The path of
/// `result()` that is taken a million times; touches no pyo3 but the lock.
#[inline(always)]
pub fn quick_result(py: Python<'_>, future: FutureObject) -> Option<*mut PyObject> {
    if future.is_unsettled() {
        return None;
    }
    future.with(py, |state, fields| {
        let plain = state.phase() == Phase::Finished
            && fields.exception.is_null()
            && fields.condition.is_null();
        plain.then(|| {
            // SAFETY: the field is null or a live object, and None is immortal in practice.
            unsafe {
                let result = if fields.result.is_null() { ffi::Py_None() } else { fields.result };
                ffi::Py_INCREF(result);
                result
            }
        })
    })
}

/// Waits for the end; reads it.
pub fn outcome(py: Python<'_>, future: FutureObject, timeout: Timeout) -> PyResult<Outcome> {
    let first = read_obediently(py, future)?;
    if !matches!(first, Outcome::Unfinished) || timeout == Timeout::Now {
        return Ok(first);
    }
    park(py, future, timeout)?;
    read_obediently(py, future)
}

fn read_obediently(py: Python<'_>, future: FutureObject) -> PyResult<Outcome> {
    // Decoding may take long, and others wait for the condition.
    settle(py, future)?;
    let _acquired = acquire(py, future)?;
    read(py, future)
}

fn park(py: Python<'_>, future: FutureObject, timeout: Timeout) -> PyResult<()> {
    if let Some(job) = future.remote() {
        remote::check_ours(future)?;
        return remote::park(py, &job, timeout);
    }
    let _blocked = crate::executor::pool::Blocked::enter(py, |home| home == future.home())?;
    let state = future.state();
    let ended = block_on(py, state, &mut Wait::new(Done::default()), timeout.deadline());
    drop(state.with(py, |state| state.tidy()));
    ended.map(drop)
}

/// What `result()` returns.
pub fn result(py: Python<'_>, future: FutureObject, timeout: Timeout) -> PyResult<*mut PyObject> {
    match outcome(py, future, timeout)? {
        Outcome::Result(result) => Ok(or_none(result)),
        Outcome::Exception(exception) => Err(raised(py, &exception)),
        other => Err(not_there(py, &other)),
    }
}

/// What `exception()` returns.
pub fn exception(
    py: Python<'_>,
    future: FutureObject,
    timeout: Timeout,
) -> PyResult<*mut PyObject> {
    match outcome(py, future, timeout)? {
        Outcome::Result(_) => Ok(or_none(None)),
        Outcome::Exception(exception) => Ok(exception.into_ptr()),
        other => Err(not_there(py, &other)),
    }
}

fn or_none(object: Option<Ref>) -> *mut PyObject {
    // SAFETY: None is alive.
    object.unwrap_or_else(|| unsafe { Ref::new(ffi::Py_None()) }).into_ptr()
}

fn not_there(py: Python<'_>, outcome: &Outcome) -> PyErr {
    let name =
        if matches!(outcome, Outcome::Cancelled) { "CancelledError" } else { "TimeoutError" };
    stdlib::error(py, name, ())
}

/// Raises as the statement does: the traceback grows, an exception being handled becomes the
/// context, a class is instantiated, and what is no exception is a TypeError.
fn raised(py: Python<'_>, exception: &Ref) -> PyErr {
    // SAFETY: a live object; PyErr_SetObject takes its own references.
    unsafe {
        if ffi::PyExceptionInstance_Check(exception.as_ptr()) == 0 {
            return PyErr::from_value(exception.bind(py));
        }
        ffi::PyErr_SetObject(ffi::Py_TYPE(exception.as_ptr()).cast(), exception.as_ptr());
    }
    crate::boundary::fetch(py)
}

/// `await future`.
pub unsafe extern "C" fn wait_in_task(object: *mut PyObject) -> *mut PyObject {
    static AWAIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    guarded(|py| {
        let wait = AWAIT.import(py, "counterpoint._futures.awaiting", "wait_in_task")?;
        // SAFETY: the receiver of a slot is alive.
        let future = unsafe { Bound::from_borrowed_ptr(py, object) };
        let coroutine = wait.call1((future,))?;
        Ok(coroutine.call_method0(intern!(py, "__await__"))?.into_ptr())
    })
}

/// Takes the last future off a list and returns its result, waited for until `end` on the
/// monotonic clock; cancels it if that fails. What `Executor.map` does for each item.
#[pyfunction]
#[pyo3(signature = (futures, end=None))]
pub fn pop_result(futures: &Bound<'_, PyList>, end: Option<f64>) -> PyResult<Py<PyAny>> {
    let (py, item) = (futures.py(), pop(futures)?);
    let Some(future) = FutureObject::check(item.as_ptr()) else {
        return Err(PyTypeError::new_err("pop_result() takes futures of counterpoint"));
    };
    if let Some(found) = quick_result(py, future) {
        // SAFETY: a new reference.
        return Ok(unsafe { Bound::from_owned_ptr(py, found) }.unbind());
    }
    let timeout = end.map_or(Timeout::Never, until);
    let found = result(py, future, timeout).inspect_err(|_| {
        if let Err(error) = cancel(py, future) {
            error.write_unraisable(py, Some(&item));
        }
    })?;
    // SAFETY: a new reference.
    Ok(unsafe { Bound::from_owned_ptr(py, found) }.unbind())
}

/// Takes the last item off a list.
#[cfg(not(Py_GIL_DISABLED))]
fn pop<'py>(list: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>> {
    if list.is_empty() {
        return Err(PyIndexError::new_err("pop from empty list"));
    }
    // SAFETY: not empty. The list owned the item; shortened by one it does not any more. Its
    // memory may stay larger than needed, as after any `list.pop`.
    unsafe {
        let last = list.len() - 1;
        let item = ffi::PyList_GET_ITEM(list.as_ptr(), last as ffi::Py_ssize_t);
        (*list.as_ptr().cast::<ffi::PyVarObject>()).ob_size -= 1;
        Ok(Bound::from_owned_ptr(list.py(), item))
    }
}

/// Takes the last item off a list, which has a lock of its own.
#[cfg(Py_GIL_DISABLED)]
fn pop<'py>(list: &Bound<'py, PyList>) -> PyResult<Bound<'py, PyAny>> {
    list.call_method0(intern!(list.py(), "pop"))
}

/// `time.monotonic()` seconds as a deadline.
fn until(end: f64) -> Timeout {
    let nanoseconds = (end.max(0.0) * 1e9) as u64;
    if nanoseconds <= clock::now() { Timeout::Now } else { Timeout::Until(nanoseconds) }
}
