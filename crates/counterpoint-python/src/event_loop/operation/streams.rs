//! Waiting for streams natively, where asyncio made them over a transport of ours.
//!
//! Such a reader is given a class of ours, derived from `asyncio.StreamReader`, whose `read` is here, and
//! what its other methods wait with, and which is the same in all else: the attributes stay asyncio's,
//! for its code and for everybody's. Who waits is noted in a [`Seat`], the reader's `_waiter`, which
//! asyncio's code wakes as it wakes a future of its own. The transport does better: it wakes the task
//! in the event's own turn, and hands what it has received to a `read`, past the reader's buffer,
//! which is empty then.

use super::future::{goes_on_at_once, tell};
use super::layout::{Inside, Kind, Operation, Outcome, Phase, make};
use super::methods::call_as_method;
use super::seat::Seat;
use super::steps::{Step, gone};
use crate::boundary::{guarded, method, none};
use crate::event_loop::base::is_ours;
use crate::event_loop::fields::{Fields, Name};
use crate::event_loop::native::{CLOSED, DEBUG, Loop};
use crate::executor::reference::Ref;
use pyo3::exceptions::{PyAssertionError, PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The attributes of a reader that are looked at for each read.
static LOOP: Name = Name::new("_loop");
static EXCEPTION: Name = Name::new("_exception");
static BUFFER: Name = Name::new("_buffer");
static EOF: Name = Name::new("_eof");
static WAITER: Name = Name::new("_waiter");
static PAUSED: Name = Name::new("_paused");

/// The methods of asyncio's class, for all that is not usual; they live as long as the process.
static READ: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static WAIT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static WAKE: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// Gives a class that is derived from `asyncio.StreamReader` the native methods.
#[pyfunction]
pub fn quicken(class: &Bound<'_, PyType>) -> PyResult<()> {
    let base = class.getattr(intern!(class.py(), "__base__"))?;
    let ours = [
        (&READ, method(c"read", read, c"read($self, n=-1)\n--\n\nRead up to n bytes.")),
        (&WAIT, method(c"_wait_for_data", wait, c"_wait_for_data($self, name)\n--\n\nWait.")),
        (&WAKE, method(c"_wakeup_waiter", wake, c"_wakeup_waiter($self)\n--\n\nTell who waits.")),
    ];
    for (place, definition) in ours {
        // SAFETY: the name is static.
        let name = unsafe { CStr::from_ptr(definition.ml_name) }.to_string_lossy();
        place.store(base.getattr(&*name)?.into_ptr(), Ordering::Relaxed);
        // A method's definition lives as long as the process.
        let definition = Box::leak(Box::new(definition));
        // SAFETY: a live class; a new reference, or null with an exception set.
        let made = unsafe {
            let made = ffi::PyDescr_NewMethod(class.as_ptr().cast(), definition);
            Bound::from_owned_ptr_or_err(class.py(), made)?
        };
        class.setattr(&*name, made)?;
    }
    Ok(())
}

/// The reader's loop, if it is one of ours, out of debug mode; `Ok(None)`: it is not.
fn usual_loop(reader: *mut PyObject) -> Result<Option<Ref>, ()> {
    // SAFETY: a method is called attached, with a live receiver.
    let (py, reader) = unsafe {
        let py = Python::assume_attached();
        (py, Bound::from_borrowed_ptr(py, reader))
    };
    let owner = Fields::of(&reader).and_then(|fields| fields.get(&LOOP));
    let owner = Ref::from(owner.map_err(|error| error.restore(py))?);
    Ok(is_usual(&owner).then_some(owner))
}

/// `_wait_for_data(name)`.
unsafe extern "C" fn wait(
    reader: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe {
        let owner = match usual_loop(reader) {
            Ok(Some(owner)) if count == 1 && names.is_null() => owner,
            Ok(_) => return wait_as_asyncio(reader, place, count, names),
            Err(()) => return ptr::null_mut(),
        };
        let (owner, sock) = (Some(owner), Some(Ref::new(reader)));
        let inside = Inside { owner, sock, argument: Some(Ref::new(*place)), ..Inside::default() };
        make(Kind::WaitForData, inside).map_or(ptr::null_mut(), Ref::into_ptr)
    }
}

/// asyncio's code has a future of its own for the `_waiter`.
#[cold]
fn wait_as_asyncio(
    reader: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let vacated: *mut PyObject = guarded(|py| {
        // SAFETY: the receiver of a method.
        let reader = unsafe { Bound::from_borrowed_ptr(py, reader) };
        let fields = Fields::of(&reader)?;
        let waiter = fields.get(&WAITER)?;
        if Seat::check(&waiter).is_some_and(|seat| seat.operation(py).is_none()) {
            fields.set(&WAITER, &Ref::from(py.None().into_bound(py)))?;
        }
        Ok(none())
    });
    if vacated.is_null() {
        return vacated;
    }
    as_asyncio(&WAIT, reader, place, count, names)
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
                match usual_loop(reader) {
                    Ok(Some(owner)) => {
                        let (owner, sock) = (Some(owner), Some(Ref::new(reader)));
                        let number = most as usize;
                        let inside = Inside { owner, sock, number, ..Inside::default() };
                        return make(Kind::Read, inside).map_or(ptr::null_mut(), Ref::into_ptr);
                    }
                    Ok(None) => {}
                    Err(()) => return ptr::null_mut(),
                }
            } else {
                ffi::PyErr_Clear(); // a number that is too large: asyncio's code meets it again
            }
        }
        as_asyncio(&READ, reader, place, count, names)
    }
}

