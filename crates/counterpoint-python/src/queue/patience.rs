//! The arguments of `put` and `get`: `block` and `timeout`, with the stdlib's errors.

use crate::boundary::{Timeout, bind, number};
pub use crate::boundary::{boolean, none};
use counterpoint_sync::clock;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi::{Py_ssize_t, PyObject};
use pyo3::prelude::*;

/// The arguments of a METH_FASTCALL|METH_KEYWORDS call.
#[derive(Clone, Copy)]
pub struct Arguments {
    /// Positional values, then those of the keywords.
    pub values: *const *mut PyObject,
    /// How many positional ones.
    pub count: Py_ssize_t,
    /// The keywords, or null.
    pub names: *mut PyObject,
}

type Optional<'py> = Option<Bound<'py, PyAny>>;

impl Arguments {
    /// Whether there are `count` positional arguments and no others.
    #[inline(always)]
    pub fn are_just(&self, count: Py_ssize_t) -> bool {
        self.count == count && self.names.is_null()
    }

    /// Sorts them into the places of `parameters`.
    ///
    /// # Safety
    /// They are those of the call that is being served.
    pub unsafe fn bind<'py, const N: usize>(
        self,
        py: Python<'py>,
        function: &str,
        parameters: [&str; N],
    ) -> PyResult<[Optional<'py>; N]> {
        // SAFETY: the caller's promise.
        unsafe { bind(py, self.values, self.count, self.names, function, parameters) }
    }
}

/// An argument that must be there.
pub fn required<'py>(
    value: Optional<'py>,
    function: &str,
    name: &str,
) -> PyResult<Bound<'py, PyAny>> {
    value.ok_or_else(|| {
        let text = format!("{function}() missing 1 required positional argument: '{name}'");
        PyTypeError::new_err(text)
    })
}

/// How long a call waits: not at all without `block`, for ever without `timeout`.
pub fn patience(block: Optional<'_>, timeout: Optional<'_>) -> PyResult<Timeout> {
    if !block.map_or(Ok(true), |block| block.is_truthy())? {
        return Ok(Timeout::Now);
    }
    seconds(timeout)
}

/// The same for a put where there is always room: it waits for no room, and like the stdlib it does
/// not even look at the timeout.
pub fn patience_in_room(block: Optional<'_>) -> PyResult<Timeout> {
    let block = block.map_or(Ok(true), |block| block.is_truthy())?;
    Ok(if block { Timeout::Never } else { Timeout::Now })
}

/// A timeout alone; None waits for ever.
pub fn seconds(timeout: Optional<'_>) -> PyResult<Timeout> {
    let Some(timeout) = timeout.filter(|timeout| !timeout.is_none()) else {
        return Ok(Timeout::Never);
    };
    let seconds = number(&timeout)?;
    if seconds < 0.0 {
        return Err(PyValueError::new_err("'timeout' must be a non-negative number"));
    }
    Timeout::seconds(seconds)
}

/// The same as `block` and `timeout`, for the Python implementation.
pub fn as_arguments(timeout: Timeout) -> (bool, Option<f64>) {
    match timeout {
        Timeout::Now => (false, None),
        Timeout::Never => (true, None),
        Timeout::Until(at) => (true, Some(at.saturating_sub(clock::now()) as f64 / 1e9)),
    }
}
