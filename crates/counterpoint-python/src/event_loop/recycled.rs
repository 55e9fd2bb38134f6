//! The memory of objects that come and go with each callback, kept to be used again; only with a GIL,
//! which is the lock of all this.

#[cfg(not(Py_GIL_DISABLED))]
use crate::boundary::Protected;
use pyo3::ffi::{self, PyObject, PyTypeObject};
#[cfg(not(Py_GIL_DISABLED))]
use pyo3::prelude::*;
#[cfg(not(Py_GIL_DISABLED))]
use std::ptr;

/// The most that are kept: some 200 KiB of handles.
#[cfg(not(Py_GIL_DISABLED))]
const MOST: usize = 1024;

/// The memory of objects of one size, which collectors know.
pub struct Recycled {
    #[cfg(not(Py_GIL_DISABLED))]
    kept: Protected<Kept>,
}

#[cfg(not(Py_GIL_DISABLED))]
struct Kept {
    len: usize,
    objects: [*mut PyObject; MOST],
}

#[cfg(not(Py_GIL_DISABLED))]
// SAFETY: used by attached threads only.
unsafe impl Send for Kept {}

impl Recycled {
    /// Nothing is kept.
    pub const fn new() -> Self {
        Self {
            #[cfg(not(Py_GIL_DISABLED))]
            kept: Protected::new(Kept { len: 0, objects: [ptr::null_mut(); MOST] }),
        }
    }

    /// Memory for an object, not tracked; null, with an exception set, if there is none.
    ///
    /// # Safety
    /// The class is one of those that this is for, and the thread is attached.
    #[inline(always)]
    pub unsafe fn make(&self, class: *mut PyTypeObject) -> *mut PyObject {
        // SAFETY: the caller's promise; what is kept is of the size of the class. New memory comes
        // tracked; what it holds is null until it is untracked.
        unsafe {
            #[cfg(not(Py_GIL_DISABLED))]
            {
                let kept = self.kept.with(Python::assume_attached(), |kept| {
                    kept.len = kept.len.checked_sub(1)?;
                    Some(kept.objects[kept.len])
                });
                if let Some(object) = kept {
                    return ffi::PyObject_Init(object, class);
                }
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
    /// Nobody refers to the object, which was made by this, and is untracked and empty.
    #[inline(always)]
    pub unsafe fn free(&self, object: *mut PyObject) {
        // SAFETY: the caller's promise. One that the collector has finalised is not as good as new.
        unsafe {
            #[cfg(not(Py_GIL_DISABLED))]
            {
                let keep = ffi::PyObject_GC_IsFinalized(object) == 0
                    && self.kept.with(Python::assume_attached(), |kept| {
                        let room = kept.len < MOST;
                        if room {
                            kept.objects[kept.len] = object;
                            kept.len += 1;
                        }
                        room
                    });
                if keep {
                    return;
                }
            }
            ffi::PyObject_GC_Del(object.cast());
        }
    }
}
