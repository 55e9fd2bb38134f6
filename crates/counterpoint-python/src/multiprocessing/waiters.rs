//! `counterpoint._core.ProcessWaiters`: those who wait at a condition between processes.

use super::place::placed;
use crate::boundary::{block_outside, outside_deadline};
use counterpoint_shm::sync::{Owner, Placed, SLOTS, Waiters};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::os::fd::AsRawFd;

/// A condition without its lock, which is the Python half's.
#[pyclass(frozen, subclass, weakref, module = "counterpoint._core")]
pub struct ProcessWaiters(Placed<Waiters>);

#[pymethods]
impl ProcessWaiters {
    #[new]
    #[pyo3(signature = (*_args, _fd = None, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _fd: Option<i32>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        placed(c"counterpoint-condition", _fd).map(Self)
    }

    /// Waits from now on; the slot in which.
    fn enter(&self) -> PyResult<usize> {
        self.0.enter(Owner::me()).ok_or_else(|| {
            PyRuntimeError::new_err(format!(
                "more than {SLOTS} threads wait at one condition: use several"
            ))
        })
    }

    /// Waits for a notification; None if none came within `timeout` seconds, True if it was
    /// inherited, and is used with this, False if the slot has it.
    #[pyo3(signature = (slot, timeout = None))]
    fn wait(&self, py: Python<'_>, slot: usize, timeout: Option<f64>) -> PyResult<Option<bool>> {
        let waiters = &self.0;
        let attempt = |insist| match waiters.is_notified(slot) {
            true => Ok(false),
            false if insist && waiters.inherit() => Ok(true),
            false => Err(()),
        };
        let sleep = |(), until| waiters.sleep(slot, until);
        let deadline = outside_deadline(true, timeout)?;
        block_outside(py, deadline, attempt, sleep)
    }

    /// Waits no more; whether there was a notification.
    fn leave(&self, slot: usize) -> bool {
        self.0.leave(slot)
    }

    /// Notifies `most` of those who wait; how many there were.
    fn notify(&self, most: usize) -> usize {
        self.0.notify(most)
    }

    /// How many wait.
    fn waiting(&self) -> usize {
        self.0.waiting()
    }

    fn _fd(&self) -> i32 {
        self.0.fd().as_raw_fd()
    }
}
