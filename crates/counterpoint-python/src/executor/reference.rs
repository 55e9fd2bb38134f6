//! [`Ref`]: a strong reference for raw code, dropped with a plain `Py_DECREF`.
//!
//! `pyo3::Py` asks pyo3's own thread-local count whether the thread is attached and otherwise
//! defers the drop. The raw functions here run attached without pyo3 knowing, and are too hot for
//! either question.

use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::ptr::NonNull;

/// An owned reference. Dropped only by attached threads: pools and futures live in Python
/// objects, and what a worker holds it drops while attached.
#[repr(transparent)]
pub struct Ref(NonNull<PyObject>);

// SAFETY: a reference may move between threads; it is used and dropped by attached ones only.
unsafe impl Send for Ref {}

impl Ref {
    /// Owns what `object` points to; `None` if null (an exception is set then).
    ///
    /// # Safety
    /// `object` is null or a reference that the caller gives away.
    #[inline(always)]
    pub unsafe fn owned(object: *mut PyObject) -> Option<Self> {
        NonNull::new(object).map(Self)
    }

    /// A new reference to a live object.
    ///
    /// # Safety
    /// `object` is alive and not null.
    #[inline(always)]
    pub unsafe fn new(object: *mut PyObject) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            ffi::Py_INCREF(object);
            Self(NonNull::new_unchecked(object))
        }
    }

    /// The object.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut PyObject {
        self.0.as_ptr()
    }

    /// Another reference to the same object.
    #[inline(always)]
    pub fn share(&self) -> Self {
        // SAFETY: alive as long as `self`.
        unsafe { Self::new(self.as_ptr()) }
    }

    /// Gives the reference away.
    #[inline(always)]
    pub fn into_ptr(self) -> *mut PyObject {
        let object = self.0.as_ptr();
        std::mem::forget(self);
        object
    }

    /// Shows it to the collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: `Py<PyAny>` is a transparent wrapper around the same pointer; it is only
        // borrowed.
        visit.call(unsafe { &*std::ptr::from_ref(self).cast::<Py<PyAny>>() })
    }

    /// As pyo3 sees it.
    #[inline(always)]
    pub fn bind<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        // SAFETY: the object is alive as long as `self`.
        unsafe { Bound::from_borrowed_ptr(py, self.as_ptr()) }
    }
}

impl From<Bound<'_, PyAny>> for Ref {
    fn from(object: Bound<'_, PyAny>) -> Self {
        // SAFETY: a Bound owns a live reference.
        unsafe { Self(NonNull::new_unchecked(object.into_ptr())) }
    }
}

impl Drop for Ref {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: this owns the reference, and the thread is attached by the type's contract.
        unsafe { ffi::Py_DECREF(self.0.as_ptr()) };
    }
}
