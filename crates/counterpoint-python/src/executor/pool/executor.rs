//! `counterpoint._core.PoolBase`: `submit` as a bare C function, in a class derived from the
//! stdlib's ThreadPoolExecutor.

use super::native::Pool;
use crate::boundary::{Behind, Outline, guarded, method};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

/// Where an executor's Pool is; a name that no subclass uses for its own purposes.
static BASE: Behind<Pool> = Behind::new(c"_counterpoint_pool");

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
        let Some(pool) = BASE.get(py, executor) else { return refuse(count, true) };
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
    BASE.make(
        &base,
        Outline {
            name: c"counterpoint._core.PoolBase",
            methods: vec![method(
                c"submit",
                submit,
                c"submit($self, fn, /, *args, **kwargs)\n--\n\nQueue fn(*args, **kwargs); return its Future.",
            )],
            attributes: Vec::new(),
        },
    )
}
