//! [`Arguments`]: what a vectorcall brought to a method that schedules a callback, which takes any
//! number of its own behind, and its context by name.

use super::bare::Bare;
use super::context;
use crate::boundary::{guarded, method, none};
use crate::executor::reference::Ref;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyBool, PyTuple};
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The word "context", interned.
static CONTEXT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// The tuple of that word alone by which the interpreter's own tasks and futures name the keyword, which is
/// never freed; null: they are not native.
static THEIRS: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// Makes what the functions need.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    CONTEXT.store(intern!(py, "context").clone().into_ptr(), Ordering::Relaxed);
    match py.import("_asyncio") {
        Ok(asyncio) => learn_theirs(&asyncio),
        Err(_) => Ok(()),
    }
}

/// Has a future call a loop that only looks at how.
fn learn_theirs(asyncio: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = asyncio.py();
    // A function's definition lives as long as the process.
    let looks = Box::leak(Box::new(method(c"call_soon", learn, c"Look at the names.")));
    // SAFETY: a new reference, or null with an exception set.
    let looks = unsafe {
        let made = ffi::PyCFunction_NewEx(looks, ptr::null_mut(), ptr::null_mut());
        Bound::from_owned_ptr_or_err(py, made)?
    };
    let nothing = py.get_type::<PyBool>().into_any();
    let given = [("get_debug", &nothing), ("call_soon", &looks)].into_py_dict(py)?;
    let looking = py.import("types")?.getattr("SimpleNamespace")?.call((), Some(&given))?;
    let given = [("loop", looking)].into_py_dict(py)?;
    let future = asyncio.getattr("Future")?.call((), Some(&given))?;
    future.call_method1("add_done_callback", (nothing,))?;
    future.call_method1("set_result", (py.None(),))?;
    Ok(())
}

/// `call_soon` of that loop.
unsafe extern "C" fn learn(
    _: *mut PyObject,
    _: *const *mut PyObject,
    _: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    if !names.is_null() {
        // SAFETY: the names of the running vectorcall.
        THEIRS.store(unsafe { Ref::new(names) }.into_ptr(), Ordering::Relaxed);
    }
    none()
}

/// What a vectorcall brought.
#[derive(Clone, Copy)]
pub struct Arguments {
    pub place: *const *mut PyObject,
    /// How many are positional.
    pub count: usize,
    pub names: *mut PyObject,
}

impl Arguments {
    /// The positional arguments from `first` on.
    ///
    /// # Safety
    /// There are at least as many.
    #[inline(always)]
    pub unsafe fn rest(self, first: usize) -> (*const *mut PyObject, usize) {
        // SAFETY: the caller's promise.
        (unsafe { self.place.add(first) }, self.count - first)
    }

