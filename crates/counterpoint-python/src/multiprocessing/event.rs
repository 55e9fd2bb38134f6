//! `counterpoint._core.ProcessEvent`: a flag between processes.

use super::place::placed;
use crate::boundary::{block_outside, outside_deadline};
use counterpoint_shm::sync::{Event, Placed};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::os::fd::AsRawFd;

/// An event.
#[pyclass(frozen, subclass, weakref, module = "counterpoint._core")]
pub struct ProcessEvent(Placed<Event>);

#[pymethods]
impl ProcessEvent {
    #[new]
    #[pyo3(signature = (*_args, _fd = None, **_kwargs))]
    fn new(
        _args: &Bound<'_, PyTuple>,
        _fd: Option<i32>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        placed(c"counterpoint-event", _fd).map(Self)
    }

    /// Whether it is set.
    fn is_set(&self) -> bool {
        self.0.is_set()
    }

    /// Sets it, and wakes all who wait.
    fn set(&self) {
        self.0.set();
    }

    /// Clears it.
    fn clear(&self) {
        self.0.clear();
    }

    /// Waits until it is set; False if that took longer than `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let event = &self.0;
        if event.is_set() {
            return Ok(true);
        }
        let (seen, deadline) = (event.see(), outside_deadline(true, timeout)?);
        let attempt = |_| if event.was_set(seen) { Ok(()) } else { Err(()) };
        let sleep = |(), until| event.sleep(seen, until);
        Ok(block_outside(py, deadline, attempt, sleep)?.is_some())
    }

    fn _fd(&self) -> i32 {
        self.0.fd().as_raw_fd()
    }
}
