//! `create_task` and `create_future`: as they are mostly called, without a frame of Python.

use super::arguments::Arguments;
use super::native::{CLOSED, DEBUG, Loop};
use crate::executor::reference::Ref;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use std::ptr;

/// So many keywords of a task are passed on natively.
const MOST: usize = 3;

/// What the functions need.
struct Names {
    /// The namespaces in which asyncio looks up its classes, anew each time: programs change them.
    tasks: Py<PyDict>,
    futures: Py<PyDict>,
    /// `("loop",)`, and `("loop", "name")`.
    looped: Py<PyTuple>,
    named: Py<PyTuple>,
}

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

/// Makes what the functions need.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let namespace = |name| -> PyResult<Py<PyDict>> {
        let namespace = py.import(name)?.getattr("__dict__")?;
        Ok(namespace.cast_into::<PyDict>()?.unbind())
    };
    let (word, name) = (intern!(py, "loop"), intern!(py, "name"));
    let _ = NAMES.set(
        py,
        Names {
            tasks: namespace("asyncio.tasks")?,
            futures: namespace("asyncio.futures")?,
            looped: PyTuple::new(py, [word])?.unbind(),
            named: PyTuple::new(py, [word, name])?.unbind(),
        },
    );
    Ok(())
}

impl Names {
    /// The keywords of a task: the loop, and then those of the call.
    #[inline(always)]
    fn with_loop(&self, py: Python<'_>, given: *mut PyObject) -> Option<Ref> {
        // SAFETY: null, or a tuple of names that is alive.
        unsafe {
            if given.is_null() {
                return Some(Ref::new(self.looped.as_ptr()));
            }
            let name = intern!(py, "name").as_ptr();
            if ffi::PyTuple_GET_SIZE(given) == 1 && ffi::PyTuple_GET_ITEM(given, 0) == name {
                return Some(Ref::new(self.named.as_ptr()));
            }
            Ref::owned(ffi::PySequence_Concat(self.looped.as_ptr(), given))
        }
    }
}

/// A class by its name; `None` with an exception set.
#[inline(always)]
fn class(py: Python<'_>, namespace: &Py<PyDict>, name: &Bound<'_, PyAny>) -> Option<Ref> {
    let mut found = ptr::null_mut();
    // SAFETY: a live dict and a live string; a new reference or null.
    let class = unsafe {
        ffi::compat::PyDict_GetItemRef(namespace.as_ptr(), name.as_ptr(), &mut found);
        Ref::owned(found)
    };
    if class.is_none() && !PyErr::occurred(py) {
        PyAttributeError::new_err(format!("asyncio has no {name}")).restore(py);
    }
    class
}

/// Whether the loop makes tasks itself: it was given no factory.
///
/// # Safety
/// A live loop.
#[inline(always)]
unsafe fn makes_tasks(py: Python<'_>, owner: *mut PyObject) -> Option<bool> {
    // SAFETY: the caller's promise; a new reference, or null with an exception set.
    unsafe {
        let factory = ffi::PyObject_GetAttr(owner, intern!(py, "_task_factory").as_ptr());
        Some(Ref::owned(factory)?.as_ptr() == ffi::Py_None())
    }
}

/// `create_task(coro, **kwargs)`.
pub unsafe extern "C" fn create_task(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { place, count: count as usize, names };
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe {
        let py = Python::assume_attached();
        let plain = Loop::of(py, owner).is_some_and(|native| !native.is(CLOSED | DEBUG));
        let keywords = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) as usize };
        let usual = arguments.count == 1 && keywords <= MOST;
        if !plain || !usual || (keywords > 0 && names_loop(py, names)) {
            return slowly(py, owner, arguments);
        }
        match makes_tasks(py, owner) {
            Some(true) => {
                new_task(py, owner, arguments, keywords).map_or(ptr::null_mut(), Ref::into_ptr)
            }
            Some(false) => slowly(py, owner, arguments),
            None => ptr::null_mut(),
        }
    }
}

/// Whether a loop is named, which is an error: it is this one.
///
/// # Safety
/// A live tuple of names.
#[inline(always)]
unsafe fn names_loop(py: Python<'_>, names: *mut PyObject) -> bool {
    // SAFETY: the caller's promise; names are strings.
    unsafe {
        (0..ffi::PyTuple_GET_SIZE(names)).map(|at| ffi::PyTuple_GET_ITEM(names, at)).any(|given| {
            given != intern!(py, "name").as_ptr()
                && ffi::PyUnicode_CompareWithASCIIString(given, c"loop".as_ptr()) == 0
        })
    }
}

/// # Safety
/// One positional argument and at most [`MOST`] keywords, of a running vectorcall.
#[inline(always)]
unsafe fn new_task(
    py: Python<'_>,
    owner: *mut PyObject,
    arguments: Arguments,
    keywords: usize,
) -> Option<Ref> {
    let names = NAMES.get(py)?;
    let class = class(py, &names.tasks, intern!(py, "Task"))?;
    let words = names.with_loop(py, arguments.names)?;
    // SAFETY: the caller's promise; so many places are written as are told of.
    unsafe {
        let mut values = [ptr::null_mut(); 2 + MOST];
        (values[0], values[1]) = (*arguments.place, owner);
        for at in 0..keywords {
            values[2 + at] = *arguments.place.add(1 + at);
        }
        Ref::owned(ffi::PyObject_Vectorcall(class.as_ptr(), values.as_ptr(), 1, words.as_ptr()))
    }
}

/// In debug mode, with a factory, or called in a way that needs a word of complaint.
///
/// # Safety
/// The arguments are those of a running vectorcall to a method of `owner`.
#[cold]
unsafe fn slowly(py: Python<'_>, owner: *mut PyObject, arguments: Arguments) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        let method = ffi::PyObject_GetAttr(owner, intern!(py, "_create_task").as_ptr());
        let Some(method) = Ref::owned(method) else { return ptr::null_mut() };
        ffi::PyObject_Vectorcall(method.as_ptr(), arguments.place, arguments.count, arguments.names)
    }
}

/// `create_future()`.
pub unsafe extern "C" fn create_future(owner: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method is called attached; the names follow the values.
    unsafe {
        let py = Python::assume_attached();
        let Some(names) = NAMES.get(py) else { return ptr::null_mut() };
        let Some(class) = class(py, &names.futures, intern!(py, "Future")) else {
            return ptr::null_mut();
        };
        ffi::PyObject_Vectorcall(class.as_ptr(), &raw const owner, 0, names.looped.as_ptr())
    }
}
