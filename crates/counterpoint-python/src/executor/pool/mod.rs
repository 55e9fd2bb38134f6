//! The thread pool: `counterpoint._core.Pool`, which workers share, and `PoolBase`, the executor's
//! native base class with `submit`.
//!
//! An executor owns a Pool; its workers hold the Pool and not the executor, so that an executor
//! that nobody uses any more dies, and its weak reference closes the Pool. Threads are started by
//! Python code, because they are `threading.Thread` objects, and run [`Pool::work`].

mod blocked;
mod context;
mod executor;
mod measures;
mod native;
mod submit;
mod task;
mod worker;
mod working;

pub use blocked::Blocked;
pub use native::Pool;
pub use working::{end_guesses, guess_wait, guess_wait_in_loop};

use pyo3::prelude::*;

/// Adds the types to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Pool>()?;
    module.add_function(wrap_pyfunction!(submit::_close_pools, module)?)?;
    module.add_function(wrap_pyfunction!(blocked::cancellation_token, module)?)?;
    let base = executor::make(module.py())?;
    module.add("PoolBase", base)
}