/// `_wakeup_waiter()`: asyncio's own would take the seat away.
unsafe extern "C" fn wake(
    reader: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let waiter = Fields::of(&unsafe { Bound::from_borrowed_ptr(py, reader) })?.get(&WAITER)?;
        match Seat::check(&waiter) {
            Some(seat) if count == 0 && names.is_null() => {
                seat.settle(py, Outcome::Fed)?;
                Ok(none())
            }
            _ => Ok(as_asyncio(&WAKE, reader, place, count, names)),
        }
    })
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
    ordinary: &AtomicPtr<PyObject>,
    reader: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: a function that lives as long as the process; the arguments of a method.
        unsafe {
            let ordinary = Bound::from_borrowed_ptr(py, ordinary.load(Ordering::Relaxed));
            call_as_method(&ordinary, reader, place, count, names)
        }
    })
}

/// The first step of a read: takes what is there, or has the reader wake it.
pub fn read_or_wait(py: Python<'_>, operation: Operation) -> PyResult<Step> {
    let (reader, most) =
        operation.with(py, |inside| (inside.sock.as_ref().map(Ref::share), inside.number));
    let reader = reader.ok_or_else(gone)?.bind(py).clone();
    let fields = Fields::of(&reader)?;
    let failed = fields.get(&EXCEPTION)?;
    if !failed.is_none() {
        return Err(PyErr::from_value(failed));
    }
    if !is_empty(&fields.get(&BUFFER)?)? || fields.is(&EOF)? {
        return take(&reader, most).map(Step::Return);
    }
    wait_with(&fields, operation, "read")
}

/// The first step of `_wait_for_data`.
pub fn wait_for_data(py: Python<'_>, operation: Operation) -> PyResult<Step> {
    let share = |object: &Option<Ref>| object.as_ref().map(Ref::share);
    let held = operation.with(py, |inside| (share(&inside.sock), share(&inside.argument)));
    let (Some(reader), Some(name)) = held else { return Err(gone()) };
    let reader = reader.bind(py);
    let fields = Fields::of(&reader)?;
    if fields.is(&EOF)? {
        return Err(PyAssertionError::new_err("_wait_for_data after EOF"));
    }
    wait_with(&fields, operation, &name.bind(py).str()?.to_cow()?)
}

/// Has the reader wake the operation; its messages are asyncio's.
fn wait_with(fields: &Fields<'_, '_>, operation: Operation, name: &str) -> PyResult<Step> {
    let reader = fields.object();
    let py = reader.py();
    let mut waiter = vacant_seat(fields, name)?;
    if fields.is(&PAUSED)? {
        // To wait while it is paused would be to wait for ever.
        reader.setattr(intern!(py, "_paused"), false)?;
        reader.getattr(intern!(py, "_transport"))?.call_method0(intern!(py, "resume_reading"))?;
        waiter = vacant_seat(fields, name)?; // that may be anybody's method
    }
    operation.set_blocking(true);
    if !operation.pass(Phase::Trying, Phase::Waiting) {
        return Err(gone());
    }
    let Some(seat) = Seat::check(&waiter) else { return Err(gone()) };
    // SAFETY: alive: whoever calls holds it.
    seat.take(py, unsafe { Ref::new(operation.as_ptr()) });
    drop(operation.with(py, |inside| inside.argument.replace(waiter.into())));
    Ok(Step::Wait)
}

/// The reader's seat, which nobody has taken.
#[inline(always)]
fn vacant_seat<'py>(fields: &Fields<'_, 'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    let waiter = fields.get(&WAITER)?;
    match Seat::check(&waiter) {
        Some(seat) if seat.operation(waiter.py()).is_none() => Ok(waiter),
        None if waiter.is_none() => seat_in(fields),
        _ => {
            let text = "called while another coroutine is already waiting for incoming data";
            Err(PyRuntimeError::new_err(format!("{name}() {text}")))
        }
    }
}

/// The seat of a reader that asyncio has made; none if it has somebody wait already, or somebody wants to
/// see what comes.
pub fn seat_of<'py>(
    reader: &Bound<'py, PyAny>,
    protocol: &Bound<'py, PyAny>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let fields = Fields::of(reader)?;
    let waiter = fields.get(&WAITER)?;
    if !waiter.is_none() {
        return Ok(Seat::check(&waiter).is_some().then_some(waiter));
    }
    let Some(seat) = Seat::of(reader, protocol)? else { return Ok(None) };
    let seat = Bound::new(reader.py(), seat)?.into_any();
    fields.set(&WAITER, &Ref::from(seat.clone()))?;
    Ok(Some(seat))
}

