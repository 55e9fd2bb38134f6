//! [`Fields`]: the attributes of an object whose class has no say in them.

use crate::executor::reference::Ref;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::ptr;

/// An object with its dict, where a look takes a third of what one through its class takes. For
/// attributes that are neither properties nor slots.
pub struct Fields<'a, 'py> {
    object: &'a Bound<'py, PyAny>,
    own: Bound<'py, PyAny>,
}

impl<'a, 'py> Fields<'a, 'py> {
    /// Those of an object that has a dict.
    #[inline(always)]
    pub fn of(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        // SAFETY: a live object; a new reference, or null with an exception set.
        let own = unsafe {
            let own = ffi::PyObject_GenericGetDict(object.as_ptr(), ptr::null_mut());
            Bound::from_owned_ptr_or_err(object.py(), own)?
        };
        Ok(Self { object, own })
    }

    /// The object.
    pub fn object(&self) -> &'a Bound<'py, PyAny> {
        self.object
    }

    /// An attribute; the class's, where the object has none.
    #[inline(always)]
    pub fn get(&self, name: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a live dict and string; what is found is borrowed, and held before anything else runs.
        let found = unsafe {
            let found = ffi::PyDict_GetItemWithError(self.own.as_ptr(), name.as_ptr());
            Bound::from_borrowed_ptr_or_opt(self.object.py(), found)
        };
        match found {
            Some(found) => Ok(found),
            None => match PyErr::take(self.object.py()) {
                Some(error) => Err(error),
                None => self.object.getattr(name),
            },
        }
    }

    /// Whether an attribute is true.
    #[inline(always)]
    pub fn is(&self, name: &Bound<'py, PyString>) -> PyResult<bool> {
        let value = self.get(name)?;
        // SAFETY: constants that live as long as the interpreter.
        match unsafe { (value.as_ptr() == ffi::Py_False(), value.as_ptr() == ffi::Py_True()) } {
            (true, _) => Ok(false),
            (_, true) => Ok(true),
            _ => value.is_truthy(),
        }
    }

    /// Whether the object itself has it.
    #[inline(always)]
    pub fn has_own(&self, name: &Bound<'py, PyString>) -> PyResult<bool> {
        // SAFETY: a live dict and string.
        match unsafe { ffi::PyDict_Contains(self.own.as_ptr(), name.as_ptr()) } {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(crate::boundary::fetch(self.object.py())),
        }
    }

    /// Sets an attribute; the value before is dropped.
    #[inline(always)]
    pub fn set(&self, name: &Bound<'py, PyString>, value: &Ref) -> PyResult<()> {
        // SAFETY: a live dict, string and value.
        match unsafe { ffi::PyDict_SetItem(self.own.as_ptr(), name.as_ptr(), value.as_ptr()) } {
            0 => Ok(()),
            _ => Err(crate::boundary::fetch(self.object.py())),
        }
    }
}
