//! Writing: at once if nothing is queued, the rest when the socket has room.

use super::TRANSPORT;
use super::connection::{Bytes, Connection, Inside};
use super::holding::{MOST, end_holding, hold, is_to_hold, is_watched, send_held};
use crate::boundary::{Sole, View, bytes, fetch, guarded, none, os_error, waits};
use crate::event_loop::context;
use crate::event_loop::native::Loop;
use crate::event_loop::registry::Watcher;
use crate::event_loop::turn::fatal_error;
use crate::executor::reference::Ref;
use counterpoint_reactor::outgoing::{Done, PIECES, Piece, SEND_FLAGS};
use counterpoint_reactor::poller::WRITE;
use counterpoint_sync::waiter::fork;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::io;
use std::os::fd::RawFd;
use std::slice;

/// `write(data)`.
pub struct Write;

impl Sole for Write {
    const NAME: &'static str = "data";

    #[inline(always)]
    unsafe fn call(transport: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
        // SAFETY: the caller's promise.
        unsafe { write_data(transport, data) }
    }
}

#[inline(always)]
unsafe fn write_data(transport: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
    // SAFETY: as above.
    unsafe {
        let py = Python::assume_attached();
        let Some(connection) = TRANSPORT.get(py, transport) else {
            return guarded(|py| TRANSPORT.demand(py, transport).map(|_| none()));
        };
        let is_bytes = ffi::PyBytes_CheckExact(data) != 0;
        if !connection.phase.may_write() || !(is_bytes || is_array(data)) {
            return unusual(transport, data);
        }
        let (place, size) = match is_bytes {
            true => (ffi::PyBytes_AS_STRING(data), ffi::Py_SIZE(data) as usize),
            false => {
                (ffi::PyByteArray_AsString(data).cast_const(), ffi::PyByteArray_Size(data) as usize)
            }
        };
        if size == 0 {
            return none();
        }
        let (mut sent, is_to_hold) = (0, is_to_hold(py, connection, transport, size));
        if is_free(py, connection) && !is_to_hold {
            match send_of(connection, place.cast(), size) {
                Ok(count) if count == size => return none(),
                Ok(count) => sent = count,
                Err(error) => return refused(transport, error),
            }
        }
        guarded(|py| {
            let kept = if is_bytes {
                Ok((Bytes(Ref::new(data)), sent))
            } else {
                let rest = slice::from_raw_parts(place.cast::<u8>().add(sent), size - sent);
                bytes(py, rest).map(|rest| (Bytes(rest), 0))
            };
            match kept {
                Ok((piece, sent)) => queue(py, connection, transport, piece, sent, is_to_hold)?,
                Err(error) => {
                    lost(&Bound::from_borrowed_ptr(py, transport), Lost::Rest(sent, error))?;
                }
            }
            Ok(none())
        })
    }
}

/// What became of data that is neither sent nor kept.
enum Lost {
    /// The kernel refuses it.
    Refused(io::Error),
    /// So much was sent, and for what is left there is no memory.
    Rest(usize, PyErr),
}

/// Ends the connection, unless nothing of it was sent: nothing may follow a part.
#[cold]
fn lost(transport: &Bound<'_, PyAny>, lost: Lost) -> PyResult<()> {
    match lost {
        Lost::Refused(error) => fatal(transport, &error),
        Lost::Rest(0, error) => Err(error),
        Lost::Rest(_, error) => fatal_error(transport, error, FATAL),
    }
}

/// Whether it is a bytearray that nobody can change or resize before this returns to Python.
#[inline(always)]
fn is_array(data: *mut PyObject) -> bool {
    // SAFETY: a live object.
    !cfg!(Py_GIL_DISABLED) && unsafe { ffi::PyByteArray_CheckExact(data) } != 0
}

