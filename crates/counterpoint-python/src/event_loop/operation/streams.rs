//! `StreamReader.read()` natively, for streams that asyncio made over a transport of ours.
//!
//! Such a reader is given a class of ours, derived from `asyncio.StreamReader`, whose `read` is here, and
//! which is the same in all else: the attributes stay asyncio's, for its code and for everybody's.
//! While an operation waits it is the reader's `_waiter`, which asyncio's code wakes as it wakes a
//! future of its own. The transport does better: it hands what it has received to the operation,
//! past the reader's buffer, which is empty then.

use super::future::tell;
use super::layout::{Inside, Kind, Operation, Outcome, Phase, make};
use super::steps::{Step, gone};
use crate::boundary::{guarded, method};
use crate::event_loop::base::is_ours;
use crate::event_loop::native::{CLOSED, DEBUG, Loop};
use crate::executor::reference::Ref;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The `read` of asyncio's class, for all that is not usual; it lives as long as the process.
static ORDINARY: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// Gives a class that is derived from `asyncio.StreamReader` the native `read`.
#[pyfunction]
pub fn quicken(class: &Bound<'_, PyType>, ordinary: Bound<'_, PyAny>) -> PyResult<()> {
    let definition = method(c"read", read, c"read($self, n=-1)\n--\n\nRead up to n bytes.");
    // A method's definition lives as long as the process.
    let definition = Box::leak(Box::new(definition));
    // SAFETY: a live class; a new reference, or null with an exception set.
    let made = unsafe {
        let made = ffi::PyDescr_NewMethod(class.as_ptr().cast(), definition);
        Bound::from_owned_ptr_or_err(class.py(), made)?
    };
    ORDINARY.store(ordinary.into_ptr(), Ordering::Relaxed);
    class.setattr("read", made)
}

/// `read(n=-1)`.
unsafe extern "C" fn read(
    reader: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe {
        if count == 1 && names.is_null() && ffi::PyLong_CheckExact(*place) != 0 {
            let most = ffi::PyLong_AsSsize_t(*place);
            if most > 0 {
                let name = intern!(Python::assume_attached(), "_loop").as_ptr();
                let Some(owner) = Ref::owned(ffi::PyObject_GetAttr(reader, name)) else {
                    return ptr::null_mut();
                };
                if is_usual(&owner) {
                    let (owner, sock) = (Some(owner), Some(Ref::new(reader)));
                    let inside = Inside { owner, sock, number: most as usize, ..Inside::default() };
                    return make(Kind::Read, inside).map_or(ptr::null_mut(), Ref::into_ptr);
                }
            } else {
                ffi::PyErr_Clear(); // a number that is too large: asyncio's code meets it again
            }
        }
        as_asyncio(reader, place, count, names)
    }
}

/// Whether it is a loop of ours, out of debug mode.
fn is_usual(owner: &Ref) -> bool {
    // SAFETY: the thread is attached; the loop is an instance of our class if it is said to be.
    unsafe {
        is_ours(owner.as_ptr())
            && Loop::of(Python::assume_attached(), owner.as_ptr())
                .is_some_and(|native| !native.is(DEBUG | CLOSED))
    }
}

#[cold]
fn as_asyncio(
    reader: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver and the arguments of a method, positional ones and then named ones.
        unsafe {
            let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
            let mut all = vec![reader];
            all.extend((0..count + named).map(|index| *place.offset(index)));
            let (ordinary, count) = (ORDINARY.load(Ordering::Relaxed), count as usize + 1);
            let made = ffi::PyObject_Vectorcall(ordinary, all.as_ptr(), count, names);
            Ok(Bound::from_owned_ptr_or_err(py, made)?.into_ptr())
        }
    })
}

