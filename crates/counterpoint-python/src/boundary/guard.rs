//! [`Guard`]: the lock of the package's own Python code.

use super::Protected;
use counterpoint_sync::waiter::fork;
use pyo3::exceptions::PyRuntimeError;
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};

/// A lock that no exception of a signal's handler leaves locked.
///
/// A handler may run just behind a call of `acquire()`, and from Python 3.14 on just behind the
/// `__enter__` of a `with` statement; what it raises there finds nothing that would unlock. So each
/// statement has a [`Holder`] of its own, which the interpreter lets go of then, and which unlocks.
///
/// It is the interpreter's own lock, which no observer is shown, and another one in a forked child,
/// where nobody would unlock that of the parent.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Guard {
    /// For a handler that comes back to it.
    reentrant: bool,
    own: Protected<Own>,
}

struct Own {
    lock: Py<PyAny>,
    generation: u32,
}

impl Own {
    fn new(py: Python<'_>, reentrant: bool) -> PyResult<Self> {
        let make = if reentrant { intern!(py, "RLock") } else { intern!(py, "allocate_lock") };
        let lock = py.import("_thread")?.call_method0(make)?.unbind();
        Ok(Self { lock, generation: fork::generation() })
    }
}

#[pymethods]
impl Guard {
    #[new]
    #[pyo3(signature = (reentrant=true))]
    fn new(py: Python<'_>, reentrant: bool) -> PyResult<Self> {
        Ok(Self { reentrant, own: Protected::new(Own::new(py, reentrant)?) })
    }

    /// For one `with` statement, which is told whether it has it: always, but for a timeout in
    /// seconds.
    #[pyo3(signature = (timeout=None))]
    fn held(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Holder> {
        let known = self
            .own
            .with(py, |own| (own.generation == fork::generation()).then(|| own.lock.clone_ref(py)));
        let lock = known.map_or_else(|| self.renew(py), Ok)?;
        Ok(Holder { lock, timeout, holds: AtomicBool::new(false) })
    }
}

impl Guard {
    #[cold]
    fn renew(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut new = Own::new(py, self.reentrant)?;
        let lock = self.own.with(py, |own| {
            if own.generation != new.generation {
                std::mem::swap(own, &mut new);
            }
            own.lock.clone_ref(py)
        });
        Ok(lock)
    }
}

/// What holds a lock for the time of one `with` statement.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Holder {
    lock: Py<PyAny>,
    timeout: Option<f64>,
    holds: AtomicBool,
}

/// For one `with` statement on somebody else's lock or condition, whose methods are native.
#[pyfunction]
pub fn held(lock: Py<PyAny>) -> Holder {
    Holder { lock, timeout: None, holds: AtomicBool::new(false) }
}

#[pymethods]
impl Holder {
    /// Waits for it. No Python code runs behind that; before it, it is not held.
    fn __enter__(&self, py: Python<'_>) -> PyResult<bool> {
        if self.holds.load(Ordering::Relaxed) {
            return Err(PyRuntimeError::new_err("a holder is for one with statement"));
        }
        let acquire = intern!(py, "acquire");
        let got = match self.timeout {
            None => self.lock.call_method0(py, acquire),
            Some(seconds) if seconds > 0.0 => self.lock.call_method1(py, acquire, (true, seconds)),
            Some(_) => self.lock.call_method1(py, acquire, (false,)),
        }?;
        let holds = got.is_truthy(py)?;
        self.holds.store(holds, Ordering::Relaxed);
        Ok(holds)
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
