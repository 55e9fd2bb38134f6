//! Without a GIL each task has a copy of its own: a count shared between threads costs more.

use super::{call_in, is_last_owner};
use crate::executor::reference::Ref;
use pyo3::ffi;
use pyo3::prelude::*;

/// Nothing is remembered.
#[derive(Default)]
pub struct Recent(());

/// A copy of the submitter's context.
pub struct Context(Ref);

impl Context {
    /// A copy of the current context; `None` with an exception set if memory is short.
    #[inline(always)]
    pub fn copy_current(_: Python<'_>, _: &Recent) -> Option<Self> {
        // SAFETY: attached; a new reference or null.
        unsafe { Ref::owned(ffi::PyContext_CopyCurrent()).map(Self) }
    }

    /// Makes a call in this context; `None` with an exception set if it raised.
    #[inline(always)]
    pub fn run(&mut self, call: impl FnOnce() -> Option<Ref>) -> Option<Ref> {
        call_in(&self.0, call)
    }

    /// Whether it holds what no other context does: a variable was set in it.
    pub fn is_last_owner(&self) -> bool {
        is_last_owner(&self.0)
    }
}
