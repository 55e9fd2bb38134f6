//! The methods of Future as CPython calls them. Fast paths first.

use super::FutureObject;
use super::attributes::{describe, phase_name};
use super::callbacks::{add, call, invoke_all, remove, share};
use super::complete::{Ending, Refused, acquire, cancel, complete, start};
use super::stdlib::{self, log_callback};
use super::waiting::{exception, quick_result, result};
use crate::boundary::{
    NamedMethod, Timeout, guarded, method, new_reference, noargs, one, optional_timeout,
};
use crate::executor::pool::guess_wait_in_loop;
use crate::executor::reference::Ref;
use counterpoint_sync::executor::future::{Phase, Start};
use counterpoint_sync::waiter::Wakes;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::ptr;

/// `help(Future)`.
pub const CLASS_DOC: &CStr = c"The outcome of a call that runs elsewhere.

Equals `concurrent.futures.Future`, of which it is a subclass. It can be awaited in any event loop,
and costs a tenth: the lock and the lists that the stdlib's makes at once are made when touched.";

/// The one argument of a call, by position or by name.
unsafe fn argument<'py>(
    py: Python<'py>,
    arguments: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
    function: &str,
    name: &str,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: null or a tuple.
    let keywords = if names.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(names) } };
    if count + keywords == 0 {
        return Ok(None);
    }
    if count + keywords > 1 {
        let given = count + keywords;
        return Err(PyTypeError::new_err(format!(
            "Future.{function}() takes 1 argument but {given} were given"
        )));
    }
    if keywords == 1 {
        // SAFETY: names are live str objects.
        let given = unsafe { Bound::from_borrowed_ptr(py, ffi::PyTuple_GET_ITEM(names, 0)) };
        if given.extract::<&str>()? != name {
            return Err(PyTypeError::new_err(format!(
                "Future.{function}() got an unexpected keyword argument '{given}'"
            )));
        }
    }
    // SAFETY: the vectorcall protocol: one value.
    Ok(Some(unsafe { Bound::from_borrowed_ptr(py, *arguments) }))
}

fn missing(function: &str, name: &str) -> PyErr {
    PyTypeError::new_err(format!(
        "Future.{function}() missing 1 required positional argument: '{name}'"
    ))
}

fn timeout(value: Option<Bound<'_, PyAny>>) -> PyResult<Timeout> {
    optional_timeout(value.map_or(Ok(None), |value| value.extract())?)
}

/// Declares a method that takes one argument: what it is called, and what it does with the
/// future and the argument, if given.
macro_rules! method_of_one {
    ($function:ident, $name:literal, $argument:literal, |$py:ident, $future:ident, $given:ident| $body:expr) => {
        unsafe extern "C" fn $function(
            object: *mut PyObject,
            arguments: *const *mut PyObject,
            count: ffi::Py_ssize_t,
            names: *mut PyObject,
        ) -> *mut PyObject {
            guarded(|$py| {
                // SAFETY: the vectorcall protocol, and the receiver of a method.
                let ($given, $future) = unsafe {
                    let given = argument($py, arguments, count, names, $name, $argument)?;
                    (given, FutureObject::from_ptr(object))
                };
                $body
            })
        }
    };
}

unsafe extern "C" fn result_of(
    object: *mut PyObject,
    arguments: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called attached, and on its own type.
    let (py, future) = unsafe { (Python::assume_attached(), FutureObject::from_ptr(object)) };
    if count <= 1
        && names.is_null()
        && let Some(found) = quick_result(py, future)
    {
        return found;
    }
    // SAFETY: the same arguments.
    unsafe { result_slowly(object, arguments, count, names) }
}

method_of_one!(result_slowly, "result", "timeout", |py, future, given| {
    result(py, future, timeout(given)?)
});

method_of_one!(exception_of, "exception", "timeout", |py, future, given| {
    exception(py, future, timeout(given)?)
});

method_of_one!(set_result, "set_result", "result", |py, future, given| {
    let value = given.ok_or_else(|| missing("set_result", "result"))?;
    end(py, future, Ending::Result(value.into()))
});

method_of_one!(set_exception, "set_exception", "exception", |py, future, given| {
    let value = given.ok_or_else(|| missing("set_exception", "exception"))?;
    let ending = if value.is_none() {
        Ending::Result(value.into())
    } else {
        Ending::Exception(value.into())
    };
    end(py, future, ending)
});

fn end(py: Python<'_>, future: FutureObject, ending: Ending) -> PyResult<*mut PyObject> {
    let mut wakes = Wakes::default();
    let ended = complete(py, future, ending, &mut wakes);
    wakes.wake_all();
    match ended {
        Ok(()) => Ok(py.None().into_ptr()),
        Err(Refused::Raised(error)) => Err(error),
        Err(Refused::Over(phase)) => {
            let text = format!("{}: {}", phase_name(phase), describe(py, future)?);
            Err(stdlib::error(py, "InvalidStateError", (text,)))
        }
    }
}

method_of_one!(add_done_callback, "add_done_callback", "fn", |py, future, given| {
    let callback = given.ok_or_else(|| missing("add_done_callback", "fn"))?;
    guess_wait_in_loop(py, future)?;
    let over = add(
        py,
        future,
        |fields| &mut fields.callbacks,
        callback.as_ptr(),
        |state, _| state.phase().is_done().then_some(()),
    )?;
    if over.is_some() && call(py, &Ref::from(callback), future).is_none() {
        log_callback(py, future, crate::boundary::fetch(py))?;
    }
    Ok(py.None().into_ptr())
});

