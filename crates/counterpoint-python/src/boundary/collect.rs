//! What the objects show the garbage collector, and other small conversions.

use super::TaskHandle;
use counterpoint_sync::waiter::WaitList;
use pyo3::ffi::{PyObject, visitproc};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBool;
use std::ffi::{c_int, c_void};

/// Visits the tasks in a list.
pub fn traverse_waiters(
    waiters: &WaitList<TaskHandle>,
    visit: &PyVisit<'_>,
) -> Result<(), PyTraverseError> {
    waiters.iter().filter_map(|waiter| waiter.notify()).try_for_each(|task| task.traverse(visit))
}

/// Visits each of them, for a traversal written by hand; stops at the first that the collector refuses.
///
/// # Safety
/// Live objects, shown to the collector in its own call.
pub unsafe fn visit_each(
    mut objects: impl Iterator<Item = *mut PyObject>,
    visit: visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: the caller's promise.
    objects
        .find_map(|object| Some(unsafe { visit(object, argument) }).filter(|&s| s != 0))
        .unwrap_or(0)
}

/// Python's True.
pub fn truth(py: Python<'_>) -> Py<PyAny> {
    PyBool::new(py, true).to_owned().into_any().unbind()
}
