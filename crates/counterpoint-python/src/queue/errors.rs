//! The queue's exceptions, which are the stdlib's own classes where it has them.

use counterpoint_sync::queue::Denied;
use pyo3::exceptions::{PyRuntimeError, PySystemError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static FULL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static SHUT_DOWN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static MOVED: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

const MODULE: &str = "counterpoint._queue.errors";

/// The exception for a denied operation; `Undecided` never gets here.
pub fn denied(py: Python<'_>, why: Denied) -> PyErr {
    let (place, name) = match why {
        Denied::Empty => (&EMPTY, "Empty"),
        Denied::Full => (&FULL, "Full"),
        Denied::ShutDown => (&SHUT_DOWN, "ShutDown"),
        Denied::Foreign => (&MOVED, "Moved"),
        Denied::Undecided => return PySystemError::new_err("a comparison was left undecided"),
    };
    let raised = place.import(py, MODULE, name).and_then(|class| class.call0());
    raised.map_or_else(|error| error, PyErr::from_value)
}

/// A blocking call from within a comparison of the same queue, which would wait for itself.
pub fn within_itself(call: &str) -> PyErr {
    PyRuntimeError::new_err(format!(
        "{call}() would wait for the call of the same thread that it was made from: use \
         {call}_nowait() in what a queue's comparisons run"
    ))
}
