//! Which context is current, without making a copy of it.
//!
//! Only its owner can say that: the thread's state, in a field whose place differs between versions of
//! CPython. It is looked for, once, by entering two contexts and seeing which word follows; where none
//! does, nothing is known.

use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many words of a thread's state are looked at: fewer than the smallest has.
const WORDS: usize = 36;

/// The field is not found.
const UNKNOWN: usize = usize::MAX;

static FIELD: AtomicUsize = AtomicUsize::new(UNKNOWN);

/// Looks for the field.
pub fn look_for_context(_: Python<'_>) {
    // SAFETY: words of the running thread's own state, which is longer.
    let word =
        |index: usize| unsafe { *ffi::PyThreadState_Get().cast::<*mut PyObject>().add(index) };
    let mut candidates: Vec<usize> = (0..WORDS).collect();
    for _ in 0..2 {
        // SAFETY: a new context, entered and left again.
        unsafe {
            let Some(context) = Ref::owned(ffi::PyContext_New()) else { return };
            if ffi::PyContext_Enter(context.as_ptr()) != 0 {
                ffi::PyErr_Clear();
                return;
            }
            candidates.retain(|&index| word(index) == context.as_ptr());
            ffi::PyContext_Exit(context.as_ptr());
            candidates.retain(|&index| word(index) != context.as_ptr());
        }
    }
    if let [index] = candidates[..] {
        FIELD.store(index, Ordering::Relaxed);
    }
}

/// This thread's context, borrowed; null if it has none yet. `None` if that is not known.
#[inline(always)]
pub fn current_context(_: Python<'_>) -> Option<*mut PyObject> {
    let field = FIELD.load(Ordering::Relaxed);
    // SAFETY: the thread is attached; the field is one of its state's, null or a live context.
    (field != UNKNOWN)
        .then(|| unsafe { *ffi::PyThreadState_Get().cast::<*mut PyObject>().add(field) })
}
