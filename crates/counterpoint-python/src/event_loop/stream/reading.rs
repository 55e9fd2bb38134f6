//! Reading: one `recv` for each event, straight into the protocol.

use super::TRANSPORT;
use super::connection::Connection;
use super::receiving::{Left, MOST, Source, receive_bytes};
use crate::boundary::{View, fetch, os_error, waits};
use crate::event_loop::context;
use crate::event_loop::native::{Loop, State};
use crate::event_loop::operation::{Waiting, feed};
use crate::event_loop::tls;
use crate::event_loop::turn::callback_failed;
use crate::executor::reference::Ref;
use counterpoint_reactor::phase::Receiver;
use counterpoint_reactor::poller::READ;
use counterpoint_reactor::sizes::Sizes;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use std::cell::Cell;
use std::ffi::c_long;
use std::io;

/// Who reads less than this from a stream at once gets it out of the reader's buffer.
const LITTLE: usize = 16 * 1024;

/// The socket of a transport is readable.
pub fn read(py: Python<'_>, native: &Loop, transport: *mut PyObject) -> PyResult<()> {
    // SAFETY: the loop tells instances of the class only, which whoever calls holds.
    let Some(connection) = (unsafe { TRANSPORT.get(py, transport) }) else { return Ok(()) };
    if !connection.phase.may_read() {
        return Ok(());
    }
    let left = Cell::new(Left::Unknown);
    let done = read_from(py, native, connection, transport, &left);
    match left.get() {
        Left::Nothing => {}
        Left::Unknown => native.tell_again(py, connection.watched()),
        Left::More => native.read_again(py, connection.watched(), transport),
    }
    done
}

#[inline(always)]
fn read_from(
    py: Python<'_>,
    native: &Loop,
    connection: &Connection,
    transport: *mut PyObject,
    left: &Cell<Left>,
) -> PyResult<()> {
    let (context, protocol, seat) = connection.inside.with(py, |inside| {
        let share = |object: &Option<Ref>| object.as_ref().map(Ref::share);
        (share(&inside.context), share(&inside.protocol), share(&inside.seat))
    });
    let Some(protocol) = protocol else { return Ok(()) };
    connection.within(py, context, |context| {
        let protocol = protocol.as_ptr();
        let read = Reading { py, native, connection, transport, protocol, context, left };
        if let Some(seat) = seat
            && read.stream(&seat)?
        {
            return Ok(());
        }
        context::enter(py, context, || match connection.phase.receiver() {
            Receiver::Plain => read.data(),
            Receiver::Buffered => read.buffered(),
            Receiver::Tls => tls::read(&read),
        })
    })
}

/// A transport that reads, and who gets what it reads.
pub struct Reading<'a, 'py> {
    pub py: Python<'py>,
    pub native: &'a Loop,
    connection: &'a Connection,
    transport: *mut PyObject,
    pub protocol: *mut PyObject,
    context: &'a Ref,
    /// Whether there is more for now.
    left: &'a Cell<Left>,
}

impl Reading<'_, '_> {
    /// For a stream for which somebody waits, who gets the data without further ado; whether that is
    /// so, and it is done.
    fn stream(&self, seat: &Ref) -> PyResult<bool> {
        let seat = seat.bind(self.py).cast_into::<PyWeakrefReference>()?.upgrade();
        let Some(seat) = seat else { return Ok(false) };
        // SAFETY: alive: whoever calls `read` holds it.
        let protocol = unsafe { Bound::from_borrowed_ptr(self.py, self.protocol) };
        let Some(waiting) = Waiting::of(self.native, &protocol, &seat)? else {
            return Ok(false);
        };
        // Who asks for little is not to cost a system call for each.
        let most = if waiting.most < LITTLE { MOST } else { waiting.most.min(MOST) };
        match receive_bytes(self.py, self.native, &self.source(), most, Sizes::place) {
            Ok(Some(data)) => self.hand_on(&waiting, data)?,
            Ok(None) => context::enter(self.py, self.context, || self.lacks_memory())?,
            Err(error) => context::enter(self.py, self.context, || self.refused(error))?,
        }
        Ok(true)
    }

