//! Sending: at once, if nothing is queued and the address is written in numbers.

use super::address::{Raw, from_python};
use super::receiving::refused;
use super::{Datagram, TRANSPORT};
use crate::boundary::{View, guarded, none, waits};
use crate::executor::reference::Ref;
use counterpoint_reactor::outgoing::SEND_FLAGS;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::io;
use std::ptr;
use std::slice;
use std::sync::atomic::Ordering;

/// What a method was called with, by the vectorcall protocol: the values of the names lie behind the
/// others.
struct Given {
    place: *const *mut PyObject,
    count: usize,
    names: *mut PyObject,
}

/// `sendto(data, addr=None)`.
pub unsafe extern "C" fn sendto(
    transport: *mut PyObject,
    place: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let given = Given { place, count: count as usize, names };
    // SAFETY: a method is called attached, on its own type, with so many objects.
    unsafe {
        let py = Python::assume_attached();
        let (data, address) = match count {
            1 if names.is_null() => (*place, ffi::Py_None()),
            2 if names.is_null() => (*place, *place.add(1)),
            _ => return otherwise(transport, &given),
        };
        let Some(datagram) = TRANSPORT.get(py, transport) else {
            return otherwise(transport, &given);
        };
        let sent = if ffi::PyBytes_CheckExact(data) != 0 {
            let start = ffi::PyBytes_AS_STRING(data).cast();
            let bytes = slice::from_raw_parts(start, ffi::Py_SIZE(data) as usize);
            datagram.send(bytes, address)
        } else {
            send_array(py, datagram, data, address)
        };
        match sent {
            Some(Ok(())) => none(),
            Some(Err(error)) => failed(transport, &error),
            None => otherwise(transport, &given),
        }
    }
}

/// The same of a bytearray or a memoryview.
///
/// # Safety
/// Live objects.
#[cold]
unsafe fn send_array(
    py: Python<'_>,
    datagram: &Datagram,
    data: *mut PyObject,
    address: *mut PyObject,
) -> Option<io::Result<()>> {
    // SAFETY: the caller's promise.
    unsafe {
        if ffi::PyByteArray_CheckExact(data) == 0 && ffi::PyMemoryView_Check(data) == 0 {
            return None;
        }
        // What is refused here is refused again by who sends it otherwise.
        let view = View::readable(py, &Ref::new(data)).ok()?;
        datagram.send(view.bytes(), address)
    }
}

impl Datagram {
    /// Sends it at once. `None`: that is for others to do.
    ///
    /// # Safety
    /// A live object.
    #[inline(always)]
    unsafe fn send(&self, bytes: &[u8], address: *mut PyObject) -> Option<io::Result<()>> {
        if self.kept.is_lost() || self.is_queued.load(Ordering::Relaxed) {
            return None;
        }
        let (to, len) = match (self.is_connected.load(Ordering::Relaxed), address) {
            // SAFETY: a singleton.
            (true, address) if address == unsafe { ffi::Py_None() } => (Raw::empty(), 0),
            (true, _) => return None,
            // SAFETY: the caller's promise.
            (false, address) => Raw::of(&unsafe { from_python(address, self.family) }?),
        };
        let to = if len == 0 { ptr::null() } else { (&raw const to).cast() };
        // SAFETY: so many bytes, and such an address. The call does not wait, so the interpreter is
        // kept.
        let sent = unsafe {
            let fd = self.descriptor.now();
            libc::sendto(fd, bytes.as_ptr().cast(), bytes.len(), SEND_FLAGS, to, len)
        };
        if sent >= 0 {
            self.has_sent(bytes.len() as i64);
            return Some(Ok(()));
        }
        let error = io::Error::last_os_error();
        (!waits(&error)).then_some(Err(error))
    }
}

/// In Python: it is queued, sent to a host by its name, refused.
#[cold]
fn otherwise(transport: *mut PyObject, given: &Given) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method, and what that was given; a new reference, or null with an
        // exception set.
        let sent = unsafe {
            let transport = Bound::from_borrowed_ptr(py, transport);
            let method = transport.getattr(intern!(py, "_send_otherwise"))?;
            let Given { place, count, names } = *given;
            let result = ffi::PyObject_Vectorcall(method.as_ptr(), place, count, names);
            Bound::from_owned_ptr_or_err(py, result)?
        };
        Ok(sent.into_ptr())
    })
}

#[cold]
fn failed(transport: *mut PyObject, error: &io::Error) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let datagram = unsafe { TRANSPORT.demand(py, transport)? };
        if let Some(protocol) = datagram.kept.protocol(py) {
            refused(py, &protocol, error)?;
        }
        Ok(none())
    })
}
