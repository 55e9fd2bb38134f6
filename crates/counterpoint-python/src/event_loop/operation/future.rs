//! An operation as the future that its task waits for.

use super::layout::{Callback, Inside, Operation, Outcome, Phase};
use super::steps::unwatch;
use super::stop::release;
use crate::boundary::{boolean, guarded, none};
use crate::event_loop::bare::Bare;
use crate::event_loop::native::{CLOSED, DEBUG, Loop};
use crate::event_loop::queue::Due;
use crate::event_loop::tasks;
use crate::executor::reference::Ref;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::ffi::{CStr, c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The receiver of a method or attribute.
pub fn receiver(object: *mut PyObject) -> Operation {
    // SAFETY: CPython passes an instance of the class.
    unsafe { Operation::from_ptr(object) }
}

/// It came to that: whoever waits is told, in this turn if it may be and nobody else waits.
pub fn tell(
    py: Python<'_>,
    native: &Loop,
    operation: Operation,
    outcome: Outcome,
    now: bool,
) -> PyResult<()> {
    let cancelled = matches!(outcome, Outcome::Cancelled(_));
    let (argument, owner, first, more) = operation.with(py, |inside| {
        inside.outcome = Some(outcome);
        let owner = inside.owner.as_ref().map(Ref::share);
        (inside.argument.take(), owner, inside.first.take(), mem::take(&mut inside.more))
    });
    drop(argument);
    let Some(owner) = owner else { return Ok(()) };
    let now = now && more.is_empty() && !native.is(DEBUG);
    for callback in first.into_iter().chain(more) {
        let argument = argument_for(py, native, &owner, (operation, cancelled), &callback);
        let Callback { function, context } = callback;
        let bare = Bare { function, argument: Some(argument), context };
        if now {
            let done = bare.run(py, &owner.bind(py));
            release(py);
            return done;
        }
        native.push(py, Due::Bare(bare));
    }
    Ok(())
}

/// With what a callback is called.
#[inline(always)]
fn argument_for(
    py: Python<'_>,
    native: &Loop,
    owner: &Ref,
    (operation, cancelled): (Operation, bool),
    callback: &Callback,
) -> Ref {
    let settled = match !cancelled && wakes_task(&callback.function) {
        true => settled(py, native, owner).unwrap_or(None), // any task takes the operation as well
        false => None,
    };
    // SAFETY: alive: whoever calls holds it.
    settled.unwrap_or_else(|| unsafe { Ref::new(operation.as_ptr()) })
}

/// Whether telling now lets a task go on at once, which takes what it came to.
pub fn goes_on_at_once(py: Python<'_>, native: &Loop, operation: Operation) -> bool {
    !native.is(DEBUG)
        && operation.with(py, |inside| {
            let first = inside.first.as_ref();
            inside.more.is_empty() && first.is_some_and(|first| wakes_task(&first.function))
        })
}

/// Whether it is what a task of asyncio's own waits with. To that it is all one which future is done:
/// it looks at the result, to see whether that is an error, and then goes on with its coroutine,
/// which asks the operation. A future of asyncio's own it looks at directly.
#[inline(always)]
pub fn wakes_task(function: &Ref) -> bool {
    static WAKEUP: AtomicPtr<ffi::PyMethodDef> = AtomicPtr::new(ptr::null_mut());
    let function = function.as_ptr();
    // SAFETY: a live object, looked at as what it is.
    unsafe {
        if ffi::PyCFunction_CheckExact(function) == 0 {
            return false;
        }
        let receiver = ffi::PyCFunction_GetSelf(function);
        if receiver.is_null() || ffi::Py_TYPE(receiver) != tasks::TASK.load(Ordering::Relaxed) {
            return false;
        }
        let method = (*function.cast::<ffi::PyCFunctionObject>()).m_ml;
        if method == WAKEUP.load(Ordering::Relaxed) {
            return true;
        }
        let wakes = CStr::from_ptr((*method).ml_name).to_bytes().ends_with(b"wakeup");
        if wakes {
            WAKEUP.store(method, Ordering::Relaxed);
        }
        wakes
    }
}

/// A future of the loop's that is done.
fn settled(py: Python<'_>, native: &Loop, owner: &Ref) -> PyResult<Option<Ref>> {
    if let Some(future) = native.state.with(py, |state| state.settled.as_ref().map(Ref::share)) {
        return Ok(Some(future));
    }
    let Some(future) = tasks::native_future(py, native, owner) else { return Ok(None) };
    let future = future.ok_or_else(|| crate::boundary::fetch(py))?;
    // SAFETY: live objects; a new reference, or null with an exception set. What pyo3 has for this
    // panics where there is no memory.
    let set = unsafe {
        let place = [future.as_ptr(), ffi::Py_None()];
        let name = intern!(py, "set_result").as_ptr();
        Ref::owned(ffi::PyObject_VectorcallMethod(name, place.as_ptr(), 2, ptr::null_mut()))
    };
    drop(set.ok_or_else(|| crate::boundary::fetch(py))?);
    drop(native.state.with(py, |state| state.settled.replace(future.share())));
    Ok(Some(future))
}

/// The loop, which takes callbacks still.
pub fn native_of<'a>(py: Python<'a>, owner: Option<&'a Ref>) -> PyResult<(&'a Loop, &'a Ref)> {
    // SAFETY: the owner is a loop of ours.
    let native = owner.and_then(|owner| unsafe { Loop::of(py, owner.as_ptr()) });
    match (native, owner) {
        (Some(native), Some(owner)) if !native.is(CLOSED) => Ok((native, owner)),
        _ => Err(PyRuntimeError::new_err("Event loop is closed")),
    }
}

