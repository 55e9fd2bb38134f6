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

#[cfg(not(Py_GIL_DISABLED))]
use crate::boundary::current_context;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
#[cfg(not(Py_GIL_DISABLED))]
use pyo3::{PyErr, Python, sync::PyOnceLock};
use std::ffi::{c_int, c_void};
use std::ptr;

/// The mapping that holds a context's variables; contexts with the same variables may share it. Null
/// if the interpreter shows none. Of an entered context it may be another context.
///
/// `context` is a live context.
fn variables(context: *mut PyObject) -> *mut PyObject {
    unsafe extern "C" fn keep(object: *mut PyObject, found: *mut c_void) -> c_int {
        // SAFETY: `found` is the pointer below.
        unsafe { *found.cast::<*mut PyObject>() = object };
        0
    }
    let mut found: *mut PyObject = ptr::null_mut();
    // SAFETY: a live object whose type has a traversal; it visits what the context holds, and calls
    // nothing else.
    unsafe {
        if let Some(traverse) = (*ffi::Py_TYPE(context)).tp_traverse {
            traverse(context, keep, (&raw mut found).cast());
        }
    }
    found
}

/// The same of the current context; null if that cannot be told without a copy of it.
#[cfg(not(Py_GIL_DISABLED))]
#[inline(always)]
fn current_variables(py: Python<'_>) -> *mut PyObject {
    static SHOWN: PyOnceLock<bool> = PyOnceLock::new();
    let shown = match SHOWN.get(py) {
        Some(shown) => *shown,
        None => *SHOWN.get_or_init(py, || entered_ones_show_them(py)),
    };
    match current_context(py) {
        Some(current) if shown && !current.is_null() => variables(current),
        _ => ptr::null_mut(),
    }
}

/// Whether a traversal comes to the variables of an entered context last, behind the context from
/// which it was entered.
#[cfg(not(Py_GIL_DISABLED))]
#[cold]
fn entered_ones_show_them(py: Python<'_>) -> bool {
    // SAFETY: attached; new contexts, or null with an exception set.
    let new = || unsafe { Ref::owned(ffi::PyContext_New()) };
    let (mut seen, Some(outer), Some(inner)) = (ptr::null_mut(), new(), new()) else {
        let _ = PyErr::take(py);
        return false;
    };
    call_in(&outer, || {
        call_in(&inner, || {
            seen = variables(inner.as_ptr());
            None
        })
    });
    !seen.is_null() && seen == variables(inner.as_ptr())
}

/// Whether a context holds variables that nothing else does: dropping it may run a destructor.
fn is_last_owner(context: &Ref) -> bool {
    let variables = variables(context.as_ptr());
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
