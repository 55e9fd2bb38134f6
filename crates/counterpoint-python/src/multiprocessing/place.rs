//! How the types get their memory: new, or another process's.

use counterpoint_shm::sync::{Placed, Shareable};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::os::fd::{FromRawFd, OwnedFd};

/// New memory, or what the descriptor is of, which is then owned by this.
pub fn placed<T: Shareable>(name: &CStr, fd: Option<i32>) -> PyResult<Placed<T>> {
    match fd {
        None => Placed::create(name),
        Some(fd) => Placed::adopt(received(fd)),
    }
    .map_err(unusable)
}

/// A descriptor that another process sent.
pub fn received(fd: i32) -> OwnedFd {
    // SAFETY: the Python half got it from another process for this purpose alone.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// The error for memory that cannot be made, or is not what it should be.
pub fn unusable(error: std::io::Error) -> PyErr {
    PyOSError::new_err(format!("shared memory cannot be used: {error}"))
}
