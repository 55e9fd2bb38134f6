//! [`Object`]: an owned Python reference of one word, without the checks that `Py` makes.

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::ptr::NonNull;

/// A strong reference. It is cloned and dropped by attached threads only: items enter and leave
/// queues in calls from Python, and a thread that waits keeps what it puts until it is back.
pub struct Object(NonNull<PyObject>);

// SAFETY: a reference may be owned by any thread; the counts change only while attached.
unsafe impl Send for Object {}

impl Object {
    /// A new reference to a borrowed object.
    ///
    /// # Safety
    /// `object` is alive and not null, and the thread is attached.
    #[inline(always)]
    pub unsafe fn borrowed(object: *mut PyObject) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            ffi::Py_INCREF(object);
            Self(NonNull::new_unchecked(object))
        }
    }

    /// Gives the reference to the caller.
    #[inline(always)]
    pub fn into_ptr(self) -> *mut PyObject {
        let pointer = self.0.as_ptr();
        std::mem::forget(self);
        pointer
    }

    /// The object.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut PyObject {
        self.0.as_ptr()
    }

    /// The same reference as pyo3 has it.
    pub fn into_bound(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: owned, and handed over.
        unsafe { Bound::from_owned_ptr(py, self.into_ptr()) }
    }

    /// A look at it.
    pub fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: alive as long as `self`.
        unsafe { Bound::from_borrowed_ptr(py, self.as_ptr()) }
    }
}

impl From<Bound<'_, PyAny>> for Object {
    fn from(object: Bound<'_, PyAny>) -> Self {
        // SAFETY: a `Bound` is never null; its reference is handed over.
        unsafe { Self(NonNull::new_unchecked(object.into_ptr())) }
    }
}

impl Clone for Object {
    #[inline(always)]
    fn clone(&self) -> Self {
        // SAFETY: alive, and attached by the type's rule.
        unsafe { Self::borrowed(self.as_ptr()) }
    }
}

impl Drop for Object {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: owned, and attached by the type's rule.
        unsafe { ffi::Py_DECREF(self.as_ptr()) };
    }
}
