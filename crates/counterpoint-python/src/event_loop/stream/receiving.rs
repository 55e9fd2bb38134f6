//! Receiving: into a buffer of the loop, or, where much comes, into the object itself.

use crate::event_loop::native::Loop;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use std::ffi::c_int;
use std::io;
use std::os::fd::RawFd;

/// So much is received at once, at most.
pub const MOST: usize = 256 * 1024;

/// Who received so much gets the next into an object of its own, which is cut to size: a copy costs
/// more then than an allocation that is too large.
const LARGE: usize = 16 * 1024;

/// How large such an object is, at most. The C library maps and unmaps larger blocks each time.
const DIRECT: usize = 120 * 1024;

unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: Py_ssize_t) -> c_int;
}

/// Receives at most so many bytes. `Ok(None)`: an exception is set.
#[inline(always)]
pub fn receive_bytes(
    py: Python<'_>,
    native: &Loop,
    fd: RawFd,
    most: usize,
) -> io::Result<Option<Ref>> {
    let large = native.state.with(py, |state| state.registry.get(fd).is_some_and(|s| s.large));
    if large { directly(py, native, fd, most) } else { by_buffer(py, native, fd, most) }
}

/// Through the loop's buffer, into an object of just the right size.
#[inline(always)]
fn by_buffer(py: Python<'_>, native: &Loop, fd: RawFd, most: usize) -> io::Result<Option<Ref>> {
    let mut buffer = native.take_buffer(py);
    let received = receive(fd, buffer.as_mut_ptr(), buffer.len().min(most));
    // SAFETY: so many bytes were written; a new reference, or null with an exception set.
    let data = received.map(|count| unsafe {
        if count >= LARGE {
            native.state.with(py, |state| state.registry.received(fd, true));
        }
        Ref::owned(ffi::PyBytes_FromStringAndSize(buffer.as_ptr().cast(), count as Py_ssize_t))
    });
    native.give_buffer(py, buffer);
    data
}

/// Into the object, which is then cut to size.
fn directly(py: Python<'_>, native: &Loop, fd: RawFd, most: usize) -> io::Result<Option<Ref>> {
    let (data, count) = into_object(fd, most.min(DIRECT))?;
    if data.is_some() && count < LARGE {
        native.state.with(py, |state| state.registry.received(fd, false));
    }
    Ok(data)
}

/// Whether what is received at once is not all that was asked for, and the kernel throws the rest away:
/// that of a message. Of a stream it keeps it.
pub fn is_cut(fd: RawFd, most: usize) -> bool {
    if most <= DIRECT {
        return false;
    }
    let (mut kind, mut size): (c_int, libc::socklen_t) = (0, size_of::<c_int>() as _);
    // SAFETY: a place for the value, of that size.
    let failed = unsafe {
        let place = (&raw mut kind).cast();
        libc::getsockopt(fd, libc::SOL_SOCKET, libc::SO_TYPE, place, &mut size)
    };
    failed == 0 && kind != libc::SOCK_STREAM
}

/// Receives a message of at most so many bytes, whole. `Ok(None)`: an exception is set.
pub fn receive_message(fd: RawFd, most: usize) -> io::Result<Option<Ref>> {
    into_object(fd, most).map(|(data, _)| data)
}

/// Receives into an object with so much room, which is cut to size; and how much that was.
fn into_object(fd: RawFd, room: usize) -> io::Result<(Option<Ref>, usize)> {
    // SAFETY: a new object, which nobody else knows, or null with an exception set. The call that cuts
    // it to size leaves null if it fails.
    unsafe {
        let mut object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), room as Py_ssize_t);
        if object.is_null() {
            return Ok((None, 0));
        }
        match receive(fd, ffi::PyBytes_AS_STRING(object).cast_mut().cast(), room) {
            Ok(count) => {
                _PyBytes_Resize(&mut object, count as Py_ssize_t);
                Ok((Ref::owned(object), count))
            }
            Err(error) => {
                ffi::Py_DECREF(object);
                Err(error)
            }
        }
    }
}

#[inline(always)]
fn receive(fd: RawFd, place: *mut u8, room: usize) -> io::Result<usize> {
    // SAFETY: so much room. The call does not wait, so the interpreter is kept.
    let count = unsafe { libc::recv(fd, place.cast(), room, libc::MSG_DONTWAIT) };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}
