//! The memory of objects that come and go with each callback, kept to be used again; only with a GIL,
//! which is the lock of all this.
//!
//! As many are kept as are in use at once, whatever that is: who has ten thousand callbacks wait at a
//! time has the allocator map and unmap their memory each time otherwise, and the kernel clear it, which
//! costs as much as their calls. What was not needed for a while is given back, a little at a time,
//! by loops that ask the kernel.

#[cfg(not(Py_GIL_DISABLED))]
use crate::boundary::Protected;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
#[cfg(not(Py_GIL_DISABLED))]
use std::mem;

/// The most that are kept: 9 MiB of handles.
#[cfg(not(Py_GIL_DISABLED))]
const MOST: usize = 65_536;

/// So many are kept in any case.
#[cfg(not(Py_GIL_DISABLED))]
const FEW: usize = 1024;

/// How often, in nanoseconds, it is looked whether some can be given back, and how many at most: what
/// takes some microseconds.
#[cfg(not(Py_GIL_DISABLED))]
const AGE: u64 = 10_000_000;
#[cfg(not(Py_GIL_DISABLED))]
const AT_ONCE: usize = 512;

/// The memory of objects of one size, which collectors know.
pub struct Recycled {
    #[cfg(not(Py_GIL_DISABLED))]
    kept: Protected<Kept>,
}

#[cfg(not(Py_GIL_DISABLED))]
struct Kept {
    objects: Vec<*mut PyObject>,
    /// When it was looked last, and the least that were kept since.
    aged: u64,
    least: usize,
}

#[cfg(not(Py_GIL_DISABLED))]
// SAFETY: used by attached threads only.
unsafe impl Send for Kept {}

impl Recycled {
    /// Nothing is kept.
    pub const fn new() -> Self {
        Self {
            #[cfg(not(Py_GIL_DISABLED))]
            kept: Protected::new(Kept { objects: Vec::new(), aged: 0, least: 0 }),
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
                    let object = kept.objects.pop()?;
                    kept.least = kept.least.min(kept.objects.len());
                    Some(object)
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
                    && self.kept.with(Python::assume_attached(), |kept| kept.keep(object));
                if keep {
                    return;
                }
            }
            ffi::PyObject_GC_Del(object.cast());
        }
    }

    /// Gives some back that were not needed for a while.
    #[inline(always)]
    pub fn age(&self, py: Python<'_>, now: u64) {
        #[cfg(not(Py_GIL_DISABLED))]
        if let Some(surplus @ 1..) = self.kept.with(py, |kept| kept.surplus(now)) {
            self.give_back(py, surplus);
        }
        let _ = (py, now);
    }

    #[cfg(not(Py_GIL_DISABLED))]
    #[cold]
    fn give_back(&self, py: Python<'_>, count: usize) {
        let surplus = self.kept.with(py, |kept| {
            let surplus = kept.objects.split_off(kept.objects.len().saturating_sub(count));
            kept.objects.shrink_to(kept.objects.len() * 2);
            surplus
        });
        for object in surplus {
            // SAFETY: nobody refers to it.
            unsafe { ffi::PyObject_GC_Del(object.cast()) };
        }
    }
}

#[cfg(not(Py_GIL_DISABLED))]
impl Kept {
    /// Keeps one more, if there is room.
    #[inline(always)]
    fn keep(&mut self, object: *mut PyObject) -> bool {
        let len = self.objects.len();
        let room = len < MOST && (len < self.objects.capacity() || self.grow());
        if room {
            self.objects.push(object);
        }
        room
    }

    #[cold]
    fn grow(&mut self) -> bool {
        self.objects.try_reserve_exact(self.objects.len().max(FEW)).is_ok()
    }

    /// If it is time to look: how many are to be given back, which were not needed since the last time.
    #[inline(always)]
    fn surplus(&mut self, now: u64) -> Option<usize> {
        if now.saturating_sub(self.aged) < AGE {
            return None;
        }
        self.aged = now;
        let least = mem::replace(&mut self.least, self.objects.len());
        Some(least.saturating_sub(FEW).min(AT_ONCE))
    }
}
