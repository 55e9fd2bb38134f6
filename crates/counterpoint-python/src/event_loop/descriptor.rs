//! [`Descriptor`]: a socket object's, for system calls past its methods.

use crate::boundary::prefetch;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

/// A socket object, and where in it its descriptor is.
pub struct Descriptor {
    sock: Py<PyAny>,
    /// Null: unknown.
    place: *const AtomicI32,
    known: RawFd,
}

// SAFETY: the place lies in the socket object, which is kept, and is read atomically.
unsafe impl Send for Descriptor {}
// SAFETY: as above.
unsafe impl Sync for Descriptor {}

impl Descriptor {
    /// That of a socket.
    pub fn of(sock: &Bound<'_, PyAny>) -> PyResult<Self> {
        let known = sock.call_method0(intern!(sock.py(), "fileno"))?.extract()?;
        Ok(Self { place: place(sock, known)?, sock: sock.clone().unbind(), known })
    }

    /// The number for a system call; -1 if somebody has closed the socket: it may be another file's by
    /// now.
    #[inline(always)]
    pub fn now(&self) -> RawFd {
        // SAFETY: null, or a field of the socket object, which lives as long as `self`.
        match unsafe { self.place.as_ref() } {
            Some(place) if place.load(Ordering::Relaxed) != self.known => -1,
            _ => self.known,
        }
    }

    /// The number that it had at first.
    #[inline(always)]
    pub fn known(&self) -> RawFd {
        self.known
    }

    /// Has the processor fetch what [`now`](Self::now) looks at.
    pub fn prefetch(&self) {
        prefetch(self.place);
    }

    /// For the collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.sock)
    }
}

/// Where a socket object has its descriptor: in the first field behind the head, as every CPython has
/// had it; null if this one is no such object.
fn place(sock: &Bound<'_, PyAny>, fd: RawFd) -> PyResult<*const AtomicI32> {
    let class = sock.py().import("_socket")?.getattr("socket")?;
    if !sock.is_instance(&class)? {
        return Ok(ptr::null());
    }
    // SAFETY: an instance of that class is longer than its head.
    let place: *const AtomicI32 =
        unsafe { sock.as_ptr().byte_add(size_of::<ffi::PyObject>()) }.cast_const().cast();
    // SAFETY: as above; the interpreter writes it whole.
    let known = unsafe { &*place }.load(Ordering::Relaxed) == fd;
    Ok(if known { place } else { ptr::null() })
}