    /// Whether something but the context is given by its name.
    ///
    /// # Safety
    /// The arguments are those of a running vectorcall.
    #[inline(always)]
    pub unsafe fn are_named(self) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            !self.names.is_null() && !self.is_context_alone() && self.named_otherwise().is_some()
        }
    }

    /// The first name that is not the context's.
    #[cold]
    unsafe fn named_otherwise(self) -> Option<*mut PyObject> {
        // SAFETY: a tuple of names.
        unsafe {
            let is_context =
                |name| ffi::PyUnicode_CompareWithASCIIString(name, c"context".as_ptr()) == 0;
            (0..ffi::PyTuple_GET_SIZE(self.names))
                .map(|index| ffi::PyTuple_GET_ITEM(self.names, index))
                .find(|name| !is_context(*name))
        }
    }

    /// Whether the context alone is given by name, as nearly all give it.
    #[inline(always)]
    unsafe fn is_context_alone(self) -> bool {
        // SAFETY: a tuple of names.
        unsafe {
            self.names == THEIRS.load(Ordering::Relaxed)
                || ffi::PyTuple_GET_SIZE(self.names) == 1
                    && ffi::PyTuple_GET_ITEM(self.names, 0) == CONTEXT.load(Ordering::Relaxed)
        }
    }

    /// The callback, if a task or future of the interpreter's own schedules it: who drops the handle at once.
    ///
    /// # Safety
    /// The arguments are those of a running vectorcall.
    #[inline(always)]
    pub unsafe fn asyncios(self) -> Option<Bare> {
        // SAFETY: the caller's promise; a tuple that is held is the only one at its place.
        unsafe {
            if self.names.is_null()
                || self.names != THEIRS.load(Ordering::Relaxed)
                || !(1..=2).contains(&self.count)
            {
                return None;
            }
            let context = *self.place.add(self.count);
            if ffi::PyContext_CheckExact(context) == 0 {
                return None;
            }
            let argument = (self.count == 2).then(|| Ref::new(*self.place.add(1)));
            let (function, context) = (Ref::new(*self.place), Some(Ref::new(context)));
            Some(Bare { function, argument, context })
        }
    }

    /// The context to call in: what was given, or a copy of the current one; `Ok(None)`: an empty
    /// one. `Err`: an exception is set.
    ///
    /// # Safety
    /// The arguments are those of a running vectorcall.
    #[inline(always)]
    pub unsafe fn context(self) -> Result<Option<Ref>, ()> {
        // SAFETY: the caller's promise: the keyword's value follows the positional arguments.
        unsafe {
            let py = Python::assume_attached();
            if self.names.is_null() {
                return context::copy_current(py);
            }
            if !self.is_context_alone() && !self.names_context(py)? {
                return context::copy_current(py);
            }
            let context = *self.place.add(self.count);
            if context == ffi::Py_None() {
                return context::copy_current(py);
            }
            if ffi::PyContext_CheckExact(context) == 0 {
                return refuse_context(context);
            }
            Ok(Some(Ref::new(context)))
        }
    }

    /// Whether the keyword `context` is given; any other is refused.
    ///
    /// # Safety
    /// As [`context`](Self::context), with names.
    #[cold]
    unsafe fn names_context(self, _: Python<'_>) -> Result<bool, ()> {
        // SAFETY: a tuple of names.
        let names = unsafe { Ref::new(self.names) };
        // SAFETY: the caller's promise.
        if let Some(other) = unsafe { self.named_otherwise() } {
            let _: *mut PyObject = guarded(|py| {
                // SAFETY: a name of the running call.
                let name = unsafe { Bound::from_borrowed_ptr(py, other) };
                let text = format!("got an unexpected keyword argument '{name}'");
                Err(PyTypeError::new_err(text))
            });
            return Err(());
        }
        // SAFETY: as above.
        Ok(unsafe { ffi::PyTuple_GET_SIZE(names.as_ptr()) } == 1)
    }
}

/// Anything that has a `run` like a context's may be one for asyncio; ours enters it natively.
#[cold]
fn refuse_context(context: *mut PyObject) -> Result<Option<Ref>, ()> {
    let _: *mut PyObject = guarded(|py| {
        // SAFETY: an argument of the running call.
        let context = unsafe { Bound::from_borrowed_ptr(py, context) };
        let kind = context.get_type().name()?;
        Err(PyTypeError::new_err(format!("context must be a contextvars.Context, not {kind}")))
    });
    Err(())
}

/// Calls `method` with the arguments that were named in their places.
///
/// # Safety
/// The arguments are those of a running vectorcall.
#[cold]
pub unsafe fn by_position(
    arguments: Arguments,
    method: &str,
    parameters: &[&str],
    call: impl FnOnce(Arguments) -> *mut PyObject,
) -> *mut PyObject {
    let Arguments { place, count, names } = arguments;
    guarded(|py| {
        // SAFETY: the caller's promise: a tuple of names, whose values lie behind the others.
        let (names, values) = unsafe {
            let names = Bound::from_borrowed_ptr(py, names).extract::<Vec<String>>()?;
            let values = std::slice::from_raw_parts(place, count + names.len());
            (names, values)
        };
        let named = |name: &str| {
            let at = names.iter().position(|given| given == name)?;
            Some(values[count + at])
        };
        let refuse = |text: String| Err(PyTypeError::new_err(format!("{method}() {text}")));
        for name in names.iter().map(String::as_str) {
            match parameters.iter().position(|parameter| *parameter == name) {
                Some(at) if at < count => {
                    return refuse(format!("got multiple values for argument '{name}'"));
                }
                None if name != "context" => {
                    return refuse(format!("got an unexpected keyword argument '{name}'"));
                }
                _ => {}
            }
        }
        let mut placed = values[..count].to_vec();
        for parameter in parameters.iter().skip(count) {
            match named(parameter) {
                Some(value) => placed.push(value),
                None => {
                    let text = format!("missing required positional argument: '{parameter}'");
                    return refuse(text);
                }
            }
        }
        let (count, context) = (placed.len(), named("context"));
        placed.extend(context);
        let names = context.map(|_| PyTuple::new(py, ["context"])).transpose()?;
        let names = names.as_ref().map_or(ptr::null_mut(), |names| names.as_ptr());
        let result = call(Arguments { place: placed.as_ptr(), count, names });
        // SAFETY: a new reference, or null with an exception set.
        Ok(unsafe { Bound::from_owned_ptr_or_err(py, result) }?.into_ptr())
    })
}
