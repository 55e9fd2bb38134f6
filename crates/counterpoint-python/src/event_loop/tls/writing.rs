//! Encrypting what the application writes, and sending it at once.

use super::engine::{Ends, Tls};
use super::{FATAL, RECORD, TRANSPORT};
use crate::boundary::{self, Sole, guarded, none};
use crate::event_loop::native::Loop;
use crate::event_loop::stream::{
    self, Connection, free_socket, has_written, is_to_hold, send_copied, snapshot,
};
use crate::event_loop::turn::fatal_error;
use crate::executor::reference::Ref;
use counterpoint_reactor::outgoing::Piece;
use pyo3::exceptions::PyException;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;

/// So much is encrypted at a time: its ciphertext fits into the loop's buffer, and what libssl
/// collects it in does not grow further.
const PART: usize = 192 * 1024;

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

unsafe fn write_data(transport: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: receiver and argument of a method.
        let (tls, transport, data) = unsafe {
            let tls = TRANSPORT.demand(py, transport)?;
            let transport = Bound::from_borrowed_ptr(py, transport);
            (tls, transport, Bound::from_borrowed_ptr(py, data))
        };
        if !is_bytes_like(&data) {
            leave(&transport, &data)?; // its error
            return Ok(none());
        }
        let data = snapshot(&data)?;
        let bytes = data.bytes();
        if bytes.is_empty() {
            return Ok(none());
        }
        let done = match write_now(py, tls, bytes) {
            Ok(done) => done,
            Err(error) => return failed(&transport, error).map(|()| none()),
        };
        if done == 0 {
            leave(&transport, &data.0.bind(py))?;
        } else if done < bytes.len() {
            match boundary::bytes(py, &bytes[done..]) {
                Ok(rest) => leave(&transport, &rest.bind(py))?,
                Err(error) => failed(&transport, error)?,
            }
        }
        Ok(none())
    })
}

fn is_bytes_like(data: &Bound<'_, PyAny>) -> bool {
    let data = data.as_ptr();
    // SAFETY: a live object.
    unsafe {
        ffi::PyBytes_Check(data) != 0
            || ffi::PyByteArray_Check(data) != 0
            || ffi::PyMemoryView_Check(data) != 0
    }
}

/// Lets asyncio's code do it.
#[cold]
fn leave(transport: &Bound<'_, PyAny>, data: &Bound<'_, PyAny>) -> PyResult<()> {
    transport.call_method1(intern!(transport.py(), "_write_as_asyncio"), (data,)).map(drop)
}

/// A record may be lost with the error: the connection is at its end, as with asyncio's code.
#[cold]
fn failed(transport: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    let py = transport.py();
    if !error.is_instance_of::<PyException>(py) {
        return Err(error);
    }
    let protocol = transport.getattr(intern!(py, "_ssl_protocol"))?;
    fatal_error(&protocol, error, FATAL)
}

/// Encrypts and sends as much as may be; how much that was. An error of libssl's comes again for who
/// tries the rest.
fn write_now(py: Python<'_>, tls: &Tls, bytes: &[u8]) -> PyResult<usize> {
    let Some(ends) = tls.writes(py) else { return Ok(0) };
    let Some(transport) = tls.inside.with(py, |inside| inside.transport.as_ref().map(Ref::share))
    else {
        return Ok(0);
    };
    // SAFETY: what is written to directly is of the class.
    let Some(connection) = (unsafe { stream::TRANSPORT.get(py, transport.as_ptr()) }) else {
        return Ok(0);
    };
    let mut room = Room { py, native: connection.native.get(), buffer: None };
    Target { py, tls, ends: &ends, connection, transport: &transport }.write(bytes, &mut room)
}

/// The loop's buffer, taken when it is needed and given back on drop.
struct Room<'a, 'py> {
    py: Python<'py>,
    native: &'a Loop,
    buffer: Option<Vec<u8>>,
}

impl Room<'_, '_> {
    fn get(&mut self) -> &mut [u8] {
        self.buffer.get_or_insert_with(|| self.native.take_buffer(self.py))
    }
}

impl Drop for Room<'_, '_> {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.native.give_buffer(self.py, buffer);
        }
    }
}

/// Where ciphertext goes.
struct Target<'a, 'py> {
    py: Python<'py>,
    tls: &'a Tls,
    ends: &'a Ends,
    connection: &'a Connection,
    transport: &'a Ref,
}

impl Target<'_, '_> {
    fn write(&self, bytes: &[u8], room: &mut Room<'_, '_>) -> PyResult<usize> {
        let mut done = 0;
        for part in bytes.chunks(PART) {
            if done > 0 && self.connection.is_lost() {
                return Ok(bytes.len()); // to nobody
            }
            if done > 0 && self.tls.writes(self.py).is_none() {
                break;
            }
            self.drain(room)?; // what libssl has written of itself comes first
            if !self.send(part, room)? {
                break;
            }
            done += part.len();
        }
        self.drain(room)?;
        Ok(done)
    }

    /// Whether libssl took it, all.
    fn send(&self, part: &[u8], room: &mut Room<'_, '_>) -> PyResult<bool> {
        let (py, transport) = (self.py, self.transport.as_ptr());
        let (pipe, object) = (self.ends.pipe(), self.ends.object(py));
        let is_to_hold = is_to_hold(py, self.connection, transport, part.len());
        // Of several records each would be a system call of its own.
        if part.len() <= RECORD && !is_to_hold {
            // Asked inside: another thread may have written until then.
            let sent = with_critical_section(&object, || {
                let socket = free_socket(py, self.connection).filter(|_| pipe.unsent() == 0)?;
                Some(pipe.sending(socket, || self.encrypt(part)))
            });
            if let Some((taken, count, refused)) = sent {
                has_written(self.connection, &self.transport.bind(py), count, refused)?;
                return Ok(taken);
            }
        }
        let buffer = room.get();
        let write = || pipe.writing(buffer, || self.encrypt(part));
        let (taken, count) = with_critical_section(&object, write);
        if count > 0 {
            send_copied(py, self.connection, transport, &buffer[..count], is_to_hold)?;
        }
        Ok(taken)
    }

    /// Whether libssl took it, all; its ciphertext goes where the pipe leads to now.
    fn encrypt(&self, part: &[u8]) -> bool {
        let (bytes, mut count) = (part.as_ptr().cast(), 0);
        let library = self.ends.library;
        // SAFETY: alive as long as `ends`; so many bytes. In the mode that `_ssl` sets it takes all
        // or nothing.
        let taken = unsafe { (library.write)(self.ends.ssl, bytes, part.len(), &mut count) == 1 };
        if !taken {
            library.forget_errors(); // who tries the rest meets them again
        }
        taken
    }

    /// Sends what is in the memory BIO.
    fn drain(&self, room: &mut Room<'_, '_>) -> PyResult<()> {
        let (py, pipe, transport) = (self.py, self.ends.pipe(), self.transport.as_ptr());
        while pipe.unsent() != 0 {
            let buffer = room.get();
            let count = with_critical_section(&self.ends.object(py), || pipe.drain(buffer));
            if count == 0 {
                break;
            }
            send_copied(py, self.connection, transport, &buffer[..count], false)?;
        }
        Ok(())
    }
}
