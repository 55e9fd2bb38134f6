//! `counterpoint._core.ProcessRLock`: a lock between processes that its holder may take again.

use super::lock::{acquired, truth};
use super::place::placed;
use crate::boundary::{block_outside, outside_deadline};
use counterpoint_shm::sync::{Owner, Placed, Reentrant};
use pyo3::exceptions::PyAssertionError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::os::fd::AsRawFd;

/// A reentrant lock; robust.
#[pyclass(frozen, subclass, weakref, module = "counterpoint._core")]
pub struct ProcessRLock(Placed<Reentrant>);

#[pymethods]
impl ProcessRLock {
    #[new]
    #[pyo3(signature = (*_args, _fd = None, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _fd: Option<i32>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        placed(c"counterpoint-rlock", _fd).map(Self)
    }

    /// Takes the lock, once more if it is one's own; False if that took longer than `timeout`
    /// seconds.
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire<'py>(
        slf: &Bound<'py, Self>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, me, lock) = (slf.py(), Owner::me(), &slf.get().0);
        if lock.try_lock(me) {
            return Ok(truth(py, true));
        }
        let deadline = outside_deadline(block, timeout)?;
        let attempt = |insist| match insist {
            true => lock.take(me).ok_or(()),
            false => lock.lock_soon(me).ok_or(()),
        };
        match block_outside(py, deadline, attempt, |(), until| lock.sleep(until))? {
            Some(locked) => acquired(slf, locked),
            None => Ok(truth(py, false)),
        }
    }

    /// Takes back one taking.
    fn release(&self) -> PyResult<()> {
        if self.0.unlock(Owner::me()) {
            return Ok(());
        }
        Err(PyAssertionError::new_err("attempt to release recursive lock not owned by thread"))
    }

    fn __enter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::acquire(slf, true, None)
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, _error: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release()
    }

    /// Whether somebody has it.
    fn locked(&self) -> bool {
        self.0.owner().is_some()
    }

    /// The process that has it, or None.
    #[getter]
    fn owner(&self) -> Option<u32> {
        self.0.owner().map(Owner::pid)
    }

    /// How many holders died with it.
    #[getter]
    fn owner_deaths(&self) -> u32 {
        self.0.deaths()
    }

    fn _is_mine(&self) -> bool {
        self.0.is_held_by(Owner::me())
    }

    /// How often a thread of this process has it.
    fn _count(&self) -> u32 {
        let ours = |owner: Owner| owner.shares_process_with(Owner::me());
        if self.0.owner().is_some_and(ours) { self.0.count() } else { 0 }
    }

    fn _get_value(&self) -> u32 {
        self.0.owner().is_none().into()
    }

    fn _is_zero(&self) -> bool {
        self.0.owner().is_some()
    }

    fn _fd(&self) -> i32 {
        self.0.fd().as_raw_fd()
    }
}