method_of_one!(remove_done_callback, "_remove_done_callback", "fn", |py, future, given| {
    let callback = given.ok_or_else(|| missing("_remove_done_callback", "fn"))?;
    remove(py, future, |fields| &mut fields.callbacks, &callback)?;
    Ok(py.None().into_ptr())
});

unsafe extern "C" fn invoke_callbacks(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let future = unsafe { FutureObject::from_ptr(object) };
        // SAFETY: under the lock.
        let list = future.with(py, |_, fields| unsafe { share(fields.callbacks) });
        if let Some(list) = list {
            invoke_all(py, future, &list)?;
        }
        Ok(py.None().into_ptr())
    })
}

unsafe extern "C" fn cancel_it(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the receiver of a method.
    guarded(|py| Ok(truth(cancel(py, unsafe { FutureObject::from_ptr(object) })?)))
}

fn truth(value: bool) -> *mut PyObject {
    // SAFETY: the singletons live as long as the interpreter.
    new_reference(unsafe { if value { ffi::Py_True() } else { ffi::Py_False() } })
}

/// Answers a question about the phase; obeys the condition if there is one.
unsafe fn ask(object: *mut PyObject, question: fn(Phase) -> bool) -> *mut PyObject {
    // SAFETY: a method is called attached, and on its own type.
    let (py, future) = unsafe { (Python::assume_attached(), FutureObject::from_ptr(object)) };
    let quick = future
        .with(py, |state, fields| fields.condition.is_null().then(|| question(state.phase())));
    if let Some(answer) = quick {
        return truth(answer);
    }
    guarded(|py| {
        let _acquired = acquire(py, future)?;
        Ok(truth(question(future.with(py, |state, _| state.phase()))))
    })
}

unsafe extern "C" fn done(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the receiver of a method.
    unsafe { ask(object, Phase::is_done) }
}

unsafe extern "C" fn cancelled(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the receiver of a method.
    unsafe { ask(object, Phase::is_cancelled) }
}

unsafe extern "C" fn running(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the receiver of a method.
    super::remote::refresh(unsafe { FutureObject::from_ptr(object) });
    // SAFETY: the receiver of a method.
    unsafe { ask(object, |phase| phase == Phase::Running) }
}

unsafe extern "C" fn set_running(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let future = unsafe { FutureObject::from_ptr(object) };
        match start(py, future)? {
            Start::Run => Ok(truth(true)),
            Start::Cancelled => Ok(truth(false)),
            Start::Unexpected => Err(unexpected(py, future)?),
        }
    })
}

/// What the stdlib says, and logs, about a future that is started twice.
pub fn unexpected(py: Python<'_>, future: FutureObject) -> PyResult<PyErr> {
    let phase = future.with(py, |state, _| state.phase());
    let arguments =
        ("Future %s in unexpected state: %s", future.as_ptr() as usize, phase_name(phase));
    stdlib::class(py, "LOGGER")?.call_method1(intern!(py, "critical"), arguments)?;
    Ok(PyRuntimeError::new_err("Future in unexpected state"))
}

unsafe extern "C" fn snapshot(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let future = unsafe { FutureObject::from_ptr(object) };
        super::remote::settle(py, future)?;
        let _acquired = acquire(py, future)?;
        let read = super::remote::read_settled(py, future, |state, fields| {
            // SAFETY: under the lock.
            unsafe { (state.phase(), share(fields.result), share(fields.exception)) }
        });
        let (phase, result, exception) = read?;
        let finished = phase == Phase::Finished;
        let part = |part: Option<Ref>| part.filter(|_| finished).map(|part| part.bind(py));
        let tuple = (phase.is_done(), phase.is_cancelled(), part(result), part(exception));
        Ok(tuple.into_pyobject(py)?.into_ptr())
    })
}

unsafe extern "C" fn sizeof_hint(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    ptr::null_mut()
}

/// The table.
pub fn methods() -> Vec<NamedMethod> {
    let _ = sizeof_hint;
    let _ = one;
    vec![
        method(c"result", result_of, c"result($self, timeout=None)\n--\n\nThe result, waited for; raises what the call raised, CancelledError or TimeoutError."),
        method(c"exception", exception_of, c"exception($self, timeout=None)\n--\n\nThe exception that the call raised, or None."),
        method(c"set_result", set_result, c"set_result($self, result)\n--\n\nEnd it with a result; for executors and tests."),
        method(c"set_exception", set_exception, c"set_exception($self, exception)\n--\n\nEnd it with an exception; for executors and tests."),
        method(c"add_done_callback", add_done_callback, c"add_done_callback($self, fn)\n--\n\nCall fn(self) when it ends; at once if it has."),
        method(c"_remove_done_callback", remove_done_callback, c"_remove_done_callback($self, fn)\n--\n\nForget a callback."),
        noargs(c"_invoke_callbacks", invoke_callbacks, c"_invoke_callbacks($self)\n--\n\nRun the callbacks."),
        noargs(c"cancel", cancel_it, c"cancel($self)\n--\n\nCancel it unless it runs or is done; True if it is cancelled."),
        noargs(c"done", done, c"done($self)\n--\n\nWhether it is finished or cancelled."),
        noargs(c"cancelled", cancelled, c"cancelled($self)\n--\n\nWhether it was cancelled."),
        noargs(c"running", running, c"running($self)\n--\n\nWhether its call runs now."),
        noargs(c"set_running_or_notify_cancel", set_running, c"set_running_or_notify_cancel($self)\n--\n\nTake it on; False if it was cancelled. For executors and tests."),
        noargs(c"_get_snapshot", snapshot, c"_get_snapshot($self)\n--\n\n(done, cancelled, result, exception) at one moment."),
    ]
}