/// The first step of a read: takes what is there, or has the reader wake it.
pub fn read_or_wait(py: Python<'_>, operation: Operation) -> PyResult<Step> {
    let (reader, most) =
        operation.with(py, |inside| (inside.sock.as_ref().map(Ref::share), inside.number));
    let reader = reader.ok_or_else(gone)?.bind(py).clone();
    let failed = reader.getattr(intern!(py, "_exception"))?;
    if !failed.is_none() {
        return Err(PyErr::from_value(failed));
    }
    let buffer = reader.getattr(intern!(py, "_buffer"))?;
    if !is_empty(&buffer)? || reader.getattr(intern!(py, "_eof"))?.is_truthy()? {
        return take(&reader, most).map(Step::Return);
    }
    if !reader.getattr(intern!(py, "_waiter"))?.is_none() {
        let text = "read() called while another coroutine is already waiting for incoming data";
        return Err(PyRuntimeError::new_err(text));
    }
    if reader.getattr(intern!(py, "_paused"))?.is_truthy()? {
        // To wait while it is paused would be to wait for ever.
        reader.setattr(intern!(py, "_paused"), false)?;
        reader.getattr(intern!(py, "_transport"))?.call_method0(intern!(py, "resume_reading"))?;
    }
    operation.track();
    operation.set_blocking(true);
    if !operation.pass(Phase::Trying, Phase::Waiting) {
        return Err(gone());
    }
    // SAFETY: alive: whoever calls holds it.
    let itself = unsafe { Bound::from_borrowed_ptr(py, operation.as_ptr()) };
    reader.setattr(intern!(py, "_waiter"), itself)?;
    Ok(Step::Wait)
}

fn is_empty(buffer: &Bound<'_, PyAny>) -> PyResult<bool> {
    // SAFETY: a live object.
    if unsafe { ffi::PyByteArray_CheckExact(buffer.as_ptr()) } == 0 {
        return Err(PyTypeError::new_err("the buffer of a StreamReader is not a bytearray"));
    }
    // SAFETY: a bytearray.
    Ok(unsafe { ffi::PyByteArray_Size(buffer.as_ptr()) } == 0)
}

/// Takes so many bytes out of the reader's buffer, or what there is.
pub fn take(reader: &Bound<'_, PyAny>, most: usize) -> PyResult<Ref> {
    let py = reader.py();
    let buffer = reader.getattr(intern!(py, "_buffer"))?;
    let _ = is_empty(&buffer)?;
    // SAFETY: a bytearray, whose memory is as long as its size while nothing else runs.
    let data = unsafe {
        let size = ffi::PyByteArray_Size(buffer.as_ptr());
        let count = size.min(most as ffi::Py_ssize_t);
        let place = ffi::PyByteArray_AsString(buffer.as_ptr());
        let data = Ref::owned(ffi::PyBytes_FromStringAndSize(place, count));
        let data = data.ok_or_else(|| PyErr::fetch(py))?;
        if count > 0 && ffi::PySequence_DelSlice(buffer.as_ptr(), 0, count) != 0 {
            return Err(PyErr::fetch(py));
        }
        data
    };
    if reader.getattr(intern!(py, "_paused"))?.is_truthy()? {
        reader.call_method0(intern!(py, "_maybe_resume_transport"))?;
    }
    Ok(data)
}

/// Nobody waits any more.
pub fn unwatch(py: Python<'_>, operation: Operation) {
    let reader = operation.with(py, |inside| inside.sock.as_ref().map(Ref::share));
    let Some(reader) = reader else { return };
    let reader = reader.bind(py);
    let is_waiter = reader
        .getattr(intern!(py, "_waiter"))
        .is_ok_and(|waiter| waiter.as_ptr() == operation.as_ptr());
    if is_waiter && let Err(error) = reader.setattr(intern!(py, "_waiter"), py.None()) {
        error.write_unraisable(py, Some(&reader));
    }
}

/// The operation that waits for this reader.
pub struct Waiting {
    /// The operation, held.
    object: Ref,
    /// How much it reads at most.
    pub most: usize,
}

impl Waiting {
    /// Who waits for the reader behind that weak reference, natively; there may be nobody.
    pub fn of(py: Python<'_>, reader: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let waiter = reader.getattr(intern!(py, "_waiter"))?;
        let Some(operation) = Operation::check(waiter.as_ptr()) else { return Ok(None) };
        if operation.phase() != Phase::Waiting {
            return Ok(None);
        }
        let most = operation.with(py, |inside| inside.number);
        Ok(Some(Self { object: waiter.into(), most }))
    }
}

/// Hands data to who waits, and lets its task go on.
pub fn feed(
    py: Python<'_>,
    native: &Loop,
    reader: &Bound<'_, PyAny>,
    waiting: &Waiting,
    data: Ref,
) -> PyResult<()> {
    // SAFETY: an operation, which is held.
    let operation = unsafe { Operation::from_ptr(waiting.object.as_ptr()) };
    reader.setattr(intern!(py, "_waiter"), py.None())?;
    if operation.pass(Phase::Waiting, Phase::Done) {
        return tell(py, native, operation, Outcome::Value(data), true);
    }
    Ok(())
}
