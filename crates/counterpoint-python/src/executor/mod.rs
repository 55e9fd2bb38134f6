//! Futures and the thread pool as Python types. No algorithm here: those are in
//! `counterpoint_sync::executor`.

mod collector;
pub mod future;
mod pool;
pub mod reference;
pub mod shed;
mod timer;
mod token;

use pyo3::prelude::*;

/// Adds the types to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    future::register(module)?;
    module.add_class::<collector::Collector>()?;
    module.add_class::<token::CancellationToken>()?;
    module.add_function(wrap_pyfunction!(timer::_sweep_timers, module)?)?;
    module.add_function(wrap_pyfunction!(timer::_forget_timers, module)?)?;
    module.add_function(wrap_pyfunction!(timer::_prepare_timers, module)?)?;
    module.add_function(wrap_pyfunction!(timer::_serve_timers, module)?)?;
    pool::register(module)
}
