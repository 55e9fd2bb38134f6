//! [`Working`]: whose worker a thread is. [`Blocked`]: a worker whose task waits does not count
//! against the pool's limit.

use super::native::Pool;
use crate::executor::token::CancellationToken;
use pyo3::prelude::*;
use std::cell::Cell;
use std::ptr;

thread_local! {
    static CURRENT: Cell<*const Working> = const { Cell::new(ptr::null()) };
}

/// A worker's mark on its thread, for as long as its loop runs.
pub struct Working {
    pool: *const Pool,
    token: Cell<Option<Py<CancellationToken>>>,
}

impl Working {
    /// Runs `f` as a worker of `pool`.
    pub fn scope<R>(pool: &Pool, f: impl FnOnce(&Working) -> R) -> R {
        struct Restore(*const Working);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let working = Working { pool, token: Cell::new(None) };
        let _restore = Restore(CURRENT.replace(&raw const working));
        f(&working)
    }

    /// The mark on this thread, if it is a worker's.
    fn current<'a>(_: Python<'a>) -> Option<&'a Working> {
        // SAFETY: `scope` is on this thread's stack below, whose frame owns the mark.
        unsafe { CURRENT.get().as_ref() }
    }

    /// The token of the task that begins now; none if `None`.
    #[inline(always)]
    pub fn set_token(&self, token: Option<Py<CancellationToken>>) {
        drop(self.token.replace(token));
    }
}

/// The cancellation token of the task that this thread runs. It is told when the task's time
/// (`options(timeout=…)`) is over; outside of a task it never is.
#[pyfunction]
pub fn cancellation_token(py: Python<'_>) -> PyResult<Py<CancellationToken>> {
    let Some(working) = Working::current(py) else {
        return Py::new(py, CancellationToken::default());
    };
    let token = match working.token.take() {
        Some(token) => token,
        None => Py::new(py, CancellationToken::default())?,
    };
    working.token.set(Some(token.clone_ref(py)));
    Ok(token)
}

/// Held while a thread waits for a future. In a worker's thread it lets the pool start another
/// worker in its place, so that tasks which wait for tasks of their own pool never deadlock.
pub struct Blocked<'py> {
    pool: Option<&'py Pool>,
    py: Python<'py>,
}

impl<'py> Blocked<'py> {
    /// Begins the wait.
    pub fn enter(py: Python<'py>) -> PyResult<Self> {
        // SAFETY: the loop that set the mark keeps the pool alive.
        let pool = Working::current(py).and_then(|working| unsafe { working.pool.as_ref() });
        if let Some(pool) = pool {
            let call = pool.state.with(py, |state| state.block());
            pool.carry_out(py, call).inspect_err(|_| pool.state.with(py, |s| s.unblock()))?;
        }
        Ok(Self { pool, py })
    }
}

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        if let Some(pool) = self.pool {
            pool.state.with(self.py, |state| state.unblock());
        }
    }
}
