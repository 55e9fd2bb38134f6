//! `call_soon` and its like, as bare C functions.

use super::arguments::{Arguments, by_position};
use super::handle::{HandleObject, KEEPS, Kind, SCHEDULED, make};
use super::native::{CLOSED, DEBUG, Loop, OWN_CLOCK};
use super::queue::Due;
use super::turn::own_time;
use crate::boundary::{guarded, none};
use crate::executor::reference::Ref;
use counterpoint_reactor::clock;
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ptr;

/// The receiver's native part, if it may schedule without further ado; `Err`: it may not.
///
/// # Safety
/// CPython passes an instance of the class to its methods, attached.
#[inline(always)]
unsafe fn receiver<'a>(owner: *mut PyObject) -> Option<&'a Loop> {
    // SAFETY: the caller's promise.
    unsafe { Loop::of(Python::assume_attached(), owner) }
}

/// Checks what asyncio checks before it schedules something; whether it may be.
#[cold]
fn checked(owner: *mut PyObject, callback: *mut PyObject, name: &str, foreign: bool) -> bool {
    let done: *mut PyObject = guarded(|py| {
        // SAFETY: receiver and argument of a method.
        let (owner, callback) = unsafe {
            (Bound::from_borrowed_ptr(py, owner), Bound::from_borrowed_ptr(py, callback))
        };
        // SAFETY: the receiver is an instance of the class.
        let native = unsafe { super::base::BASE.demand(py, owner.as_ptr())? };
        if native.is(CLOSED) {
            return Err(PyRuntimeError::new_err("Event loop is closed"));
        }
        if native.is(DEBUG) {
            if !foreign {
                owner.call_method0(intern!(py, "_check_thread"))?;
            }
            owner.call_method1(intern!(py, "_check_callback"), (callback, name))?;
        }
        Ok(none())
    });
    !done.is_null()
}

/// Notes where the handle was made.
#[cold]
pub fn trace(handle: *mut PyObject) -> bool {
    let done: *mut PyObject = guarded(|py| {
        // SAFETY: the frame that runs is borrowed; there may be none.
        let frame = unsafe {
            Bound::from_borrowed_ptr_or_opt(py, ffi::PyEval_GetFrame().cast::<PyObject>())
        };
        let helpers = py.import(intern!(py, "asyncio.format_helpers"))?;
        let stack = helpers.call_method1(intern!(py, "extract_stack"), (frame,))?;
        // SAFETY: a handle that was just made.
        let handle = unsafe { HandleObject::from_ptr(handle) };
        handle.tell(py, PyTuple::new(py, [Some(stack), None])?);
        handle.flag(KEEPS, true);
        // SAFETY: a new handle, whose tail is written; the collector is to know what keeps something.
        unsafe {
            if ffi::PyObject_GC_IsTracked(handle.as_ptr()) == 0 {
                ffi::PyObject_GC_Track(handle.as_ptr().cast());
            }
        }
        Ok(none())
    });
    !done.is_null()
}

/// Makes a handle for the callback at `first` among the arguments; `None`: an exception is set.
///
/// # Safety
/// The arguments are those of a running vectorcall to a method of `owner`.
#[inline(always)]
unsafe fn handle(
    native: &Loop,
    owner: *mut PyObject,
    arguments: Arguments,
    first: usize,
    kind: Kind,
) -> Option<Ref> {
    // SAFETY: the caller's promise.
    unsafe {
        let context = arguments.context().ok()?;
        let (place, count) = arguments.rest(first + 1);
        let callback = *arguments.place.add(first);
        let debug = native.is(DEBUG);
        let handle = make(kind, owner, callback, place, count, context);
        let handle = Ref::owned(handle)?;
        if debug && !trace(handle.as_ptr()) {
            return None;
        }
        Some(handle)
    }
}

#[cold]
fn missing(name: &str, what: &str) -> *mut PyObject {
    guarded(|_| {
        let text = format!("{name}() missing required positional argument: '{what}'");
        Err(PyTypeError::new_err(text))
    })
}

/// # Safety
/// As the methods that call it.
#[inline(always)]
unsafe fn soon(
    owner: *mut PyObject,
    arguments: Arguments,
    name: &str,
    foreign: bool,
) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe {
        if arguments.are_named() {
            let parameters = &["callback"];
            return by_position(arguments, name, parameters, |all| soon(owner, all, name, foreign));
        }
        if arguments.count < 1 {
            return missing(name, "callback");
        }
        let native = receiver(owner);
        if let Some(native) = native.filter(|native| !native.is(CLOSED | DEBUG))
            && let Some(bare) = arguments.asyncios()
        {
            native.push(Python::assume_attached(), Due::Bare(bare));
            return none(); // asyncio drops it
        }
        let plain = native.is_some_and(|native| !native.is(CLOSED | DEBUG));
        if !plain && !checked(owner, *arguments.place, name, foreign) {
            return ptr::null_mut();
        }
        let Some(native) = native else { return ptr::null_mut() };
        let kind = if foreign { Kind::Foreign } else { Kind::Brief };
        let Some(handle) = handle(native, owner, arguments, 0, kind) else {
            return ptr::null_mut();
        };
        native.push(Python::assume_attached(), Due::Call(handle.share()));
        handle.into_ptr()
    }
}

/// `call_soon(callback, *args, context=None)`.
pub unsafe extern "C" fn call_soon(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { place, count: count as usize, names };
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe { soon(owner, arguments, "call_soon", false) }
}