    fn hand_on(&self, waiting: &Waiting, data: Ref) -> PyResult<()> {
        // SAFETY: a bytes object.
        match unsafe { ffi::Py_SIZE(data.as_ptr()) } as usize {
            0 => context::enter(self.py, self.context, || self.end()),
            size => {
                self.connection.has_received(size);
                let fed = feed(self.py, self.native, waiting, data);
                fed.or_else(|error| {
                    let message = "Fatal error: protocol.data_received() call failed.";
                    context::enter(self.py, self.context, || self.failed(error, message))
                })
            }
        }
    }

    /// For a Protocol, which gets a bytes object of just the right size.
    fn data(&self) -> PyResult<()> {
        match receive_bytes(self.py, self.native, &self.source(), MOST, Sizes::place) {
            Ok(Some(data)) => {
                // SAFETY: a bytes object.
                let size = unsafe { ffi::Py_SIZE(data.as_ptr()) };
                if size == 0 {
                    return self.end();
                }
                self.connection.has_received(size as usize);
                self.deliver(data)
            }
            Ok(None) => self.lacks_memory(),
            Err(error) => self.refused(error),
        }
    }

    fn deliver(&self, data: Ref) -> PyResult<()> {
        let name = intern!(self.py, "data_received").as_ptr();
        let arguments = [self.protocol, data.as_ptr()];
        // SAFETY: live objects; the receiver is the first argument.
        let result = unsafe { call_method(name, &arguments) };
        let before = self.native.state.with(self.py, |state| state.spare.give_back(data));
        drop(before);
        self.after(result, "Fatal error: protocol.data_received() call failed.")
    }

    /// For a BufferedProtocol: reads into its own buffer.
    pub fn buffered(&self) -> PyResult<()> {
        let room = match Room::of(self.py, self.protocol) {
            Ok(room) => room,
            Err(error) => {
                return self.failed(error, "Fatal error: protocol.get_buffer() call failed.");
            }
        };
        let received = self.receive(room.place(), room.len());
        drop(room);
        match received {
            Ok(0) => self.end(),
            Ok(count) => {
                let name = intern!(self.py, "buffer_updated").as_ptr();
                // SAFETY: live objects, or null if there is no memory.
                let result = unsafe {
                    let Some(count) = Ref::owned(ffi::PyLong_FromLong(count as c_long)) else {
                        return self.lacks_memory();
                    };
                    call_method(name, &[self.protocol, count.as_ptr()])
                };
                self.after(result, "Fatal error: protocol.buffer_updated() call failed.")
            }
            Err(error) => self.refused(error),
        }
    }

    /// Its socket now: whatever ran Python before may have closed it.
    fn source(&self) -> Source<'_> {
        Source { fd: self.connection.fd(), left: self.left, is_pipe: false }
    }

    /// What the kernel has for the socket, as far as there is room.
    pub fn receive(&self, place: *mut u8, room: usize) -> io::Result<usize> {
        let count = self.source().receive(place, room)?;
        self.connection.has_received(count);
        Ok(count)
    }

    /// What a callback of the protocol has returned.
    #[inline(always)]
    fn after(&self, result: *mut PyObject, message: &str) -> PyResult<()> {
        // SAFETY: a reference of our own, or null with an exception set.
        match unsafe { Ref::owned(result) } {
            Some(_) => Ok(()),
            None => self.failed(fetch(self.py), message),
        }
    }

    #[cold]
    pub fn failed(&self, error: PyErr, message: &str) -> PyResult<()> {
        callback_failed(&self.transport(), error, message)
    }

    /// What was received is lost: the connection is not to go on as if it had not been.
    #[cold]
    fn lacks_memory(&self) -> PyResult<()> {
        self.failed(fetch(self.py), "Fatal read error on socket transport")
    }

    #[cold]
    pub fn refused(&self, error: io::Error) -> PyResult<()> {
        if waits(&error) {
            return Ok(());
        }
        self.failed(os_error(&error), "Fatal read error on socket transport")
    }

    /// Told once: who has been told of the end, and stays open, may be in the queue again.
    #[cold]
    pub fn end(&self) -> PyResult<()> {
        let fd = self.connection.watched();
        let is_told = |state: &mut State| state.registry.is_told(fd, READ, self.transport);
        if self.native.state.with(self.py, is_told) {
            self.transport().call_method0(intern!(self.py, "_read_ready__on_eof"))?;
        }
        Ok(())
    }

    fn transport(&self) -> Bound<'_, PyAny> {
        // SAFETY: alive: whoever calls `read` holds it.
        unsafe { Bound::from_borrowed_ptr(self.py, self.transport) }
    }
}

