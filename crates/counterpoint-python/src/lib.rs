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
mod executor;
mod multiprocessing;
mod process;
mod queue;
mod sync;

use pyo3::prelude::*;

/// To be called in a forked child: forgets the threads that the fork left behind.
#[pyfunction]
fn _after_fork() {
    counterpoint_sync::waiter::fork::forked();
}

/// The native half of counterpoint; use the public modules instead.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    boundary::register(module)?;
    executor::register(module)?;
    sync::register(module)?;
    queue::register(module)?;
    process::register(module)?;
    multiprocessing::register(module)?;
    module.add_function(wrap_pyfunction!(_after_fork, module)?)
}
