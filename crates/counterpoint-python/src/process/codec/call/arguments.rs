//! [`Call`]: a decoded call, ready to be made.

use super::super::fault::Fault;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

/// Arguments held without an allocation of their own.
const INLINE: usize = 4;

/// The place before the first is free, so that calling a bound method copies nothing.
enum Values<'py> {
    Inline([Option<Bound<'py, PyAny>>; INLINE + 1]),
    Boxed(Box<[Option<Bound<'py, PyAny>>]>),
}

/// A function and its arguments.
pub struct Call<'py> {
    function: Bound<'py, PyAny>,
    values: Values<'py>,
    count: usize,
    names: Option<Bound<'py, PyTuple>>,
}

impl<'py> Call<'py> {
    /// A call with `count` arguments, none of which is set yet.
    #[inline(always)]
    pub(super) fn new(function: Bound<'py, PyAny>, count: usize) -> Self {
        let values = match count {
            0..=INLINE => Values::Inline([const { None }; INLINE + 1]),
            _ => Values::Boxed((0..=count).map(|_| None).collect()),
        };
        Self { function, values, count, names: None }
    }

    #[inline(always)]
    fn places(&mut self) -> &mut [Option<Bound<'py, PyAny>>] {
        match &mut self.values {
            Values::Inline(values) => values,
            Values::Boxed(values) => values,
        }
    }

    /// Sets an argument, of which `at` is less than the count.
    #[inline(always)]
    pub(super) fn set(&mut self, at: usize, value: Bound<'py, PyAny>) {
        self.places()[at + 1] = Some(value);
    }

    /// Names the last arguments.
    #[cold]
    pub(super) fn name(&mut self, names: Bound<'py, PyAny>) -> Result<(), Fault> {
        let names = names.cast_into_exact::<PyTuple>().map_err(|_| NAMES)?;
        let all_str = names.iter().all(|name| name.is_instance_of::<PyString>());
        if names.len() > self.count || !all_str {
            return Err(NAMES);
        }
        self.names = Some(names);
        Ok(())
    }

    /// What is to be called.
    pub fn function(&self) -> &Bound<'py, PyAny> {
        &self.function
    }

    /// The arguments, positional ones first.
    pub fn arguments(&self) -> impl Iterator<Item = &Bound<'py, PyAny>> {
        let values = match &self.values {
            Values::Inline(values) => values.as_slice(),
            Values::Boxed(values) => values,
        };
        values[1..].iter().flatten()
    }

    /// The names of the last arguments.
    pub fn names(&self) -> Option<&Bound<'py, PyTuple>> {
        self.names.as_ref()
    }

    /// Makes the call.
    #[inline(always)]
    pub fn call(&mut self) -> PyResult<Bound<'py, PyAny>> {
        const BEFORE: usize = ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let py = self.function.py();
        let names = self.names.as_ref().map_or(std::ptr::null_mut(), Bound::as_ptr);
        let positional = self.count - self.names.as_ref().map_or(0, |names| names.len());
        let function = self.function.as_ptr();
        // SAFETY: `Option<Bound>` has the layout of a pointer, and each of the `count` places
        // after the first was set; the first may be overwritten and is restored by the callee, as
        // BEFORE says. The names are a tuple of str, of which there are not more than arguments.
        unsafe {
            let arguments: *const *mut PyObject = self.places().as_ptr().add(1).cast();
            let result = ffi::PyObject_Vectorcall(function, arguments, positional | BEFORE, names);
            Bound::from_owned_ptr_or_err(py, result)
        }
    }
}

const NAMES: Fault = Fault::Damaged("names that are none");
