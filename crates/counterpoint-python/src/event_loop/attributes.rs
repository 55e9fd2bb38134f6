//! The rest of what the class offers: watching descriptors, and the state that asyncio's own code
//! reads and sets.

use super::base::BASE;
use super::context;
use super::handle::{Kind, make};
use super::native::{CLOSED, DEBUG, Loop, STOPPING};
use super::registry::Watcher;
use crate::boundary::{boolean, guarded, none};
use crate::executor::reference::Ref;
use counterpoint_reactor::pace::Pace;
use counterpoint_reactor::poller::{READ, WRITE};
use pyo3::exceptions::{PyRuntimeError, PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;

/// `_spin()`.
pub unsafe extern "C" fn spin(owner: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let (native, owner) =
            unsafe { (BASE.demand(py, owner)?, Bound::from_borrowed_ptr(py, owner)) };
        native.spin(py, &owner)?;
        Ok(none())
    })
}

/// `_run_once()`.
pub unsafe extern "C" fn run_once(owner: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let (native, owner) =
            unsafe { (BASE.demand(py, owner)?, Bound::from_borrowed_ptr(py, owner)) };
        let system = native.system(py)?;
        let done = native.turn(py, &owner, &system, &mut Pace::default(), true);
        native.disown(py);
        context::drop_spare(py);
        done.map(|()| none())
    })
}

/// Reads a flag of the loop; one without a native part has none.
fn flag(owner: *mut PyObject, flag: u8) -> *mut PyObject {
    // SAFETY: the receiver of a method or attribute, called attached.
    let native = unsafe { Loop::of(Python::assume_attached(), owner) };
    boolean(native.is_some_and(|native| native.is(flag)))
}

fn set_flag(owner: *mut PyObject, flag: u8, value: *mut PyObject) -> c_int {
    guarded(|py| {
        // SAFETY: receiver and value of an attribute; null is a deletion.
        let (native, value) =
            unsafe { (BASE.demand(py, owner)?, Bound::from_borrowed_ptr_or_opt(py, value)) };
        native.flag(flag, value.is_some_and(|value| value.is_truthy().unwrap_or(true)));
        Ok(0)
    })
}

/// `stop()`.
pub unsafe extern "C" fn stop(owner: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        unsafe { BASE.demand(py, owner)? }.flag(STOPPING, true);
        Ok(none())
    })
}

/// `get_debug()`.
pub unsafe extern "C" fn get_debug(owner: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    flag(owner, DEBUG)
}

/// `is_closed()`: so is one whose constructor has failed.
pub unsafe extern "C" fn is_closed(owner: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the receiver of a method, called attached.
    let native = unsafe { Loop::of(Python::assume_attached(), owner) };
    boolean(native.is_none_or(|native| native.is(CLOSED)))
}

/// `is_running()`.
pub unsafe extern "C" fn is_running(owner: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the receiver of a method, called attached.
    let native = unsafe { Loop::of(Python::assume_attached(), owner) };
    boolean(native.is_some_and(|native| native.thread() != 0))
}

/// `_stopping`.
pub unsafe extern "C" fn stopping(owner: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    flag(owner, STOPPING)
}

/// `_stopping = value`.
pub unsafe extern "C" fn set_stopping(
    owner: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    set_flag(owner, STOPPING, value)
}

/// `_debug`.
pub unsafe extern "C" fn debug(owner: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    flag(owner, DEBUG)
}

/// `_debug = value`.
pub unsafe extern "C" fn set_debug(
    owner: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    set_flag(owner, DEBUG, value)
}

/// `_closed`.
pub unsafe extern "C" fn closed(owner: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    flag(owner, CLOSED)
}

/// `_closed = value`.
pub unsafe extern "C" fn set_closed(
    owner: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    set_flag(owner, CLOSED, value)
}

/// `_thread_id`.
pub unsafe extern "C" fn thread(owner: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    // SAFETY: the receiver of an attribute, read by an attached thread.
    unsafe {
        match Loop::of(Python::assume_attached(), owner).map_or(0, Loop::thread) {
            0 => none(),
            thread => ffi::PyLong_FromUnsignedLongLong(thread),
        }
    }
}

/// `_thread_id = value`.
pub unsafe extern "C" fn set_thread(
    owner: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        // SAFETY: receiver and value of an attribute; null is a deletion.
        let (native, value) =
            unsafe { (BASE.demand(py, owner)?, Bound::from_borrowed_ptr_or_opt(py, value)) };
        let thread: Option<u64> = value.map_or(Ok(None), |value| value.extract())?;
        native.run_by(thread.unwrap_or(0));
        Ok(0)
    })
}

/// `_current_handle`.
pub unsafe extern "C" fn current(owner: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of an attribute.
        let native = unsafe { BASE.demand(py, owner)? };
        let current = native.state.with(py, |state| state.current.as_ref().map(Ref::share));
        Ok(current.map_or_else(none, Ref::into_ptr))
    })
}

