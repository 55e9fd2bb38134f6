//! Contexts for callbacks, without making one where nothing is in it.
//!
//! A callback runs in a copy of the context in which it was scheduled. Most programs have no context
//! variables set where they schedule most callbacks, and a copy of nothing, made and dropped for each
//! callback, is a third of its cost. So a handle notes that its context is empty, and the loop runs it
//! in an empty one that it keeps, and replaces when something has been put into it.

use crate::boundary::{current_context, fetch};
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::cell::Cell;
use std::mem;
use std::ptr;

/// A copy of the current context; `Ok(None)`: it is empty. `Err`: an exception is set.
#[inline(always)]
pub fn copy_current(py: Python<'_>) -> Result<Option<Ref>, ()> {
    // SAFETY: attached; null or a live context, and a new reference or null.
    unsafe {
        if let Some(current) = current_context(py)
            && (current.is_null() || ffi::PyObject_Size(current) == 0)
        {
            return Ok(None);
        }
        Ref::owned(ffi::PyContext_CopyCurrent()).map(Some).ok_or(())
    }
}

/// Runs `f` in the context. An error of its own, or of entering or leaving.
#[inline(always)]
pub fn enter(py: Python<'_>, context: &Ref, f: impl FnOnce() -> PyResult<()>) -> PyResult<()> {
    // SAFETY: a live context.
    unsafe {
        if ffi::PyContext_Enter(context.as_ptr()) != 0 {
            return Err(fetch(py));
        }
        let inside = Inside(context);
        let done = f();
        mem::forget(inside);
        if ffi::PyContext_Exit(context.as_ptr()) != 0 {
            return done.and(Err(fetch(py)));
        }
        done
    }
}

/// A panic leaves the context too: else nobody could enter it again.
struct Inside<'a>(&'a Ref);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        // SAFETY: the context that was entered; an exception of that is told of where the panic goes.
        unsafe { ffi::PyContext_Exit(self.0.as_ptr()) };
    }
}

thread_local! {
    /// An empty context for the next callback of this thread that needs one.
    static SPARE: Cell<*mut PyObject> = const { Cell::new(ptr::null_mut()) };
}

/// An empty context that nobody else knows.
#[inline(always)]
pub fn take_spare(py: Python<'_>) -> PyResult<Ref> {
    // SAFETY: the cell owns what it points to, and gives it away.
    match unsafe { Ref::owned(SPARE.replace(ptr::null_mut())) } {
        Some(spare) => Ok(spare),
        None => empty(py),
    }
}

/// Drops the spare one of this thread: a thread's end is no place for that.
pub fn drop_spare(_: Python<'_>) {
    // SAFETY: the cell owns what it points to, and gives it away.
    drop(unsafe { Ref::owned(SPARE.replace(ptr::null_mut())) });
}

/// Keeps an empty context for the next time.
#[inline(always)]
pub fn give_spare(_: Python<'_>, context: Ref) {
    // SAFETY: as above; another may have been given meanwhile.
    drop(unsafe { Ref::owned(SPARE.replace(context.into_ptr())) });
}

/// A new, empty context.
pub fn empty(py: Python<'_>) -> PyResult<Ref> {
    // SAFETY: a reference of our own, or null with an exception set.
    unsafe { Ref::owned(ffi::PyContext_New()) }.ok_or_else(|| fetch(py))
}

/// Whether a context that a callback has run in is as good as new, and nobody else's.
#[inline(always)]
pub fn is_untouched(context: &Ref) -> bool {
    // SAFETY: a live context.
    unsafe { ffi::Py_REFCNT(context.as_ptr()) == 1 && ffi::PyObject_Size(context.as_ptr()) == 0 }
}