/// Sends bytes that somebody else keeps, unless they are to be held back; what the kernel does not
/// take at once is copied.
pub fn send_copied(
    py: Python<'_>,
    connection: &Connection,
    transport: *mut PyObject,
    bytes: &[u8],
    is_to_hold: bool,
) -> PyResult<()> {
    // SAFETY: alive: whoever calls holds it.
    let object = unsafe { Bound::from_borrowed_ptr(py, transport) };
    if !connection.phase.may_write() {
        let copy = crate::boundary::bytes(py, bytes)?;
        object.call_method1(intern!(py, "write"), (copy.bind(py),))?;
        return Ok(());
    }
    match send_or_keep(py, connection, bytes, is_to_hold) {
        Ok(Some(rest)) => queue(py, connection, transport, rest, 0, is_to_hold),
        Ok(None) => Ok(()),
        Err(error) => lost(&object, error),
    }
}

/// The socket, if one who writes to it now writes nothing before its turn.
#[inline(always)]
pub fn free_socket(py: Python<'_>, connection: &Connection) -> Option<RawFd> {
    (connection.phase.may_write() && is_free(py, connection)).then(|| connection.fd())
}

/// Counts what was written to [`free_socket`], and ends the connection if it was refused.
pub fn has_written(
    connection: &Connection,
    transport: &Bound<'_, PyAny>,
    count: usize,
    refused: Option<io::Error>,
) -> PyResult<()> {
    connection.has_sent(count);
    refused.map_or(Ok(()), |error| lost(transport, Lost::Refused(error)))
}

/// Sends what the kernel takes at once, if nothing is queued and it is not to be held back; a copy of
/// the rest.
fn send_or_keep(
    py: Python<'_>,
    connection: &Connection,
    data: &[u8],
    is_to_hold: bool,
) -> Result<Option<Bytes>, Lost> {
    let mut sent = 0;
    if is_free(py, connection) && !is_to_hold && !data.is_empty() {
        // SAFETY: so many bytes.
        sent = unsafe { send_of(connection, data.as_ptr(), data.len()) }.map_err(Lost::Refused)?;
    }
    if sent == data.len() {
        return Ok(None);
    }
    let rest = bytes(py, &data[sent..]).map_err(|error| Lost::Rest(sent, error))?;
    Ok(Some(Bytes(rest)))
}

static WRITE_METHOD: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Remembers the class's own method.
pub fn prepare(class: &Bound<'_, PyAny>) -> PyResult<()> {
    let _ = WRITE_METHOD.set(class.py(), class.getattr("write")?.unbind());
    Ok(())
}

/// Whether it is a transport of our class, with our method.
pub fn writes_natively(transport: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = transport.py();
    let method = transport.get_type().getattr_opt(intern!(py, "write"))?;
    let ours = WRITE_METHOD.get(py);
    Ok(ours.zip(method).is_some_and(|(ours, method)| method.is(ours)))
}

/// Sends what the kernel takes at once.
#[inline(always)]
unsafe fn send_of(connection: &Connection, place: *const u8, size: usize) -> io::Result<usize> {
    // SAFETY: the caller's memory.
    let count = unsafe { send(connection.fd(), place, size) }?;
    connection.has_sent(count);
    Ok(count)
}

/// Sends what the kernel takes at once; 0 if it takes nothing now.
///
/// # Safety
/// So many bytes.
#[inline(always)]
pub unsafe fn send(fd: RawFd, place: *const u8, size: usize) -> io::Result<usize> {
    // SAFETY: the caller's memory. The call does not wait, so the interpreter is kept.
    let count = unsafe { libc::send(fd, place.cast(), size, SEND_FLAGS) };
    match usize::try_from(count) {
        Ok(count) => Ok(count),
        Err(_) => nothing_yet(io::Error::last_os_error()).map(|()| 0),
    }
}

#[cold]
fn nothing_yet(error: io::Error) -> io::Result<()> {
    if waits(&error) { Ok(()) } else { Err(error) }
}

/// Keeps what was not sent, has the loop tell when there is room, and pauses the protocol if it is
/// too much; unless it is to be held back.
fn queue(
    py: Python<'_>,
    connection: &Connection,
    transport: *mut PyObject,
    piece: Bytes,
    sent: usize,
    is_to_hold: bool,
) -> PyResult<()> {
    // SAFETY: the receiver of a method.
    let object = unsafe { Bound::from_borrowed_ptr(py, transport) };
    if !is_to_hold && connection.inside.with(py, |inside| inside.outgoing.is_empty()) {
        watch(py, connection, &object)?;
    }
    let (was_first, next) = connection.inside.with(py, |inside| {
        let was_empty = inside.outgoing.is_empty();
        inside.outgoing.push(piece, sent);
        (was_empty, inside.queued(was_empty, is_to_hold))
    });
    // What was before may have been sent meanwhile, by another thread.
    let is_first = was_first && matches!(next, Next::Pause);
    if is_first && !is_watched(py, connection, transport) {
        watch(py, connection, &object)?;
    }
    go_on(py, connection, &object, next)
}

