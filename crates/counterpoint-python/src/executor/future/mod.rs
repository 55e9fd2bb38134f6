//! `counterpoint._core.Future`: a native object that *is* a `concurrent.futures.Future`.
//!
//! A heap type whose base is the stdlib's Python class. Its memory is the base's (dictionary,
//! weak references, GC header) plus a [`Tail`](layout::Tail) of our own. The collector's traversal and
//! `tp_clear` are inherited from the base: they visit and clear the fields of the tail because those
//! are declared as object members; one of our own would recurse for ever through a Python base.
//! Deallocation is our own with a GIL (`recycled`) and inherited without. So nothing in the tail but
//! references may need freeing when the object dies: the list of waiting threads is empty then, since
//! every thread that waits holds a reference, and an empty list is given back at once.
//!
//! # The stdlib's view
//!
//! The stdlib's functions work on `_condition`, `_waiters`, `_state`, `_result`, `_exception` and
//! `_done_callbacks`. All but the first are computed from the tail. Once somebody has touched
//! `_condition`, it exists and is obeyed: every change of state acquires it and notifies it,
//! every reader acquires it, as in the stdlib. Until then a change is a few stores under
//! [`Protected`](crate::boundary::Protected).

mod attributes;
mod callbacks;
mod complete;
mod layout;
mod methods;
#[cfg(not(Py_GIL_DISABLED))]
mod recycled;
pub mod remote;
mod stdlib;
mod waiting;

pub use attributes::quoted_name;
pub use callbacks::take;
pub use complete::{
    Ending, Refused, announce, complete, fail, fail_attempt, restart, settled_or_watch, start,
    unwatch,
};
pub use layout::{FutureObject, new_future_of};
pub use methods::unexpected;
pub use stdlib::{CANCELLED_ERROR, log_critical};

use pyo3::prelude::*;

/// Makes the type and adds it to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let class = layout::make(py)?;
    module.add("ProcessFuture", remote::make(py, &class)?)?;
    module.add("Future", class)?;
    module.add_function(wrap_pyfunction!(remote::_check_ours, module)?)?;
    module.add_function(wrap_pyfunction!(waiting::pop_result, module)?)
}
