//! `counterpoint._core.ProcessSemaphore`: a counter of permits between processes.

use super::lock::{acquired, truth};
use super::place::placed;
use crate::boundary::{block_outside, outside_deadline};
use counterpoint_shm::sync::{Locked, MOST, Owner, Placed, Semaphore};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::os::fd::AsRawFd;

/// A semaphore, bounded if it is told so; robust.
#[pyclass(frozen, subclass, weakref, module = "counterpoint._core")]
pub struct ProcessSemaphore(Placed<Semaphore>);

#[pymethods]
impl ProcessSemaphore {
    #[new]
    #[pyo3(signature = (*_args, _fd = None, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _fd: Option<i32>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        placed(c"counterpoint-semaphore", _fd).map(Self)
    }

    /// Sets the number of permits, and the most that there may be.
    fn _set(&self, value: i64, limit: Option<i64>) -> PyResult<()> {
        let permits = |value: i64| {
            u32::try_from(value).ok().filter(|value| *value <= MOST).ok_or_else(|| {
                PyValueError::new_err(format!("semaphore value must be 0 to {MOST}, not {value}"))
            })
        };
        let limit = limit.map_or(Ok(MOST), permits)?;
        self.0.set_up(permits(value)?, limit);
        Ok(())
    }

    /// Takes a permit; False if there was none within `timeout` seconds.
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire<'py>(
        slf: &Bound<'py, Self>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, me, semaphore) = (slf.py(), Owner::me(), &slf.get().0);
        match semaphore.try_acquire(me) {
            Some(Locked::Free) => return Ok(truth(py, true)),
            Some(locked) => return acquired(slf, locked),
            None => {}
        }
        let deadline = outside_deadline(block, timeout)?;
        let attempt = |insist| match insist {
            true => semaphore.take(me).ok_or(()),
            false => semaphore.try_acquire(me).ok_or(()),
        };
        match block_outside(py, deadline, attempt, |(), until| semaphore.sleep(until))? {
            Some(locked) => acquired(slf, locked),
            None => Ok(truth(py, false)),
        }
    }

    /// Returns a permit.
    fn release(&self) -> PyResult<()> {
        if self.0.release(Owner::me()) {
            return Ok(());
        }
        Err(PyValueError::new_err("semaphore or lock released too many times"))
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::acquire(slf, true, None)
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, _error: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release()
    }

    /// Whether there is no permit.
    fn locked(&self) -> bool {
        self.0.value() == 0
    }

    /// How many permits there are.
    fn get_value(&self) -> u32 {
        self.0.value()
    }

    /// The most there may be.
    #[getter]
    fn maxvalue(&self) -> u32 {
        self.0.limit()
    }

    /// How many processes died with permits that others got.
    #[getter]
    fn owner_deaths(&self) -> u32 {
        self.0.deaths()
    }

    /// Whether a process that dies with a permit has lost it for all.
    #[getter]
    fn _is_counter(&self) -> bool {
        self.0.is_counter()
    }

    fn _get_value(&self) -> u32 {
        self.0.value()
    }

    fn _is_zero(&self) -> bool {
        self.0.value() == 0
    }

    fn _fd(&self) -> i32 {
        self.0.fd().as_raw_fd()
    }
}