/// What there is to do after something was queued.
pub enum Next {
    /// It is held back from now on.
    Hold,
    /// More of it is held back.
    Nothing,
    /// There is much.
    Send,
    /// It is not held back, and may be too much for the protocol.
    Pause,
}

impl Inside {
    pub fn queued(&mut self, was_empty: bool, is_to_hold: bool) -> Next {
        if self.held.is_some() {
            return if self.outgoing.len() > MOST { Next::Send } else { Next::Nothing };
        }
        if !was_empty || !is_to_hold {
            return Next::Pause;
        }
        self.held = Some(fork::generation());
        Next::Hold
    }
}

/// Whether nothing is queued.
#[inline(always)]
fn is_free(py: Python<'_>, connection: &Connection) -> bool {
    let is_free = |inside: &mut Inside| inside.outgoing.is_empty() && inside.held.is_none();
    connection.inside.with(py, is_free) || leave_parents(py, connection)
}

/// In a child that was forked meanwhile, what its parent holds back is not its own; whether that was
/// all.
#[cold]
pub fn leave_parents(py: Python<'_>, connection: &Connection) -> bool {
    let others = |generation| generation != fork::generation();
    let is_parents = connection.inside.with(py, |inside| inside.held.is_some_and(others));
    if is_parents {
        end_holding(py, connection);
    }
    is_parents
}

pub fn go_on(
    py: Python<'_>,
    connection: &Connection,
    transport: &Bound<'_, PyAny>,
    next: Next,
) -> PyResult<()> {
    match next {
        Next::Hold => hold(py, connection, transport),
        Next::Nothing => {}
        Next::Send => send_held(py, connection, transport)?,
        Next::Pause => drop(transport.call_method0(intern!(py, "_maybe_pause_protocol"))?),
    }
    Ok(())
}

pub fn watch(
    py: Python<'_>,
    connection: &Connection,
    transport: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let watcher = Watcher::Transport(transport.clone().into());
    drop(connection.native.get().watch(py, connection.watched(), WRITE, watcher)?);
    Ok(())
}

/// Data that is not of the class bytes, or a transport to which one may not write.
#[cold]
fn unusual(transport: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: receiver and argument of a method.
        let (connection, object, data) = unsafe {
            let connection = TRANSPORT.demand(py, transport)?;
            let object = Bound::from_borrowed_ptr(py, transport);
            (connection, object, Bound::from_borrowed_ptr(py, data))
        };
        check_type(&data)?;
        if !may_write(connection, &object, "write")? {
            return Ok(none());
        }
        // The view is let go before the protocol is called.
        let kept = match View::readable(py, &Ref::from(data.clone())) {
            Ok(view) => send_or_keep(py, connection, view.bytes(), false),
            // What lies in memory here and there is put together.
            Err(_) => send_or_keep(py, connection, snapshot(&data)?.bytes(), false),
        };
        match kept {
            Ok(Some(rest)) => queue(py, connection, transport, rest, 0, false)?,
            Ok(None) => {}
            Err(error) => lost(&object, error)?,
        }
        Ok(none())
    })
}

/// The data as it is now: what the caller does to a mutable buffer later does not change it.
pub fn snapshot(data: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    let py = data.py();
    // SAFETY: live objects; each result is owned, or null with an exception set.
    unsafe {
        let object = data.as_ptr();
        if ffi::PyBytes_CheckExact(object) != 0 {
            return Ok(Bytes(data.clone().into()));
        }
        check_type(data)?;
        let copied = Ref::owned(ffi::PyBytes_FromObject(object));
        Ok(Bytes(copied.ok_or_else(|| fetch(py))?))
    }
}

