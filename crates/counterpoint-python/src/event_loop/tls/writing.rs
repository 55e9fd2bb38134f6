//! Encrypting what the application writes, and sending it at once.

use super::TRANSPORT;
use super::engine::{Ends, Tls};
use crate::boundary::{self, Sole, guarded, none};
use crate::event_loop::stream::{self, Connection, send_copied, snapshot};
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
    let arguments = (error.into_value(py), "Fatal error on SSL protocol");
    protocol.call_method1(intern!(py, "_fatal_error"), arguments).map(drop)
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
    let mut buffer = connection.native.get().take_buffer(py);
    let target = Target { py, tls, ends: &ends, connection, transport: &transport };
    let done = target.write(bytes, &mut buffer);
    connection.native.get().give_buffer(py, buffer);
    done
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
    fn write(&self, bytes: &[u8], buffer: &mut [u8]) -> PyResult<usize> {
        let mut done = 0;
        for part in bytes.chunks(PART) {
            if done > 0 && self.connection.is_lost() {
                return Ok(bytes.len()); // to nobody
            }
            if done > 0 && self.tls.writes(self.py).is_none() {
                break;
            }
            self.drain(buffer)?; // what libssl has written of itself comes first
            let (taken, count) = self.encrypt(part, buffer);
            if count > 0 {
                send_copied(self.py, self.connection, self.transport.as_ptr(), &buffer[..count])?;
            }
            if !taken {
                break;
            }
            done += part.len();
        }
        self.drain(buffer)?;
        Ok(done)
    }

    /// Whether libssl took it, all; how much of the buffer its ciphertext uses.
    fn encrypt(&self, part: &[u8], buffer: &mut [u8]) -> (bool, usize) {
        let ends = self.ends;
        with_critical_section(&ends.object(self.py), || {
            let (taken, used) = ends.pipe().writing(buffer, || {
                let (bytes, mut count) = (part.as_ptr().cast(), 0);
                // SAFETY: alive as long as `ends`; so many bytes. In the mode that `_ssl` sets it
                // takes all or nothing.
                unsafe { (ends.library.write)(ends.ssl, bytes, part.len(), &mut count) == 1 }
            });
            if !taken {
                ends.library.forget_errors(); // who tries the rest meets them again
            }
            (taken, used)
        })
    }

    /// Sends what is in the memory BIO.
    fn drain(&self, buffer: &mut [u8]) -> PyResult<()> {
        let (py, pipe) = (self.py, self.ends.pipe());
        while pipe.unsent() != 0 {
            let count = with_critical_section(&self.ends.object(py), || pipe.drain(buffer));
            if count == 0 {
                break;
            }
            send_copied(py, self.connection, self.transport.as_ptr(), &buffer[..count])?;
        }
        Ok(())
    }
}
