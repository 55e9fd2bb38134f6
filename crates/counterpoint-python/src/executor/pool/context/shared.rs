//! With a GIL, tasks submitted under the same variables share a snapshot of them.
//!
//! A copy for every task would be made by the submitter and freed by a worker, both of which cost
//! more than entering it. So a pool remembers the latest [`Snapshot`] for as long as a task has it,
//! and a task that finds its submitter's variables there takes part in it. Workers run in *copies*
//! of a snapshot, and return one that is as it was: nobody kept it, and its variables are the
//! snapshot's. A task that sets a variable thus keeps the copy to itself, as if it had been made for
//! it, and the task that has a snapshot alone runs in the snapshot's own context.
//!
//! All of this is attached code: with a GIL that is mutual exclusion, and the counts are plain ones.
//!
//! The contexts are kept out of the collector's sight, where they would be more objects of waiting
//! tasks to go through. They cannot keep a cycle alive for longer than a task waits, and a worker or
//! the pool's end takes every task.

use super::{call_in, current_variables, is_last_owner, variables};
use crate::boundary::Protected;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::cell::Cell;
use std::ptr;
use std::rc::{Rc, Weak};

/// The latest snapshot, as long as a task has it.
#[derive(Default)]
pub struct Recent(Protected<Remembered>);

#[derive(Default)]
struct Remembered(Weak<Snapshot>);

// SAFETY: used and dropped by attached threads only, one at a time with a GIL.
unsafe impl Send for Remembered {}

/// A part in a snapshot.
pub struct Context(Rc<Snapshot>);

// SAFETY: used and dropped by attached threads only, one at a time with a GIL.
unsafe impl Send for Context {}

/// A submitter's context as it was.
struct Snapshot {
    original: Hidden,
    /// The variables that `original` holds; null once a task has the snapshot for itself.
    variables: Cell<*mut PyObject>,
    /// A copy in which a task ran.
    spare: Cell<Option<Hidden>>,
    /// What the task had before it changed a copy. Dropped with it: destructors have their time.
    before: Option<Context>,
}

impl Context {
    /// The current context; `None` with an exception set if memory is short.
    #[inline(always)]
    pub fn copy_current(py: Python<'_>, recent: &Recent) -> Option<Self> {
        if let Some(snapshot) = recent.0.with(py, |Remembered(snapshot)| snapshot.upgrade())
            && snapshot.is_of(current_variables(py))
        {
            return Some(Self(snapshot));
        }
        // SAFETY: attached; a new reference or null.
        let copy = unsafe { Ref::owned(ffi::PyContext_CopyCurrent()) }?;
        let variables = variables(copy.as_ptr());
        let context = Self::new(Hidden::new(copy), variables, None);
        let latest = Remembered(Rc::downgrade(&context.0));
        drop(recent.0.with(py, |recent| std::mem::replace(recent, latest)));
        Some(context)
    }

    fn new(original: Hidden, variables: *mut PyObject, before: Option<Self>) -> Self {
        let (variables, spare) = (Cell::new(variables), Cell::new(None));
        Self(Rc::new(Snapshot { original, variables, spare, before }))
    }

    /// Makes a call in this context; `None` with an exception set if it raised.
    #[inline(always)]
    pub fn run(&mut self, call: impl FnOnce() -> Option<Ref>) -> Option<Ref> {
        if Rc::strong_count(&self.0) == 1 {
            // From here on no submission joins.
            self.0.variables.set(ptr::null_mut());
            return call_in(self.0.original.get(), call);
        }
        let copy = self.0.copy()?;
        let result = call_in(copy.get(), call);
        if copy.is_untouched(self.0.variables.get()) {
            self.0.spare.set(Some(copy));
        } else {
            self.keep(copy);
        }
        result
    }

    /// The copy is this task's own now.
    #[cold]
    fn keep(&mut self, copy: Hidden) {
        let before = Self(self.0.clone());
        *self = Self::new(copy, ptr::null_mut(), Some(before));
    }

    /// Whether it holds what no other context does: a variable was set in it.
    pub fn is_last_owner(&self) -> bool {
        let Snapshot { original, spare, before, .. } = &*self.0;
        if Rc::strong_count(&self.0) > 1 {
            return false;
        }
        spare.set(None);
        is_last_owner(original.get()) || before.as_ref().is_some_and(Self::is_last_owner)
    }
}

impl Snapshot {
    /// Whether it holds these variables, and others may join.
    #[inline(always)]
    fn is_of(&self, variables: *mut PyObject) -> bool {
        !variables.is_null() && self.variables.get() == variables
    }

    /// A context with the snapshot's variables; `None` with an exception set if memory is short.
    #[inline(always)]
    fn copy(&self) -> Option<Hidden> {
        self.spare.take().or_else(|| {
            // SAFETY: attached; a live context, and a new reference or null.
            unsafe {
                Ref::owned(ffi::PyContext_Copy(self.original.get().as_ptr())).map(Hidden::new)
            }
        })
    }
}

/// A context that the collector does not know.
struct Hidden(Option<Ref>);

impl Hidden {
    #[inline(always)]
    fn new(context: Ref) -> Self {
        // SAFETY: a new context, which the collector tracks.
        unsafe { ffi::PyObject_GC_UnTrack(context.as_ptr().cast()) };
        Self(Some(context))
    }

    #[inline(always)]
    fn get(&self) -> &Ref {
        self.0.as_ref().expect("taken on drop only")
    }

    /// Whether it has these variables, and nobody else has it: a token would.
    #[inline(always)]
    fn is_untouched(&self, expected: *mut PyObject) -> bool {
        let context = self.get();
        // SAFETY: a live object.
        variables(context.as_ptr()) == expected && unsafe { ffi::Py_REFCNT(context.as_ptr()) == 1 }
    }
}

impl Drop for Hidden {
    #[inline(always)]
    fn drop(&mut self) {
        let Some(context) = self.0.take() else { return };
        // SAFETY: untracked by `new`; its destructor wants to find it tracked.
        unsafe { ffi::PyObject_GC_Track(context.as_ptr().cast()) };
    }
}
