//! [`Blocked`]: a worker whose task waits for its own pool does not count against the limit.

use super::working::Working;
use crate::executor::token::CancellationToken;
use pyo3::prelude::*;

/// The cancellation token of the task that this thread runs. It is told when the task's time
/// (`options(timeout=…)`) is over; outside of a task it never is.
#[pyfunction]
pub fn cancellation_token(py: Python<'_>) -> PyResult<Py<CancellationToken>> {
    match Working::current(py) {
        Some(working) => working.token(py),
        None => Py::new(py, CancellationToken::default()),
    }
}

/// Held while a thread waits. In a worker that waits for its own pool it lets the pool start
/// another worker in its place, so that tasks which wait for tasks of their own pool never deadlock.
/// One that waits for anything else goes on to count: the limit is one on such tasks, too.
pub struct Blocked<'py> {
    working: Option<&'py Working>,
    py: Python<'py>,
}

impl<'py> Blocked<'py> {
    /// Begins the wait, for what the pools that `concerns` names must do.
    pub fn enter(py: Python<'py>, concerns: impl FnOnce(usize) -> bool) -> PyResult<Self> {
        let working = Working::current(py).filter(|working| concerns(working.home()));
        if let Some(working) = working {
            working.begin(py)?;
        }
        Ok(Self { working, py })
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        if let Some(working) = self.working {
            working.end(self.py);
        }
    }
}
