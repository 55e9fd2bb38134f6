//! What a task asks an operation for each time that it waits for one, on the shortest way.

use super::future::{native_of, receiver};
use super::layout::{Callback, Operation, Phase};
use crate::boundary::{boolean, guarded, none};
use crate::event_loop::arguments::Arguments;
use crate::event_loop::bare::Bare;
use crate::event_loop::fields::Name;
use crate::event_loop::queue::Due;
use crate::executor::reference::Ref;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::ptr;

/// What a task asks for, and sets, each time that it waits.
static BLOCKING: Name = Name::new("_asyncio_future_blocking");
static GET_LOOP: Name = Name::new("get_loop");
static ADD_DONE_CALLBACK: Name = Name::new("add_done_callback");

/// Makes the names.
pub fn prepare(py: Python<'_>) {
    for name in [&BLOCKING, &GET_LOOP, &ADD_DONE_CALLBACK] {
        name.string(py);
    }
}

/// `tp_getattro`: what a task asks for is known by its name, without a look at the class.
pub unsafe extern "C" fn get_attribute(
    object: *mut PyObject,
    name: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a slot is called attached, with an instance of the class and a string.
    unsafe {
        let py = Python::assume_attached();
        if BLOCKING.is(py, name) {
            return blocking(object, ptr::null_mut());
        }
        if GET_LOOP.is(py, name) || ADD_DONE_CALLBACK.is(py, name) {
            return callable(object, ptr::null_mut());
        }
        ffi::PyObject_GenericGetAttr(object, name)
    }
}

/// `tp_setattro`.
pub unsafe extern "C" fn set_attribute(
    object: *mut PyObject,
    name: *mut PyObject,
    value: *mut PyObject,
) -> c_int {
    // SAFETY: as above; the value is null for a deletion.
    unsafe {
        if BLOCKING.is(Python::assume_attached(), name) {
            return set_blocking(object, value, ptr::null_mut());
        }
        ffi::PyObject_GenericSetAttr(object, name, value)
    }
}

/// `get_loop` and `add_done_callback`: the operation itself, which is called. An object for a method that
/// is called once costs more than what either does.
pub unsafe extern "C" fn callable(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: CPython passes an instance of the class.
    unsafe { Ref::new(object) }.into_ptr()
}

/// `get_loop()`, without arguments, and `add_done_callback(fn, *, context=None)`.
pub unsafe extern "C" fn call(
    object: *mut PyObject,
    place: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a vectorcall, made attached.
    unsafe {
        let py = Python::assume_attached();
        match ffi::PyVectorcall_NARGS(count) {
            0 if names.is_null() => receiver(object).owner(py).map_or_else(none, Ref::into_ptr),
            1 => add_done_callback(object, place, names),
            _ => refuse_arguments(),
        }
    }
}

#[cold]
fn refuse_arguments() -> *mut PyObject {
    guarded(|_| Err(PyTypeError::new_err("add_done_callback() takes a callback")))
}

/// # Safety
/// An operation, called with one argument and those that have names.
unsafe fn add_done_callback(
    object: *mut PyObject,
    place: *const *mut PyObject,
    names: *mut PyObject,
) -> *mut PyObject {
    let operation = receiver(object);
    // SAFETY: the caller's promise; a vectorcall is made attached.
    let (py, callback) = unsafe {
        let Ok(context) = (Arguments { place, count: 1, names }).context() else {
            return ptr::null_mut();
        };
        (Python::assume_attached(), Callback { function: Ref::new(*place), context })
    };
    if operation.phase() != Phase::Waiting {
        return call_soon(operation, callback);
    }
    operation.with(py, |inside| match inside.first {
        None => inside.first = Some(callback),
        Some(_) => inside.more.push(callback),
    });
    none()
}

/// It is done already.
#[cold]
fn call_soon(operation: Operation, callback: Callback) -> *mut PyObject {
    guarded(|py| {
        let owner = operation.owner(py);
        let (native, _) = native_of(py, owner.as_ref())?;
        let Callback { function, context } = callback;
        // SAFETY: the receiver, which is alive.
        let argument = unsafe { Ref::new(operation.as_ptr()) };
        native.push(py, Due::Bare(Bare { function, argument: Some(argument), context }));
        Ok(none())
    })
}

/// `_asyncio_future_blocking`: None while it is a coroutine only, and no future.
pub unsafe extern "C" fn blocking(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    let operation = receiver(object);
    match operation.phase() {
        Phase::Waiting | Phase::Done => boolean(operation.is_blocking()),
        _ => none(),
    }
}

/// `_asyncio_future_blocking = value`.
pub unsafe extern "C" fn set_blocking(
    object: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    // SAFETY: a live object, or null for a deletion.
    receiver(object).set_blocking(unsafe { value == ffi::Py_True() });
    0
}
