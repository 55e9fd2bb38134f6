//! Receiving: some datagrams for one event, each whole, into the loop's buffer.

use super::address::Raw;
use super::{Datagram, TRANSPORT};
use crate::boundary::{bytes, fetch, guarded, none, os_error, waits};
use crate::event_loop::native::STOPPING;
use crate::executor::reference::Ref;
use counterpoint_reactor::vain::Vain;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::io;
use std::ptr;

/// So many at most, before others have their turn.
const AT_ONCE: usize = 16;

/// `_read_ready()`: the socket is readable.
pub unsafe extern "C" fn read_ready(transport: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: a method is called on its own type.
        let datagram = unsafe { TRANSPORT.demand(py, transport)? };
        datagram.receive_some(py)?;
        Ok(none())
    })
}

impl Datagram {
    fn receive_some(&self, py: Python<'_>) -> PyResult<()> {
        // One, if there was no second one the last times.
        let most = if self.second.with(py, Vain::is_expected) { 1 } else { AT_ONCE };
        for count in 0..most {
            if self.kept.is_lost() || self.kept.is_closing() {
                return Ok(());
            }
            let Some(protocol) = self.kept.protocol(py) else { return Ok(()) };
            match self.receive(py) {
                Ok((data, from)) => self.deliver(py, &protocol, data?, from)?,
                Err(error) => {
                    if count > 0 && error.kind() == io::ErrorKind::WouldBlock {
                        self.second.with(py, |second| second.tried(count == 1));
                    }
                    return refused(py, &protocol, &error);
                }
            }
            // What follows is for when it runs again.
            if self.native.get().is(STOPPING) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One datagram, and whose it is.
    fn receive(&self, py: Python<'_>) -> io::Result<(PyResult<Ref>, Raw)> {
        let native = self.native.get();
        let mut buffer = native.take_buffer(py);
        let (mut from, mut len) = (Raw::empty(), Raw::ROOM);
        // SAFETY: so much room for both. The call does not wait, so the interpreter is kept.
        let count = unsafe {
            libc::recvfrom(
                self.descriptor.now(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                libc::MSG_DONTWAIT,
                from.as_mut_ptr(),
                &mut len,
            )
        };
        let result = usize::try_from(count).map_err(|_| io::Error::last_os_error());
        let data = result.map(|count| {
            self.received.add(count as u64);
            native.counters.received.add(count as u64);
            bytes(py, &buffer[..count])
        });
        native.give_buffer(py, buffer);
        Ok((data?, from))
    }

    fn deliver(&self, py: Python<'_>, protocol: &Ref, data: Ref, from: Raw) -> PyResult<()> {
        let from = match from.address() {
            Some(address) => self.names.of(py, &address)?,
            None => py.None().into_bound(py).into(),
        };
        let name = intern!(py, "datagram_received").as_ptr();
        let arguments = [protocol.as_ptr(), data.as_ptr(), from.as_ptr()];
        // SAFETY: live objects, the first of which is the receiver; a reference of our own, or null
        // with an exception set.
        let result = unsafe {
            Ref::owned(ffi::PyObject_VectorcallMethod(name, arguments.as_ptr(), 3, ptr::null_mut()))
        };
        result.map(drop).ok_or_else(|| fetch(py))
    }
}

/// Nothing yet, or an error of which the protocol is told.
#[cold]
pub fn refused(py: Python<'_>, protocol: &Ref, error: &io::Error) -> PyResult<()> {
    if waits(error) {
        return Ok(());
    }
    let error = os_error(error).into_value(py);
    protocol.bind(py).call_method1(intern!(py, "error_received"), (error,))?;
    Ok(())
}