/// `get_buffer(hint)`.
fn get_buffer(py: Python<'_>, protocol: *mut PyObject, hint: isize) -> PyResult<Ref> {
    // SAFETY: live objects; new references, or null with an exception set.
    let buffer = unsafe {
        let hint = Ref::owned(ffi::PyLong_FromSsize_t(hint)).ok_or_else(|| fetch(py))?;
        let name = intern!(py, "get_buffer").as_ptr();
        Ref::owned(call_method(name, &[protocol, hint.as_ptr()]))
    };
    buffer.ok_or_else(|| fetch(py))
}

/// The memory of what it returns, which is kept while Python code may run.
pub fn view_of_buffer(py: Python<'_>, protocol: *mut PyObject, hint: isize) -> PyResult<View> {
    view_of(py, &get_buffer(py, protocol, hint)?)
}

fn view_of(py: Python<'_>, buffer: &Ref) -> PyResult<View> {
    let view = View::writable(py, buffer).map_err(|refused| {
        let is_type = refused.is_instance_of::<PyTypeError>(py);
        let is_empty = is_type && buffer.bind(py).len().is_ok_and(|length| length == 0);
        if is_empty { empty() } else { refused }
    })?;
    if view.len() == 0 { Err(empty()) } else { Ok(view) }
}

#[cold]
fn empty() -> PyErr {
    PyRuntimeError::new_err("get_buffer() returned an empty buffer")
}

/// A BufferedProtocol's own buffer, for one system call.
enum Room {
    /// Of a bytearray, the usual one: with a GIL nobody can resize it meanwhile.
    Array(Ref),
    View(View),
}

impl Room {
    fn of(py: Python<'_>, protocol: *mut PyObject) -> PyResult<Self> {
        let buffer = get_buffer(py, protocol, -1)?;
        // SAFETY: a live object.
        let is_array = unsafe { ffi::PyByteArray_CheckExact(buffer.as_ptr()) } != 0;
        if cfg!(Py_GIL_DISABLED) || !is_array {
            return view_of(py, &buffer).map(Self::View);
        }
        let room = Self::Array(buffer);
        if room.len() == 0 { Err(empty()) } else { Ok(room) }
    }

    fn place(&self) -> *mut u8 {
        match self {
            // SAFETY: a bytearray.
            Self::Array(array) => unsafe { ffi::PyByteArray_AsString(array.as_ptr()) }.cast(),
            Self::View(view) => view.place(),
        }
    }

    fn len(&self) -> usize {
        match self {
            // SAFETY: as above.
            Self::Array(array) => unsafe { ffi::PyByteArray_Size(array.as_ptr()) as usize },
            Self::View(view) => view.len(),
        }
    }
}

/// # Safety
/// Live objects; the first is the receiver.
#[inline(always)]
pub unsafe fn call_method(name: *mut PyObject, arguments: &[*mut PyObject; 2]) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { ffi::PyObject_VectorcallMethod(name, arguments.as_ptr(), 2, std::ptr::null_mut()) }
}
