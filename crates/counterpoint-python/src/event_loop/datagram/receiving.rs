//! Receiving: some datagrams for one event, each whole, into the loop's buffer.

use super::address::Raw;
use super::{Datagram, TRANSPORT};
use crate::boundary::{guarded, none, os_error};
use crate::event_loop::native::STOPPING;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::io;
use std::ptr;
use std::sync::atomic::Ordering;

/// So many at most, before others have their turn.
const AT_ONCE: usize = 16;

/// After so many events in a row with one datagram each, a second one is looked for only now and then.
const ALONE: u8 = 4;

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
        let most = self.to_look_for();
        for count in 0..most {
            if self.kept.is_lost() || self.kept.is_closing() {
                return Ok(());
            }
            let Some(protocol) = self.kept.protocol(py) else { return Ok(()) };
            match self.receive(py) {
                Ok((data, from)) => self.deliver(py, &protocol, data, from)?,
                Err(error) => {
                    if count == 1 && error.kind() == io::ErrorKind::WouldBlock {
                        self.was_alone();
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

    /// How many datagrams to look for: one, if there was no second one the last times.
    fn to_look_for(&self) -> usize {
        let alone = self.alone.load(Ordering::Relaxed);
        if alone < ALONE {
            return AT_ONCE;
        }
        // Now and then it is to be seen whether that is still so.
        let next = if alone == u8::MAX { ALONE - 1 } else { alone + 1 };
        self.alone.store(next, Ordering::Relaxed);
        1
    }

    fn was_alone(&self) {
        let alone = self.alone.load(Ordering::Relaxed);
        self.alone.store(alone.saturating_add(1).min(ALONE), Ordering::Relaxed);
    }

    /// One datagram, and whose it is. `Ok` with nothing: an exception is set.
    fn receive(&self, py: Python<'_>) -> io::Result<(Option<Ref>, Raw)> {
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
            // SAFETY: so many bytes; a new reference, or null with an exception set.
            unsafe {
                let start = buffer.as_ptr().cast();
                Ref::owned(ffi::PyBytes_FromStringAndSize(start, count as Py_ssize_t))
            }
        });
        native.give_buffer(py, buffer);
        Ok((data?, from))
    }

    fn deliver(
        &self,
        py: Python<'_>,
        protocol: &Ref,
        data: Option<Ref>,
        from: Raw,
    ) -> PyResult<()> {
        let data = data.ok_or_else(|| crate::boundary::fetch(py))?;
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
        result.map(drop).ok_or_else(|| crate::boundary::fetch(py))
    }
}

/// Nothing yet, or an error of which the protocol is told.
#[cold]
pub fn refused(py: Python<'_>, protocol: &Ref, error: &io::Error) -> PyResult<()> {
    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
        return Ok(());
    }
    let error = os_error(error).into_value(py);
    protocol.bind(py).call_method1(intern!(py, "error_received"), (error,))?;
    Ok(())
}
