//! `counterpoint._core.ProcessLock`: a lock between processes, which anybody may release.

use super::place::placed;
use crate::boundary::{block_outside, outside_deadline};
use counterpoint_shm::sync::{Locked, Mutex, Owner, Placed};
use pyo3::exceptions::PyValueError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyTuple};
use std::os::fd::AsRawFd;

/// A lock; robust.
#[pyclass(frozen, subclass, weakref, module = "counterpoint._core")]
pub struct ProcessLock(Placed<Mutex>);

/// What acquiring returns: True, or what the Python half makes of the end of the last holder.
pub fn acquired<'py>(lock: &Bound<'py, PyAny>, locked: Locked) -> PyResult<Bound<'py, PyAny>> {
    match locked {
        Locked::Free => Ok(truth(lock.py(), true)),
        Locked::FromDead(dead) => {
            lock.call_method1(intern!(lock.py(), "_inherited"), (dead.pid(),))
        }
    }
}

/// True or False.
pub fn truth(py: Python<'_>, value: bool) -> Bound<'_, PyAny> {
    PyBool::new(py, value).to_owned().into_any()
}

#[pymethods]
impl ProcessLock {
    #[new]
    #[pyo3(signature = (*_args, _fd = None, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _fd: Option<i32>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        placed(c"counterpoint-lock", _fd).map(Self)
    }

    /// Takes the lock; False if that took longer than `timeout` seconds.
    #[pyo3(signature = (block = true, timeout = None))]
    fn acquire<'py>(
        slf: &Bound<'py, Self>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, me, mutex) = (slf.py(), Owner::me(), &slf.get().0);
        if mutex.try_lock(me) {
            return Ok(truth(py, true));
        }
        let deadline = outside_deadline(block, timeout)?;
        let attempt = |insist| match insist {
            true => mutex.take(me).ok_or(()),
            false => mutex.lock_soon(me).then_some(Locked::Free).ok_or(()),
        };
        match block_outside(py, deadline, attempt, |(), until| mutex.sleep(until))? {
            Some(locked) => acquired(slf, locked),
            None => Ok(truth(py, false)),
        }
    }

    /// Frees the lock, whoever has it.
    fn release(&self) -> PyResult<()> {
        if self.0.unlock() {
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
        self.0.owner() == Some(Owner::me())
    }

    /// 1 while a thread of this process has it.
    fn _count(&self) -> u32 {
        let me = Owner::me();
        self.0.owner().is_some_and(|owner| owner.shares_process_with(me)).into()
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
