//! `counterpoint._core.PoolBase`: `submit` as a bare C function, in a class derived from the
//! stdlib's ThreadPoolExecutor. The same recipe as for Future; one field, the Pool.

use super::native::Pool;
use crate::boundary::{Spec, attribute, guarded, hide, method, raw_type};
use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the field is: behind the base's own fields.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

/// The executor's Pool; `None` if its `__init__` did not run.
///
/// # Safety
/// `executor` is an instance of the class, and outlives the borrow; what the field once held is
/// never freed before.
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
        match pool.submit(py, function, rest, count as usize - 1, names) {
            Ok(future) => future.into_ptr(),
            Err(unfinished) => guarded(|py| {
                let executor = Bound::from_borrowed_ptr(py, executor);
                pool.finish(&executor, unfinished).map(crate::executor::reference::Ref::into_ptr)
            }),
        }
    }
}

/// The field.
///
/// # Safety
/// `executor` is an instance of the class.
unsafe fn field(executor: *mut PyObject) -> *mut *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe { executor.byte_add(OFFSET.load(Ordering::Relaxed)).cast() }
}

unsafe extern "C" fn get_pool(executor: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of an attribute; the field is null or owns a live object.
        let pool = unsafe { Bound::from_borrowed_ptr_or_opt(py, *field(executor)) };
        let pool = pool.ok_or_else(|| PyAttributeError::new_err("_counterpoint_pool"))?;
        Ok(pool.into_ptr())
    })
}

unsafe extern "C" fn set_pool(
    executor: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        // SAFETY: null (a deletion) or a live object.
        let value = unsafe { Bound::from_borrowed_ptr_or_opt(py, value) };
        let value = value.ok_or_else(|| PyAttributeError::new_err("cannot delete the pool"))?;
        let pool = value.cast_into::<Pool>()?;
        // SAFETY: the receiver of an attribute. A pool that was there is kept alive for ever, by
        // the reference that is not given back: a call may be inside, without one of its own.
        unsafe { *field(executor) = pool.into_ptr() };
        Ok(0)
    })
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
            name: c"_counterpoint_native".as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: offset as ffi::Py_ssize_t,
            flags: 0,
            doc: ptr::null(),
        }],
        // A name that no subclass uses for its own purposes.
        attributes: vec![attribute(c"_counterpoint_pool", get_pool, set_pool)],
    };
    let hidden: Vec<_> = spec.members.iter().map(|member| member.name).collect();
    let class = raw_type(py, spec, Some(&base))?;
    hide(&class, &hidden)?;
    Ok(class)
}
