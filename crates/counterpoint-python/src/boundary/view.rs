//! [`View`]: an object's memory, by the buffer protocol.

use crate::executor::reference::Ref;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::slice;

/// An object's memory in one piece, which neither moves nor ends while this lives.
pub struct View(ffi::Py_buffer);

impl View {
    /// That of an object, to be read.
    pub fn readable(py: Python<'_>, object: &Ref) -> PyResult<Self> {
        Self::of(py, object, ffi::PyBUF_SIMPLE)
    }

    /// That of an object, to be written to; what is refused is told as the stdlib's methods tell it.
    pub fn writable(py: Python<'_>, object: &Ref) -> PyResult<Self> {
        Self::of(py, object, ffi::PyBUF_WRITABLE).map_err(|error| {
            if !error.is_instance_of::<PyBufferError>(py) {
                return error;
            }
            let kind = object.bind(py).get_type().name();
            let text = kind.map(|kind| format!("must be read-write bytes-like object, not {kind}"));
            let refused = text.map_or_else(|error| error, PyTypeError::new_err);
            refused.set_cause(py, Some(error));
            refused
        })
    }

    fn of(py: Python<'_>, object: &Ref, flags: c_int) -> PyResult<Self> {
        let mut view = MaybeUninit::<ffi::Py_buffer>::zeroed();
        // SAFETY: a live object; the view is filled in by a call that succeeded.
        unsafe {
            if ffi::PyObject_GetBuffer(object.as_ptr(), view.as_mut_ptr(), flags) != 0 {
                return Err(crate::boundary::fetch(py));
            }
            Ok(Self(view.assume_init()))
        }
    }

    /// Where it is.
    pub fn place(&self) -> *mut u8 {
        self.0.buf.cast()
    }

    /// How long it is.
    pub fn len(&self) -> usize {
        self.0.len as usize
    }

    /// What it holds.
    pub fn bytes(&self) -> &[u8] {
        if self.len() == 0 {
            return &[];
        }
        // SAFETY: so many bytes, while the view is held. Who changes them meanwhile is another thread's
        // program, and changes what is seen.
        unsafe { slice::from_raw_parts(self.place(), self.len()) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: it was acquired, and is released once, by an attached thread.
        unsafe { ffi::PyBuffer_Release(&mut self.0) };
    }
}
