//! The process pool as Python types: what crosses to the workers and back, and how.
//!
//! In the user's process: [`pool`] is the pool itself, [`submit`] the way in, [`courier`] the
//! thread that does what needs an interpreter, [`listener`] the one for what workers say,
//! [`outcome`] the way back. In a worker: [`serve`].

pub mod block;
pub mod codec;
pub mod context;
pub mod courier;
mod hiring;
mod kernel;
pub mod limit;
pub mod listener;
pub mod measured;
pub mod outcome;
pub mod parcel;
pub mod payload;
pub mod pool;
pub mod serve;
pub mod submit;

use pyo3::prelude::*;

/// Adds the types to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    codec::register(module)?;
    module.add_class::<block::Block>()?;
    module.add_class::<pool::ProcessPool>()?;
    module.add_class::<serve::Server>()?;
    module.add_function(wrap_pyfunction!(submit::_process_pool_base, module)?)?;
    module.add_class::<parcel::Parcel>()?;
    module.add_function(wrap_pyfunction!(parcel::_open_parcel, module)?)?;
    module.add_function(wrap_pyfunction!(limit::_limit_is_over, module)?)?;
    module.add_function(wrap_pyfunction!(kernel::_pidfd_open, module)?)?;
    module.add_function(wrap_pyfunction!(kernel::_pidfd_send_signal, module)?)?;
    module.add_function(wrap_pyfunction!(kernel::_memfd_create, module)?)?;
    module.add_function(wrap_pyfunction!(kernel::_die_with_parent, module)?)
}
