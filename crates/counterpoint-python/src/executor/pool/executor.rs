//! `counterpoint._core.PoolBase`: `submit` as a bare C function, in a class derived from the
//! stdlib's ThreadPoolExecutor. The same recipe as for Future; one field, the Pool.

use super::native::{Pool, Rejected, resolve_rejection};
use crate::boundary::{Spec, guarded, method, raw_type};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the field is: behind the base's own fields.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

/// The executor's Pool; `None` if its `__init__` did not run.
///
/// # Safety
/// `executor` is an instance of the class, and outlives the borrow; the field is set once.
#[inline(always)]
unsafe fn pool_of<'a>(py: Python<'a>, executor: *mut PyObject) -> Option<&'a Pool> {
    // SAFETY: the caller's promise; the class is frozen, so its content may be borrowed.
    unsafe {
        let field = *executor.byte_add(OFFSET.load(Ordering::Relaxed)).cast::<*mut PyObject>();
        if field.is_null() {
            return None;
        }
        let pool = Bound::ref_from_ptr(py, &field);
        Some(&*std::ptr::from_ref(pool.cast_unchecked::<Pool>().get()))
    }
}

/// `submit(fn, /, *args, **kwargs)`.
unsafe extern "C" fn submit(
    executor: *mut PyObject,
    arguments: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe {
        let py = Python::assume_attached();
        let Some(pool) = pool_of(py, executor) else { return refuse(count, true) };
        if count < 1 {
            return refuse(count, false);
        }
        let (function, rest) = (*arguments, arguments.add(1));
        let mut submitted = pool.submit(py, function, rest, count as usize - 1, names);
        loop {
            match submitted {
                Ok(future) => return future.into_ptr(),
                Err(rejected) => {
                    if !resolve(executor, rejected) {
                        return ptr::null_mut();
                    }
                }
            }
            submitted = pool.submit(py, function, rest, count as usize - 1, names);
        }
    }
}

/// Whether to try again; otherwise an exception is set.
#[cold]
fn resolve(executor: *mut PyObject, rejected: Rejected) -> bool {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let executor = unsafe { Bound::from_borrowed_ptr(py, executor) };
        resolve_rejection(&executor, rejected).map(|()| 0)
    }) == 0
}

#[cold]
fn refuse(_: ffi::Py_ssize_t, unready: bool) -> *mut PyObject {
    guarded(|_| {
        if unready {
            return Err(PyRuntimeError::new_err(
                "this executor was not initialised: call super().__init__() first",
            ));
        }
        Err(PyTypeError::new_err(
            "ThreadPoolExecutor.submit() missing 1 required positional argument: 'fn'",
        ))
    })
}

/// Makes the class.
pub fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let base = py.import("concurrent.futures.thread")?.getattr("ThreadPoolExecutor")?;
    // SAFETY: a live type object.
    let size = unsafe { (*base.as_ptr().cast::<PyTypeObject>()).tp_basicsize } as usize;
    let offset = size.next_multiple_of(align_of::<*mut PyObject>());
    OFFSET.store(offset, Ordering::Relaxed);
    let spec = Spec {
        name: c"counterpoint._core.PoolBase",
        size: offset + size_of::<*mut PyObject>(),
        flags: ffi::Py_TPFLAGS_BASETYPE,
        slots: Vec::new(),
        methods: vec![method(
            c"submit",
            submit,
            c"submit($self, fn, /, *args, **kwargs)\n--\n\nQueue fn(*args, **kwargs); return its Future.",
        )],
        members: vec![ffi::PyMemberDef {
            name: c"_pool".as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: offset as ffi::Py_ssize_t,
            flags: 0,
            doc: ptr::null(),
        }],
        attributes: Vec::new(),
    };
    raw_type(py, spec, Some(&base))
}