fn check_type(data: &Bound<'_, PyAny>) -> PyResult<()> {
    let object = data.as_ptr();
    // SAFETY: a live object.
    let accepted = unsafe {
        ffi::PyBytes_Check(object) != 0
            || ffi::PyByteArray_Check(object) != 0
            || ffi::PyMemoryView_Check(object) != 0
    };
    if accepted {
        return Ok(());
    }
    let kind = data.get_type().name()?;
    let text = format!("data argument must be a bytes-like object, not '{kind}'");
    Err(PyTypeError::new_err(text))
}

/// Whether something may be written; the errors and warnings are asyncio's.
pub fn may_write(
    connection: &Connection,
    transport: &Bound<'_, PyAny>,
    name: &str,
) -> PyResult<bool> {
    if connection.phase.may_write() {
        return Ok(true);
    }
    transport.call_method1(intern!(transport.py(), "_cannot_write"), (name,))?;
    Ok(false)
}

#[cold]
fn refused(transport: *mut PyObject, error: io::Error) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        fatal(&unsafe { Bound::from_borrowed_ptr(py, transport) }, &error)?;
        Ok(none())
    })
}

const FATAL: &str = "Fatal write error on socket transport";

pub fn fatal(transport: &Bound<'_, PyAny>, error: &io::Error) -> PyResult<()> {
    fatal_error(transport, os_error(error), FATAL)
}

/// Sends what is queued, as far as the kernel takes it; whether that was all.
pub fn flush(py: Python<'_>, connection: &Connection) -> io::Result<bool> {
    loop {
        let mut done = Done::default();
        let result =
            connection.inside.with(py, |inside| send_queued(inside, connection.fd(), &mut done));
        let all_offered = done.count() == PIECES;
        drop(done);
        let count = match result {
            Ok(count) => count,
            Err(error) => nothing_yet(error).map(|()| 0)?,
        };
        connection.has_sent(count);
        let is_empty = connection.inside.with(py, |inside| inside.outgoing.is_empty());
        if is_empty || !all_offered {
            return Ok(is_empty);
        }
    }
}

fn send_queued(inside: &mut Inside, fd: RawFd, done: &mut Done<Bytes>) -> io::Result<usize> {
    if inside.outgoing.is_empty() {
        return Ok(0);
    }
    let count = inside.outgoing.send(fd, &mut Vec::new())?;
    inside.outgoing.advance(count, done);
    Ok(count)
}

/// The socket of a transport is writable.
pub fn write_more(py: Python<'_>, native: &Loop, transport: *mut PyObject) -> PyResult<()> {
    // SAFETY: the loop tells instances of the class only, which whoever calls holds.
    let Some(connection) = (unsafe { TRANSPORT.get(py, transport) }) else { return Ok(()) };
    // SAFETY: as above.
    let object = unsafe { Bound::from_borrowed_ptr(py, transport) };
    if connection.is_lost() {
        native.forget(py, connection.watched(), WRITE, transport);
        return Ok(());
    }
    let context = connection.inside.with(py, |inside| inside.context.as_ref().map(Ref::share));
    connection.within(py, context, |context| {
        context::enter(py, context, || send_more(native, connection, &object))
    })
}

fn send_more(native: &Loop, connection: &Connection, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = transport.py();
    match flush(py, connection) {
        Ok(done) => {
            transport.call_method0(intern!(py, "_maybe_resume_protocol"))?; // it may write more
            if connection.is_lost() {
                // What that raised has closed it, and is told as the reason.
                native.forget(py, connection.watched(), WRITE, transport.as_ptr());
                return Ok(());
            }
            if done && connection.inside.with(py, |inside| inside.outgoing.is_empty()) {
                drop(native.unwatch(py, connection.watched(), WRITE));
                transport.call_method0(intern!(py, "_all_sent"))?;
            }
        }
        Err(error) => {
            failed(connection, transport, os_error(&error))?;
        }
    }
    Ok(())
}

/// What is queued cannot be sent: the connection is at its end.
#[cold]
pub fn failed(connection: &Connection, transport: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = transport.py();
    connection.native.get().forget(py, connection.watched(), WRITE, transport.as_ptr());
    drop(connection.inside.with(py, |inside| inside.outgoing.clear()));
    transport.call_method1(intern!(py, "_write_failed"), (error.into_value(py),))?;
    Ok(())
}
