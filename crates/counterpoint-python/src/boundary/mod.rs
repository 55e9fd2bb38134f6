//! The only place that attaches, detaches, converts, raises and visits for the collector.
//!
//! Rules: nothing in here or above calls Python, drops a Python reference or detaches inside
//! [`Protected::with`]; a fast path never detaches; every park goes through [`block_on`].

mod arguments;
mod behind;
mod blocking;
mod collect;
mod context;
mod failure;
mod guard;
#[cfg(not(Py_3_14))]
mod halt;
mod observe;
mod outside;
mod per_process;
mod protected;
mod raw;
mod spin;
mod summary;
mod task;
mod ticket;
mod view;

pub use arguments::{Timeout, bind, lock_arguments, lock_timeout, number, optional_timeout};
pub use behind::{Behind, Outline, prefetch};
pub use blocking::{block_for_sure, block_on, block_on_shared, block_on_waking, wake};
pub use collect::{traverse_waiters, truth, visit_each};
pub use context::current_context;
pub use failure::{bytes, fetch, os_error, waits};
#[cfg(not(Py_3_14))]
pub use halt::{halts_at_exit, still_halts_at_exit};
pub use observe::{Counts, Meter, is_observed, observe};
pub use outside::{block_outside, outside_deadline};
pub use per_process::PerProcess;
pub use protected::Protected;
pub use raw::{
    NamedMethod, Sole, Spec, attached, attribute, boolean, guarded, hide, method, new_reference,
    noargs, none, one, one_by_name, raw_type, slot, value,
};
pub use spin::{PATIENCE, await_claim, await_interpreter, detached, look_for, nothing_else};
pub use summary::{Buckets, Waits, buckets, seconds};
pub use task::{
    LoopWaker, TaskHandle, coming_owner, current_owner, is_loop_running, is_task, refuse_deadlock,
    refuse_deadlock_of_all, thread_owner,
};
pub use ticket::{PENDING, Pending, Place, Ticket, traverse_identity};
pub use view::View;

use pyo3::prelude::*;

/// Threads stop by themselves at the interpreter's exit.
#[cfg(Py_3_14)]
#[inline(always)]
pub const fn halts_at_exit() {}

/// The same.
#[cfg(Py_3_14)]
#[inline(always)]
pub const fn still_halts_at_exit() {}

/// Adds what the Python glue needs of the boundary to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    context::look_for_context(py);
    module.add_class::<Ticket>()?;
    module.add_function(wrap_pyfunction!(task::resolve, module)?)?;
    module.add_class::<LoopWaker>()?;
    module.add_class::<guard::Guard>()?;
    module.add_function(wrap_pyfunction!(guard::held, module)?)?;
    observe::register(module)?;
    let resolve = module.getattr("resolve")?.unbind();
    let object = py.import("builtins")?.getattr("object")?;
    // A second module object (a reload) shares these with the first.
    let _ = task::RESOLVE.set(py, resolve);
    let _ = PENDING.set(py, object.call0()?.unbind());
    module.add("PENDING", PENDING.get(py))
}
