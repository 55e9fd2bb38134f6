//! What failed: [`os_error`], what the kernel refused, as Python raises it; [`fetch`], what Python has
//! raised; [`bytes`], which may fail.

use crate::executor::reference::Ref;
use pyo3::exceptions::{PyOSError, PySystemError};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::io;

/// The OSError with its `errno`, of the subclass that belongs to it.
#[cold]
pub fn os_error(error: &io::Error) -> PyErr {
    let Some(code) = error.raw_os_error() else { return PyOSError::new_err(error.to_string()) };
    // SAFETY: the text is static, or the thread's own until its next call; it is copied.
    let text = unsafe { CStr::from_ptr(libc::strerror(code)) }.to_string_lossy().into_owned();
    PyOSError::new_err((code, text))
}

/// The exception that is set, whatever it is. pyo3's own function goes on with a panic that has become
/// an exception, through frames of C; here it is one like the others.
#[cold]
pub fn fetch(py: Python<'_>) -> PyErr {
    // SAFETY: attached; a new reference, or null if none is set.
    match unsafe { Bound::from_owned_ptr_or_opt(py, raised()) } {
        Some(raised) => PyErr::from_value(raised),
        None => PySystemError::new_err("no exception is set"),
    }
}

#[cfg(Py_3_12)]
unsafe fn raised() -> *mut ffi::PyObject {
    // SAFETY: the caller is attached.
    unsafe { ffi::PyErr_GetRaisedException() }
}

#[cfg(not(Py_3_12))]
unsafe fn raised() -> *mut ffi::PyObject {
    let (mut kind, mut value, mut trace) =
        (std::ptr::null_mut(), std::ptr::null_mut(), std::ptr::null_mut());
    // SAFETY: the caller is attached; the three are ours, or null.
    unsafe {
        ffi::PyErr_Fetch(&mut kind, &mut value, &mut trace);
        if kind.is_null() {
            return value;
        }
        ffi::PyErr_NormalizeException(&mut kind, &mut value, &mut trace);
        if !trace.is_null() {
            ffi::PyException_SetTraceback(value, trace);
        }
        ffi::Py_XDECREF(kind);
        ffi::Py_XDECREF(trace);
        value
    }
}

/// A bytes object with a copy of these. pyo3's own function panics where there is no memory.
pub fn bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Ref> {
    let (start, len) = (bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t);
    // SAFETY: so many bytes; a new reference, or null with an exception set.
    unsafe { Ref::owned(ffi::PyBytes_FromStringAndSize(start, len)) }.ok_or_else(|| fetch(py))
}

/// Whether there is nothing yet, or no room: no error, but something to wait for.
#[inline(always)]
pub fn waits(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
