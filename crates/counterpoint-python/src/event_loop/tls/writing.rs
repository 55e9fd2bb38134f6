//! Encrypting what the application writes, and sending it at once.

use super::TRANSPORT;
use super::engine::{Ends, Tls};
use crate::boundary::{guarded, none};
use crate::event_loop::native::Loop;
use crate::event_loop::stream::{self, Connection, send_copied, snapshot};
use crate::executor::reference::Ref;
use counterpoint_reactor::outgoing::Piece;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;
use pyo3::types::PyBytes;

/// So much is encrypted at a time: its ciphertext fits into the loop's buffer, and what libssl
/// collects it in does not grow further.
const PART: usize = 192 * 1024;

/// `write(data)`.
pub unsafe extern "C" fn write(transport: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
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
        let done = write_now(py, tls, bytes)?;
        if done == 0 {
            leave(&transport, &data.0.bind(py))?;
        } else if done < bytes.len() {
            leave(&transport, PyBytes::new(py, &bytes[done..]).as_any())?;
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
    let native = connection.native.get();
    let mut done = 0;
    for part in bytes.chunks(PART) {
        if done > 0 && tls.writes(py).is_none() {
            break;
        }
        if !encrypt(py, &ends, part) {
            break;
        }
        done += part.len();
        send(py, native, &ends, connection, &transport)?;
    }
    Ok(done)
}

/// Whether libssl took it, all.
fn encrypt(py: Python<'_>, ends: &Ends, part: &[u8]) -> bool {
    with_critical_section(&ends.object(py), || {
        let mut count = 0;
        ends.library.forget_errors();
        // SAFETY: alive as long as `ends`; so many bytes. In the mode that `_ssl` sets it takes all
        // or nothing.
        unsafe {
            (ends.library.write)(ends.ssl, part.as_ptr().cast(), part.len(), &mut count) == 1
        }
    })
}

/// Sends the ciphertext.
fn send(
    py: Python<'_>,
    native: &Loop,
    ends: &Ends,
    connection: &Connection,
    transport: &Ref,
) -> PyResult<()> {
    let mut buffer = native.take_buffer(py);
    let mut sent = Ok(());
    while sent.is_ok() {
        let count = with_critical_section(&ends.object(py), || ends.drain(&mut buffer));
        if count == 0 {
            break;
        }
        sent = send_copied(py, connection, transport.as_ptr(), &buffer[..count]);
    }
    native.give_buffer(py, buffer);
    sent
}
