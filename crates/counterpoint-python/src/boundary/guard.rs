//! [`Guard`]: the lock of the package's own Python code.

use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A lock that no exception of a signal's handler leaves locked.
///
/// From Python 3.14 on a handler may run just behind the `__enter__` of a `with` statement; what it
/// raises there finds no `__exit__` to call, and a lock would be locked for good. So each statement
/// has a holder of its own, which the interpreter lets go of then, and which unlocks.
///
/// Reentrant, for a handler that comes back to it. It is the interpreter's own lock, which no
/// observer is shown. A forked child makes new ones.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Guard {
    lock: Py<PyAny>,
}

#[pymethods]
impl Guard {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let lock = py.import("_thread")?.call_method0("RLock")?.unbind();
        Ok(Self { lock })
    }

    /// For one `with` statement.
    fn held(&self, py: Python<'_>) -> Holder {
        Holder { lock: self.lock.clone_ref(py), holds: AtomicBool::new(false) }
    }
}

/// What holds a [`Guard`] for the time of one `with` statement.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Holder {
    lock: Py<PyAny>,
    holds: AtomicBool,
}

#[pymethods]
impl Holder {
    /// Waits for it. No Python code runs behind that; before it, it is not held.
    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        if self.holds.load(Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err("a holder is for one with statement"));
        }
        self.lock.call_method0(py, intern!(py, "acquire"))?;
        self.holds.store(true, Ordering::Relaxed);
        Ok(())
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, py: Python<'_>, _error: &Bound<'_, PyAny>) -> PyResult<()> {
        self.release(py)
    }
}

impl Holder {
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        if self.holds.swap(false, Ordering::Relaxed) {
            self.lock.call_method0(py, intern!(py, "release"))?;
        }
        Ok(())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        if !*self.holds.get_mut() {
            return;
        }
        // The interpreter lets go of it, in the thread that has entered, while the exception is set.
        Python::attach(|py| {
            let error = PyErr::take(py);
            if let Err(failed) = self.release(py) {
                failed.write_unraisable(py, None);
            }
            if let Some(error) = error {
                error.restore(py);
            }
        });
    }
}