/// `remove_done_callback(fn)`.
pub unsafe extern "C" fn remove_done_callback(
    object: *mut PyObject,
    function: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        let operation = receiver(object);
        let mut equal: Vec<Ref> = operation.with(py, |inside| {
            let all = inside.first.iter().chain(&inside.more);
            all.map(|callback| callback.function.share()).collect()
        });
        // SAFETY: the argument of a method.
        let function = unsafe { Bound::from_borrowed_ptr(py, function) };
        // To compare may run Python, so it is done outside the lock, and on what is held beside.
        let mut failed = None;
        equal.retain(|known| {
            let found = failed.is_none().then(|| known.bind(py).eq(&function));
            found.is_some_and(|found| {
                found.unwrap_or_else(|error| {
                    failed = Some(error);
                    false
                })
            })
        });
        if let Some(error) = failed {
            return Err(error);
        }
        let removed = operation.with(py, |inside| remove(inside, &equal));
        Ok(removed.len().into_pyobject(py)?.into_any().into_ptr())
    })
}

/// Takes out what calls one of those, to be dropped outside the lock.
fn remove(inside: &mut Inside, functions: &[Ref]) -> Vec<Callback> {
    let is_one = |callback: &Callback| {
        functions.iter().any(|function| function.as_ptr() == callback.function.as_ptr())
    };
    let all = inside.first.take().into_iter().chain(mem::take(&mut inside.more));
    let (removed, kept): (Vec<_>, Vec<_>) = all.partition(is_one);
    let mut kept = kept.into_iter();
    inside.first = kept.next();
    inside.more.extend(kept);
    removed
}

/// `cancel(msg=None)`.
pub unsafe extern "C" fn cancel(
    object: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: positional and keyword arguments of a vectorcall lie one behind the other.
        let given = unsafe {
            let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
            (count + named > 0).then(|| Bound::from_borrowed_ptr(py, *place))
        };
        let message = given.filter(|message| !message.is_none()).map(Ref::from);
        let operation = receiver(object);
        operation.set_blocking(false);
        let owner = operation.owner(py);
        if operation.phase() != Phase::Waiting {
            return Ok(boolean(false));
        }
        let (native, _) = native_of(py, owner.as_ref())?;
        if !operation.pass(Phase::Waiting, Phase::Done) {
            return Ok(boolean(false));
        }
        unwatch(py, operation);
        tell(py, native, operation, Outcome::Cancelled(message), false)?;
        Ok(boolean(true))
    })
}