/// `call_soon_threadsafe(callback, *args, context=None)`.
pub unsafe extern "C" fn call_soon_threadsafe(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { place, count: count as usize, names };
    // SAFETY: as above.
    unsafe { soon(owner, arguments, "call_soon_threadsafe", true) }
}

/// A number of seconds; `None` with an exception set.
///
/// # Safety
/// A live object, and an attached thread.
#[inline(always)]
unsafe fn number(object: *mut PyObject, name: &str) -> Option<f64> {
    // SAFETY: the caller's promise.
    unsafe {
        if object == ffi::Py_None() {
            // The words are asyncio's.
            let verb = if name == "when" { "cannot" } else { "must not" };
            return refuse_time(format!("{name} {verb} be None"));
        }
        let value = ffi::PyFloat_AsDouble(object);
        if value == -1.0 && !ffi::PyErr_Occurred().is_null() {
            return refuse_number(object, name);
        }
        if value.is_nan() {
            return refuse_time(format!("{name} must be a number, not nan"));
        }
        Some(value)
    }
}

/// An exception is set; if it is that this is no number, it says which.
#[cold]
fn refuse_number(object: *mut PyObject, name: &str) -> Option<f64> {
    let _: *mut PyObject = guarded(|py| {
        let error = crate::boundary::fetch(py);
        if !error.is_instance_of::<PyTypeError>(py) {
            return Err(error);
        }
        // SAFETY: the caller's live object.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        let text = format!("{name} must be a number of seconds, not {}", object.repr()?);
        Err(PyTypeError::new_err(text))
    });
    None
}

#[cold]
fn refuse_time(text: String) -> Option<f64> {
    let none = text.ends_with("None");
    let _: *mut PyObject = guarded(|_| {
        if none { Err(PyTypeError::new_err(text)) } else { Err(PyValueError::new_err(text)) }
    });
    None
}

/// # Safety
/// As the methods that call it.
#[inline(always)]
unsafe fn at(
    owner: *mut PyObject,
    arguments: Arguments,
    name: &str,
    when: fn(&Loop, *mut PyObject, f64) -> Option<f64>,
) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe {
        let what = if name == "call_later" { "delay" } else { "when" };
        if arguments.are_named() {
            let parameters = &[what, "callback"];
            return by_position(arguments, name, parameters, |all| at(owner, all, name, when));
        }
        if arguments.count < 2 {
            return missing(name, if arguments.count == 0 { what } else { "callback" });
        }
        let Some(given) = number(*arguments.place, what) else { return ptr::null_mut() };
        let native = receiver(owner);
        let plain = native.is_some_and(|native| !native.is(CLOSED | DEBUG));
        if !plain && !checked(owner, *arguments.place.add(1), name, false) {
            return ptr::null_mut();
        }
        let Some(native) = native else { return ptr::null_mut() };
        let Some(when) = when(native, owner, given) else { return ptr::null_mut() };
        let Some(timer) = handle(native, owner, arguments, 1, Kind::Timer) else {
            return ptr::null_mut();
        };
        set(native, &timer, when);
        timer.into_ptr()
    }
}

/// Puts a timer that was just made into the heap.
#[inline(always)]
fn set(native: &Loop, timer: &Ref, when: f64) {
    // SAFETY: a handle that was just made, which nobody else knows; the thread is attached.
    let (handle, py) =
        unsafe { (HandleObject::from_ptr(timer.as_ptr()), Python::assume_attached()) };
    handle.set_when(when);
    handle.flag(SCHEDULED, true);
    let (deadline, timer) = (clock::deadline(when), timer.share());
    native.state.with(py, |state| state.timers.push(deadline, timer));
}

/// `call_later(delay, callback, *args, context=None)`.
pub unsafe extern "C" fn call_later(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { place, count: count as usize, names };
    // SAFETY: as above.
    unsafe { at(owner, arguments, "call_later", from_now) }
}

#[inline(always)]
fn from_now(native: &Loop, owner: *mut PyObject, delay: f64) -> Option<f64> {
    let is_own = native.is(OWN_CLOCK);
    let now = if is_own { own(owner)? } else { clock::seconds(clock::now()) };
    Some(now + delay)
}

/// What the loop's own clock says; `None`: an exception is set.
#[cold]
fn own(owner: *mut PyObject) -> Option<f64> {
    let mut now = None;
    let _: *mut PyObject = guarded(|py| {
        // SAFETY: the receiver of a method.
        let owner = unsafe { Bound::from_borrowed_ptr(py, owner) };
        now = Some(own_time(&owner)?.0);
        Ok(ptr::null_mut())
    });
    now
}

/// `call_at(when, callback, *args, context=None)`.
pub unsafe extern "C" fn call_at(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { place, count: count as usize, names };
    // SAFETY: as above.
    unsafe { at(owner, arguments, "call_at", |_, _, when| Some(when)) }
}

/// `time()`.
pub unsafe extern "C" fn time(_: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method is called attached.
    unsafe { ffi::PyFloat_FromDouble(clock::seconds(clock::now())) }
}

/// `_add_callback(handle)`: queues a handle that exists, unless it is cancelled.
pub unsafe extern "C" fn add_callback(
    owner: *mut PyObject,
    handle: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: receiver and argument of a method.
        let (native, handle) =
            unsafe { (super::base::BASE.demand(py, owner)?, Bound::from_borrowed_ptr(py, handle)) };
        if !handle.getattr(intern!(py, "_cancelled"))?.is_truthy()? {
            native.push(py, Due::Call(handle.into()));
        }
        Ok(crate::boundary::none())
    })
}
