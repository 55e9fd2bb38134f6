//! What futures need of the stdlib: its exceptions, its logger, its Condition.

use super::FutureObject;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// `concurrent.futures.CancelledError`, once imported.
pub static CANCELLED_ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// A class of `concurrent.futures._base`.
pub fn class<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import(intern!(py, "concurrent.futures._base"))?.getattr(name)
}

/// An exception class of `concurrent.futures._base`, called with these arguments.
pub fn error<'py>(
    py: Python<'py>,
    name: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyErr {
    match class(py, name).and_then(|class| class.call1(arguments)) {
        Ok(error) => PyErr::from_value(error),
        Err(error) => error,
    }
}

/// A new `threading.Condition`.
pub fn condition(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "threading", "Condition")?.call0()
}

fn logger(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    class(py, "LOGGER")
}

/// Logs an exception that a callback raised; what is no `Exception` is handed back.
pub fn log_callback(py: Python<'_>, future: FutureObject, error: PyErr) -> PyResult<()> {
    if !error.is_instance_of::<pyo3::exceptions::PyException>(py) {
        return Err(error);
    }
    let options = PyDict::new(py);
    options.set_item(intern!(py, "exc_info"), error.into_value(py))?;
    let arguments = ("exception calling callback for %r", future.bind(py));
    logger(py)?.call_method(intern!(py, "error"), arguments, Some(&options))?;
    Ok(())
}

/// Logs what ends a worker in the stdlib; if even that fails, as unraisable.
pub fn log_critical(py: Python<'_>, text: &str, error: PyErr) {
    let log = || -> PyResult<()> {
        let options = PyDict::new(py);
        options.set_item(intern!(py, "exc_info"), error.value(py))?;
        logger(py)?.call_method(intern!(py, "critical"), (text,), Some(&options))?;
        Ok(())
    };
    if let Err(failed) = log() {
        failed.write_unraisable(py, None);
    }
}
