//! `counterpoint._core`: the core crates as Python types. The only crate that names pyo3.
//!
//! Purpose: to wrap states of `counterpoint-sync` into Python objects, and nothing else.
//! Vocabulary: see `boundary`, the one door between attached and detached, Python and Rust.
//!
//! Invariants: no Python call and no dropped reference inside a state's lock; no park outside
//! `boundary::block_on`; no algorithm in this crate.
//!
//! What it never does: wait while attached, or rely on the GIL without saying so in a type.

#![deny(clippy::undocumented_unsafe_blocks)]

mod boundary;
mod event_loop;
mod executor;
mod multiprocessing;
mod process;
mod queue;
mod sync;

use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use std::sync::OnceLock;

/// Makes every child of a fork forget, before anything else runs in it, the threads that the fork
/// left behind. Once, however many interpreters and modules there are.
fn notice_forks() -> PyResult<()> {
    static NOTICED: OnceLock<i32> = OnceLock::new();
    extern "C" fn before() {
        counterpoint_pool::forks::prepare();
    }
    extern "C" fn in_parent() {
        counterpoint_pool::forks::release();
    }
    extern "C" fn in_child() {
        counterpoint_sync::waiter::fork::forked();
        counterpoint_pool::forks::release();
    }
    let (before, parent, child) = (Some(before as _), Some(in_parent as _), Some(in_child as _));
    // SAFETY: the handlers are functions of this library, which is never unloaded; they run where
    // memory can be had, and take locks that the forking thread does not hold.
    let failed = *NOTICED.get_or_init(|| unsafe { libc::pthread_atfork(before, parent, child) });
    if failed == 0 { Ok(()) } else { Err(PyMemoryError::new_err("pthread_atfork")) }
}

/// The native half of counterpoint; use the public modules instead.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // pyo3 makes sure of the interpreter when a thread that is detached attaches for the first time, and
    // panics if that is so late that the interpreter has begun to end; or, on Python 3.15, so early
    // that it is not complete, while `site` is imported.
    // SAFETY: a question that may be asked at any time.
    if unsafe { pyo3::ffi::Py_IsInitialized() } != 0 {
        module.py().detach(|| Python::attach(|_| ()));
    }
    notice_forks()?;
    boundary::register(module)?;
    executor::register(module)?;
    sync::register(module)?;
    queue::register(module)?;
    process::register(module)?;
    multiprocessing::register(module)?;
    event_loop::register(module)
}
