//! What the objects show the garbage collector, and other small conversions.

use super::TaskHandle;
use counterpoint_sync::waiter::WaitList;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyBool;

/// Visits the tasks in a list.
pub fn traverse_waiters(
    waiters: &WaitList<TaskHandle>,
    visit: &PyVisit<'_>,
) -> Result<(), PyTraverseError> {
    waiters.iter().filter_map(|waiter| waiter.notify()).try_for_each(|task| task.traverse(visit))
}

/// Python's True.
pub fn truth(py: Python<'_>) -> Py<PyAny> {
    PyBool::new(py, true).to_owned().into_any().unbind()
}
