//! [`Bare`]: a callback that nobody has a handle of.
//!
//! The interpreter's own tasks and futures schedule most callbacks of most programs, and drop the handle of
//! each at once; who they are is known by how they name the context ([`Arguments::asyncios`]). Where
//! one is to be seen after all, by an exception handler or in debug mode, a handle is made then.
//!
//! [`Arguments::asyncios`]: super::arguments::Arguments::asyncios

use super::handle::{Call, HandleObject};
use super::operation::wakes_task;
use super::turn::{call_in, report, run_call};
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use std::ptr;

/// What is called, and with what.
pub struct Bare {
    pub function: Ref,
    pub argument: Option<Ref>,
    /// None: an empty one of its own.
    pub context: Option<Ref>,
}

/// `()`.
static NOTHING: PyOnceLock<Py<PyTuple>> = PyOnceLock::new();

/// Makes what is needed.
pub fn prepare(py: Python<'_>) {
    let _ = NOTHING.set(py, PyTuple::empty(py).unbind());
}

impl Bare {
    /// Calls it in its context, as handles are run.
    #[inline(always)]
    pub fn run(&self, py: Python<'_>, owner: &Bound<'_, PyAny>) -> PyResult<()> {
        let Some(context) = &self.context else {
            return run_call(py, None, &self.as_call(owner));
        };
        let done = call_in(py, context, || self.call(py));
        done.or_else(|raised| report(py, None, &self.as_call(owner), context, raised))
    }

    #[inline(always)]
    fn call(&self, py: Python<'_>) -> *mut PyObject {
        let function = self.function.as_ptr();
        // SAFETY: `self` holds references to all that is passed.
        unsafe {
            if let Some(argument) = &self.argument {
                return call_with_one(&self.function, argument.as_ptr());
            }
            // A task's step has no other way to be called than this, which the interpreter would come to as
            // well, by a longer way.
            let class = ffi::Py_TYPE(function);
            let has_vectorcall =
                ffi::PyType_HasFeature(class, ffi::Py_TPFLAGS_HAVE_VECTORCALL) != 0;
            match ((*class).tp_call, NOTHING.get(py)) {
                (Some(call), Some(nothing)) if !has_vectorcall => {
                    call(function, nothing.as_ptr(), ptr::null_mut())
                }
                _ => ffi::PyObject_CallNoArgs(function),
            }
        }
    }

    /// The same, once more.
    pub fn share(&self) -> Self {
        let share = |object: &Option<Ref>| object.as_ref().map(Ref::share);
        Self {
            function: self.function.share(),
            argument: share(&self.argument),
            context: share(&self.context),
        }
    }

    /// The same, as a handle has it.
    #[cold]
    fn as_call(&self, owner: &Bound<'_, PyAny>) -> Call {
        let Self { function, argument, context } = self.share();
        Call::of(function, argument, context, Ref::from(owner.clone()))
    }

    /// A handle that shows it.
    #[cold]
    pub fn shown(&self, py: Python<'_>, owner: &Bound<'_, PyAny>) -> PyResult<Ref> {
        HandleObject::of(py, &self.as_call(owner), self.context.as_ref())
    }

    /// What it holds.
    pub fn held(&self) -> impl Iterator<Item = &Ref> {
        [Some(&self.function), self.argument.as_ref(), self.context.as_ref()].into_iter().flatten()
    }
}

/// Calls a function with one argument. That by which a task is woken is one in C that takes just one: it is
/// called as the interpreter would, but for its look at how deep the stack is, which it is not here.
///
/// # Safety
/// Live objects, and an attached thread.
#[inline(always)]
unsafe fn call_with_one(function: &Ref, argument: *mut PyObject) -> *mut PyObject {
    let object = function.as_ptr();
    // SAFETY: the caller's promise, and by the checks. The flag gives the callee the place before the argument,
    // which is ours.
    unsafe {
        if wakes_task(function) {
            let wakeup = object.cast::<ffi::PyCFunctionObject>();
            let method = (*wakeup).m_ml;
            if (*method).ml_flags == ffi::METH_O {
                return ((*method).ml_meth.PyCFunction)((*wakeup).m_self, argument);
            }
        }
        let places = [ptr::null_mut(), argument];
        let flagged = 1 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        ffi::PyObject_Vectorcall(object, places.as_ptr().add(1), flagged, ptr::null_mut())
    }
}