/// `_ready`: what is ready, as a list of its own.
pub unsafe extern "C" fn ready(owner: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of an attribute.
        let (native, owner) =
            unsafe { (BASE.demand(py, owner)?, Bound::from_borrowed_ptr(py, owner)) };
        let list = PyList::empty(py);
        for due in native.state.with(py, |state| state.ready.shared()) {
            list.append(due.shown(py, &owner)?.bind(py))?;
        }
        Ok(list.into_any().into_ptr())
    })
}

/// `_scheduled`: the timers, as a list of their own.
pub unsafe extern "C" fn scheduled(owner: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of an attribute.
        let native = unsafe { BASE.demand(py, owner)? };
        let timers: Vec<Ref> =
            native.state.with(py, |state| state.timers.iter().map(Ref::share).collect());
        let list = PyList::new(py, timers.iter().map(|timer| timer.bind(py)))?;
        Ok(list.into_any().into_ptr())
    })
}

/// Attributes that asyncio's constructor sets, and which are ours.
pub unsafe extern "C" fn ignore(_: *mut PyObject, _: *mut PyObject, _: *mut c_void) -> c_int {
    0
}

/// The descriptor that an object is or has.
pub fn descriptor(object: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    let py = object.py();
    let fd = match object.extract::<RawFd>() {
        Ok(fd) => fd,
        Err(_) => {
            let invalid = || PyValueError::new_err(format!("Invalid file object: {object:?}"));
            let fileno = object.call_method0(intern!(py, "fileno")).map_err(|_| invalid())?;
            fileno.extract().map_err(|_| invalid())?
        }
    };
    if fd < 0 {
        return Err(PyValueError::new_err(format!("Invalid file descriptor: {fd}")));
    }
    Ok(fd)
}

/// `_add_reader(fd, callback, *args)`.
pub unsafe extern "C" fn add_reader(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called by the vectorcall protocol.
    unsafe { add(owner, place, count, names, READ) }
}

/// `_add_writer(fd, callback, *args)`.
pub unsafe extern "C" fn add_writer(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called by the vectorcall protocol.
    unsafe { add(owner, place, count, names, WRITE) }
}

/// # Safety
/// As the methods that call it.
unsafe fn add(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
    what: u32,
) -> *mut PyObject {
    guarded(|py| {
        if count < 2 {
            return Err(PyTypeError::new_err("it takes a descriptor, a callback and arguments"));
        }
        // SAFETY: the receiver and the arguments of a method.
        unsafe {
            let native = BASE.demand(py, owner)?;
            if native.is(CLOSED) {
                return Err(PyRuntimeError::new_err("Event loop is closed"));
            }
            let file = Bound::from_borrowed_ptr(py, *place);
            let fd = descriptor(&file)?;
            let arguments = super::arguments::Arguments { place, count: count as usize, names };
            let context = arguments.context().map_err(|()| crate::boundary::fetch(py))?;
            let count = count as usize - 2;
            let handle = make(Kind::Kept, owner, *place.add(1), place.add(2), count, context);
            let handle = Ref::owned(handle).ok_or_else(|| crate::boundary::fetch(py))?;
            if native.is(DEBUG) && !super::schedule::trace(handle.as_ptr()) {
                return Err(crate::boundary::fetch(py));
            }
            let is_number = ffi::PyLong_CheckExact(file.as_ptr()) != 0;
            let file = (!is_number).then(|| Ref::from(file));
            let before = native.watch(py, fd, what, Watcher::Handle(handle.share(), file))?;
            cancel(py, before)?;
            Ok(handle.into_ptr())
        }
    })
}

/// `_remove_reader(fd)`.
pub unsafe extern "C" fn remove_reader(owner: *mut PyObject, fd: *mut PyObject) -> *mut PyObject {
    remove(owner, fd, READ)
}

/// `_remove_writer(fd)`.
pub unsafe extern "C" fn remove_writer(owner: *mut PyObject, fd: *mut PyObject) -> *mut PyObject {
    remove(owner, fd, WRITE)
}

fn remove(owner: *mut PyObject, fd: *mut PyObject, what: u32) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: receiver and argument of a method.
        let (native, fd) = unsafe { (BASE.demand(py, owner)?, Bound::from_borrowed_ptr(py, fd)) };
        if native.is(CLOSED) {
            return Ok(boolean(false));
        }
        let fd = match descriptor(&fd) {
            Ok(fd) => fd,
            Err(error) => {
                let file = fd.as_ptr();
                let known = native.state.with(py, |state| state.registry.named(file, what));
                known.ok_or(error)?
            }
        };
        let before = native.unwatch(py, fd, what);
        let had = before.is_some();
        cancel(py, before)?;
        Ok(boolean(had))
    })
}

/// Cancels the handle of a watcher that was replaced or taken away.
fn cancel(py: Python<'_>, watcher: Option<Watcher>) -> PyResult<()> {
    if let Some(Watcher::Handle(handle, _)) = &watcher {
        handle.bind(py).call_method0(intern!(py, "cancel"))?;
    }
    Ok(())
}