/// A new seat, for a reader that has none any more. Its transport does not know this one.
#[cold]
fn seat_in<'py>(fields: &Fields<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let seat = Bound::new(fields.object().py(), Seat::default())?.into_any();
    fields.set(&WAITER, &Ref::from(seat.clone()))?;
    Ok(seat)
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
        let data = data.ok_or_else(|| crate::boundary::fetch(py))?;
        if count > 0 && ffi::PySequence_DelSlice(buffer.as_ptr(), 0, count) != 0 {
            return Err(crate::boundary::fetch(py));
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
    let seat = operation.with(py, |inside| inside.argument.as_ref().map(Ref::share));
    if let Some(seat) = seat
        && let Some(seat) = Seat::check(&seat.bind(py))
    {
        seat.leave(py, operation);
    }
}

/// The operation that waits for a reader.
pub struct Waiting {
    /// The operation, held, and its reader.
    object: Ref,
    reader: Ref,
    /// How much it takes past the buffer, at most.
    pub most: usize,
}

impl Waiting {
    /// Who waits natively, in that loop; there may be nobody, or somebody may want to see what comes.
    pub fn of(
        native: &Loop,
        protocol: &Bound<'_, PyAny>,
        seat: &Bound<'_, PyAny>,
    ) -> PyResult<Option<Self>> {
        let Some(seat) = Seat::check(seat) else { return Ok(None) };
        let py = protocol.py();
        let Some(object) = seat.operation(py) else { return Ok(None) };
        // SAFETY: an operation, which is held.
        let operation = unsafe { Operation::from_ptr(object.as_ptr()) };
        let (owner, reader, most) = operation.with(py, |inside| {
            let share = |object: &Option<Ref>| object.as_ref().map(Ref::share);
            (share(&inside.owner), share(&inside.sock), inside.number)
        });
        // SAFETY: the owner is a loop of ours.
        let loops = owner.as_ref().and_then(|owner| unsafe { Loop::of(py, owner.as_ptr()) });
        let Some(reader) = reader else { return Ok(None) };
        let waits = loops.is_some_and(|loops| ptr::eq(loops, native))
            && seat.is_as_made(&reader.bind(py), protocol)?;
        Ok(waits.then_some(Self { object, reader, most }))
    }
}

/// Hands data to who waits, past the buffer or by it, and lets its task go on.
pub fn feed(py: Python<'_>, native: &Loop, waiting: &Waiting, data: Ref) -> PyResult<()> {
    let reader = &waiting.reader.bind(py);
    // SAFETY: an operation, which is held, and a bytes object.
    let (operation, size) = unsafe {
        (Operation::from_ptr(waiting.object.as_ptr()), ffi::Py_SIZE(data.as_ptr()) as usize)
    };
    // What a task does not take at once it may never take: it may be cancelled before.
    let fields = Fields::of(reader)?;
    let past = size <= waiting.most
        && goes_on_at_once(py, native, operation)
        && is_empty(&fields.get(&BUFFER)?)?;
    let outcome = if past {
        drop(native.state.with(py, |state| state.spare.hand(&data)));
        Outcome::Value(data)
    } else {
        append(reader, &data)?;
        drop(native.state.with(py, |state| state.spare.give_back(data)));
        Outcome::Fed
    };
    unwatch(py, operation);
    if operation.pass(Phase::Waiting, Phase::Done) {
        return tell(py, native, operation, outcome, true);
    }
    match outcome {
        Outcome::Value(data) => append(reader, &data),
        _ => Ok(()),
    }
}

/// What `feed_data` does but for waking: the buffer grows, and the transport pauses if it is too much.
fn append(reader: &Bound<'_, PyAny>, data: &Ref) -> PyResult<()> {
    let py = reader.py();
    let buffer = reader.getattr(intern!(py, "_buffer"))?;
    // SAFETY: live objects; a new reference, or null with an exception set.
    let grown = unsafe {
        Ref::owned(ffi::PySequence_InPlaceConcat(buffer.as_ptr(), data.as_ptr()))
            .ok_or_else(|| crate::boundary::fetch(py))?
    };
    let (size, limit) = (grown.bind(py).len()?, reader.getattr(intern!(py, "_limit"))?);
    if limit.extract::<usize>().is_ok_and(|limit| size <= limit.saturating_mul(2)) {
        return Ok(());
    }
    let transport = reader.getattr(intern!(py, "_transport"))?;
    if limit.mul(2)?.lt(size)?
        && !transport.is_none()
        && !reader.getattr(intern!(py, "_paused"))?.is_truthy()?
    {
        transport.call_method0(intern!(py, "pause_reading"))?;
        reader.setattr(intern!(py, "_paused"), true)?;
    }
    Ok(())
}
