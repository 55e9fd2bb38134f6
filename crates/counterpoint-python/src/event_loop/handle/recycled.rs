//! The memory of handles, kept to be used again; only with a GIL, which is the lock of all this.
//!
//! A loop makes and drops a handle for each callback. What is kept has the size of either class.

use pyo3::ffi::{self, PyObject, PyTypeObject};

#[cfg(Py_GIL_DISABLED)]
/// Memory for a handle, zeroed and not tracked; null, with an exception set, if there is none.
///
/// # Safety
/// The class is ours, and the thread is attached.
#[inline(always)]
pub unsafe fn new(class: *mut PyTypeObject) -> *mut PyObject {
    // SAFETY: the caller's promise. It comes tracked; what it holds is null until it is untracked.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        if !object.is_null() {
            ffi::PyObject_GC_UnTrack(object.cast());
        }
        object
    }
}

#[cfg(Py_GIL_DISABLED)]
/// Gives the memory back.
///
/// # Safety
/// Nobody refers to the object, which is of that class, untracked and empty.
#[inline(always)]
pub unsafe fn free(_: *mut PyTypeObject, object: *mut PyObject) {
    // SAFETY: the caller's promise.
    unsafe { ffi::PyObject_GC_Del(object.cast()) };
}

#[cfg(not(Py_GIL_DISABLED))]
pub use kept::{free, new};

#[cfg(not(Py_GIL_DISABLED))]
mod kept {
    use super::{PyObject, PyTypeObject, ffi};
    use crate::boundary::Protected;
    use pyo3::Python;
    use std::ptr;

    /// The most that are kept: some 200 KiB of them.
    const MOST: usize = 1024;

    static KEPT: Protected<Kept> =
        Protected::new(Kept { len: 0, objects: [ptr::null_mut(); MOST] });

    struct Kept {
        len: usize,
        objects: [*mut PyObject; MOST],
    }

    // SAFETY: used by attached threads only.
    unsafe impl Send for Kept {}

    /// Memory for a handle, not tracked; null, with an exception set, if there is none.
    ///
    /// # Safety
    /// The class is ours, and the thread is attached.
    #[inline(always)]
    pub unsafe fn new(class: *mut PyTypeObject) -> *mut PyObject {
        // SAFETY: the caller's promise; what is kept is of the size of our classes.
        unsafe {
            let py = Python::assume_attached();
            let kept = KEPT.with(py, |kept| {
                kept.len = kept.len.checked_sub(1)?;
                Some(kept.objects[kept.len])
            });
            if let Some(object) = kept {
                return ffi::PyObject_Init(object, class);
            }
            let object = ffi::PyType_GenericAlloc(class, 0);
            if !object.is_null() {
                ffi::PyObject_GC_UnTrack(object.cast());
            }
            object
        }
    }

    /// Keeps the memory, or gives it back.
    ///
    /// # Safety
    /// Nobody refers to the object, which is of that class, untracked and empty.
    #[inline(always)]
    pub unsafe fn free(_: *mut PyTypeObject, object: *mut PyObject) {
        // SAFETY: the caller's promise. One that the collector has finalised is not as good as new.
        unsafe {
            let py = Python::assume_attached();
            let keep = ffi::PyObject_GC_IsFinalized(object) == 0
                && KEPT.with(py, |kept| {
                    let room = kept.len < MOST;
                    if room {
                        kept.objects[kept.len] = object;
                        kept.len += 1;
                    }
                    room
                });
            if !keep {
                ffi::PyObject_GC_Del(object.cast());
            }
        }
    }
}
