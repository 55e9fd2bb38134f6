//! [`Context`]: the context in which a task runs, a copy of the submitter's that no Python code can
//! name. With a GIL, tasks that were submitted under the same variables share one.

#[cfg(Py_GIL_DISABLED)]
mod own;
#[cfg(not(Py_GIL_DISABLED))]
mod shared;

#[cfg(Py_GIL_DISABLED)]
pub use own::{Context, Recent};
#[cfg(not(Py_GIL_DISABLED))]
pub use shared::{Context, Recent};

use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use std::ffi::{c_int, c_void};
use std::ptr;

/// The mapping that holds a context's variables; contexts with the same variables may share it. Null
/// if the interpreter shows none. `context` is not entered: an entered one may hold another context.
fn variables(context: &Ref) -> *mut PyObject {
    unsafe extern "C" fn keep(object: *mut PyObject, found: *mut c_void) -> c_int {
        // SAFETY: `found` is the pointer below.
        unsafe { *found.cast::<*mut PyObject>() = object };
        0
    }
    let mut found: *mut PyObject = ptr::null_mut();
    // SAFETY: a live object whose type has a traversal; it visits what the context holds, and calls
    // nothing else.
    unsafe {
        if let Some(traverse) = (*ffi::Py_TYPE(context.as_ptr())).tp_traverse {
            traverse(context.as_ptr(), keep, (&raw mut found).cast());
        }
    }
    found
}

/// Whether a context holds variables that nothing else does: dropping it may run a destructor.
fn is_last_owner(context: &Ref) -> bool {
    let variables = variables(context);
    // SAFETY: null, or alive as long as the context.
    !variables.is_null() && unsafe { ffi::Py_REFCNT(variables) == 1 }
}

/// Makes a call in a context that is not entered; `None` with an exception set if it raised.
#[inline(always)]
fn call_in(context: &Ref, call: impl FnOnce() -> Option<Ref>) -> Option<Ref> {
    // SAFETY: a live context; the worker's thread is attached.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return None;
        }
        let result = call();
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            return None;
        }
        result
    }
}
