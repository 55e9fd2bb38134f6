//! StopIteration, by which `await` is told what an operation has returned, without one made each time.
//!
//! The interpreter takes the value out of the exception at once and drops it. So there is one that is
//! kept, and given the next value if nobody else has it and it is as good as new. To make one and to
//! drop it takes as long as the system call's part in Python. Without a GIL it cannot be told whether
//! somebody else has it.

use crate::executor::reference::Ref;
use pyo3::exceptions::PyStopIteration;
use pyo3::ffi::{self, PyObject, PyStopIterationObject};
use pyo3::prelude::*;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// The one that is kept, owned; used by attached threads only.
static KEPT: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// The value lives until the task's step ends: that is not to be much.
const MOST: ffi::Py_ssize_t = 64 * 1024;

/// It holds a value.
static FULL: AtomicBool = AtomicBool::new(false);

/// Null, as an iterator that returned that value.
#[inline(always)]
pub fn stop(py: Python<'_>, value: Ref) -> PyResult<*mut PyObject> {
    // SAFETY: live objects. A tuple would be taken for the exception's arguments.
    unsafe {
        let object = value.as_ptr();
        if object == ffi::Py_None() {
            return Ok(ptr::null_mut());
        }
        if cfg!(not(Py_GIL_DISABLED))
            && ffi::PyBytes_CheckExact(object) != 0
            && ffi::Py_SIZE(object) <= MOST
        {
            return stop_with_bytes(py, value);
        }
        if ffi::PyTuple_Check(object) == 0 {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, object);
            return Ok(ptr::null_mut());
        }
    }
    Err(PyStopIteration::new_err((value.bind(py).unbind(),)))
}

#[inline(always)]
fn stop_with_bytes(py: Python<'_>, value: Ref) -> PyResult<*mut PyObject> {
    // SAFETY: what is kept is owned, and given away.
    let kept = unsafe { Ref::owned(KEPT.swap(ptr::null_mut(), Ordering::Relaxed)) };
    let exception = match kept.filter(is_as_new) {
        Some(kept) => {
            // SAFETY: by the filter.
            unsafe { fill(&kept, value) };
            kept
        }
        // SAFETY: live objects; a new reference, or null with an exception set.
        None => unsafe {
            Ref::owned(ffi::PyObject_CallOneArg(ffi::PyExc_StopIteration, value.as_ptr()))
        }
        .ok_or_else(|| crate::boundary::fetch(py))?,
    };
    FULL.store(true, Ordering::Relaxed);
    // SAFETY: attached; one reference is kept, and the other given away.
    unsafe {
        raise(exception.share());
        drop(Ref::owned(KEPT.swap(exception.into_ptr(), Ordering::Relaxed)));
    }
    Ok(ptr::null_mut())
}

/// # Safety
/// Attached, with an exception.
#[inline(always)]
unsafe fn raise(exception: Ref) {
    // SAFETY: the reference is given away.
    #[cfg(Py_3_12)]
    unsafe {
        ffi::PyErr_SetRaisedException(exception.into_ptr());
    }
    // SAFETY: as above; the class lives as long as the interpreter.
    #[cfg(not(Py_3_12))]
    unsafe {
        let class = Ref::new(ffi::PyExc_StopIteration);
        ffi::PyErr_Restore(class.into_ptr(), exception.into_ptr(), ptr::null_mut());
    }
}

/// Whether nobody else has it, and nothing was added to it.
fn is_as_new(exception: &Ref) -> bool {
    // SAFETY: an instance of that very class, which nobody changes meanwhile.
    unsafe {
        let inside = exception.as_ptr().cast::<PyStopIterationObject>();
        let added = [(*inside).dict, (*inside).notes, (*inside).traceback];
        let (causes, args) = ([(*inside).context, (*inside).cause], (*inside).args);
        ffi::Py_REFCNT(exception.as_ptr()) == 1
            && added.iter().chain(&causes).all(|added| added.is_null())
            && ffi::PyTuple_CheckExact(args) != 0
            && ffi::PyTuple_GET_SIZE(args) == 1
            && ffi::Py_REFCNT(args) == 1
    }
}

/// Gives it another value.
///
/// # Safety
/// It is as new.
#[inline(always)]
unsafe fn fill(exception: &Ref, value: Ref) {
    // SAFETY: the caller's promise: nobody else has it or its tuple, which holds one object.
    let before = unsafe {
        let inside = exception.as_ptr().cast::<PyStopIterationObject>();
        let first = ffi::PyTuple_GET_ITEM((*inside).args, 0);
        ffi::PyTuple_SET_ITEM((*inside).args, 0, value.share().into_ptr());
        #[cfg(Py_3_14)]
        {
            (*(*inside).args.cast::<ffi::PyTupleObject>()).ob_hash = -1; // not computed
        }
        let before = ptr::replace(&raw mut (*inside).value, value.into_ptr());
        (Ref::owned(first), Ref::owned(before))
    };
    drop(before);
}

/// Drops the value that was returned last, which the task has got by now.
#[inline(always)]
pub fn release(py: Python<'_>) {
    if FULL.load(Ordering::Relaxed) {
        drop_value(py);
    }
}

fn drop_value(py: Python<'_>) {
    FULL.store(false, Ordering::Relaxed);
    // SAFETY: what is kept is owned, and given away.
    let kept = unsafe { Ref::owned(KEPT.swap(ptr::null_mut(), Ordering::Relaxed)) };
    // Whoever else has it keeps it as it is.
    if let Some(kept) = kept.filter(is_as_new) {
        // SAFETY: by the filter.
        unsafe {
            fill(&kept, Ref::from(py.None().into_bound(py)));
            drop(Ref::owned(KEPT.swap(kept.into_ptr(), Ordering::Relaxed)));
        }
    }
}