/// The exception of one that was cancelled.
pub fn cancelled_error(py: Python<'_>, message: Option<Ref>) -> PyErr {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let made =
        CLASS.import(py, "asyncio.exceptions", "CancelledError").and_then(|class| match message {
            Some(message) => class.call1((message.bind(py),)),
            None => class.call0(),
        });
    made.map_or_else(|error| error, PyErr::from_value)
}

/// `cancelled()`.
pub unsafe extern "C" fn cancelled(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        let cancelled = receiver(object)
            .with(py, |inside| matches!(inside.outcome, Some(Outcome::Cancelled(_))));
        Ok(boolean(cancelled))
    })
}

/// `done()`.
pub unsafe extern "C" fn done(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    boolean(matches!(receiver(object).phase(), Phase::Done | Phase::Ended))
}

/// What it came to, to be looked at again; an error if it was cancelled, or did not come to anything.
fn outcome(py: Python<'_>, operation: Operation) -> PyResult<Outcome> {
    let outcome = operation.with(py, |inside| {
        Some(match inside.outcome.as_ref()? {
            Outcome::Value(value) => Outcome::Value(value.share()),
            Outcome::Error(error) => Outcome::Error(error.share()),
            Outcome::Fed => Outcome::Fed,
            Outcome::Cancelled(message) => Outcome::Cancelled(message.as_ref().map(Ref::share)),
        })
    });
    match outcome {
        Some(Outcome::Cancelled(message)) => Err(cancelled_error(py, message)),
        Some(outcome) => Ok(outcome),
        None => {
            let class = py.import("asyncio.exceptions")?.getattr("InvalidStateError")?;
            Err(PyErr::from_value(class.call1(("Result is not set.",))?))
        }
    }
}

/// `result()`.
pub unsafe extern "C" fn result(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| match outcome(py, receiver(object))? {
        Outcome::Value(value) => Ok(value.into_ptr()),
        Outcome::Fed => Ok(none()),
        Outcome::Error(error) => Err(PyErr::from_value(error.bind(py))),
        Outcome::Cancelled(message) => Err(cancelled_error(py, message)),
    })
}

/// `exception()`.
pub unsafe extern "C" fn exception(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| match outcome(py, receiver(object))? {
        Outcome::Error(error) => Ok(error.into_ptr()),
        _ => Ok(none()),
    })
}

/// It came to that, by asyncio's code, of which only streams have some.
pub fn settle(py: Python<'_>, operation: Operation, outcome: Outcome) -> PyResult<()> {
    let owner = operation.owner(py);
    let (native, _) = native_of(py, owner.as_ref())?;
    if !operation.pass(Phase::Waiting, Phase::Done) {
        let class = py.import("asyncio.exceptions")?.getattr("InvalidStateError")?;
        return Err(PyErr::from_value(class.call1(("invalid state",))?));
    }
    tell(py, native, operation, outcome, false)
}

/// `__name__`.
pub unsafe extern "C" fn name(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| Ok(receiver(object).kind().name().into_pyobject(py)?.into_any().into_ptr()))
}

/// `__qualname__`.
pub unsafe extern "C" fn qualified_name(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        Ok(receiver(object).kind().qualified_name().into_pyobject(py)?.into_any().into_ptr())
    })
}

/// Attributes that are not to be set.
pub unsafe extern "C" fn refuse(_: *mut PyObject, _: *mut PyObject, _: *mut c_void) -> c_int {
    guarded(|_| Err(PyAttributeError::new_err("it cannot be set")))
}

/// `repr()`.
pub unsafe extern "C" fn repr(object: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        let operation = receiver(object);
        let state = match operation.phase() {
            Phase::New => "not awaited",
            Phase::Trying | Phase::Waiting => "waiting",
            Phase::Done | Phase::Ended => "done",
        };
        let text = format!("<{}() {state} at {object:p}>", operation.kind().qualified_name());
        Ok(text.into_pyobject(py)?.into_any().into_ptr())
    })
}
