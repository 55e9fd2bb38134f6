//! [`os_error`]: what the kernel refused, as Python raises it.

use pyo3::exceptions::PyOSError;
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
