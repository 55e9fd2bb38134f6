//! Futures that died, kept to be handed out again; only with a GIL, which is the lock of all this.
//!
//! A pool makes and drops a future for each task. The inherited destructor and the general
//! allocation find out anew for each what is known of ours, and cost more than the task's queue. So
//! the class has a destructor of its own, which leaves zeroed memory: a new future.
//!
//! The destructor of a class that is derived from ours in Python does its part first (its slots, its
//! attributes, its finalizer) and calls this for the rest; so callbacks of weak references to such
//! an object come after that, and not before. Our class itself has no attributes inside the object,
//! so from Python 3.14 on `__class__` of a future cannot be set to a derived class, which has.

use super::layout::{FutureObject, Tail, future_type};
use crate::boundary::Protected;
use crate::executor::reference::Ref;
use crate::executor::shed::shed;
use pyo3::Python;
use pyo3::ffi::{self, PyObject};
use std::mem;
use std::ptr;

/// The most that are kept: 170 KiB of them.
const MOST: usize = 1024;

unsafe extern "C" {
    // Of attributes; null where there are none. It makes a dict of attributes that are not in one.
    fn _PyObject_GetDictPtr(object: *mut PyObject) -> *mut *mut PyObject;
}

static KEPT: Protected<Kept> = Protected::new(Kept { first: ptr::null_mut(), len: 0 });

/// A list, linked through the field of the result.
struct Kept {
    first: *mut PyObject,
    len: usize,
}

// SAFETY: used by attached threads only.
unsafe impl Send for Kept {}

/// A future of the class itself that died, as good as new; `None` if there is none.
#[inline(always)]
pub fn revive(py: Python<'_>) -> Option<*mut PyObject> {
    let object = KEPT.with(py, |kept| {
        let first = kept.first;
        if !first.is_null() {
            // SAFETY: it lies in the list, and nobody else knows it.
            let link = unsafe { &mut (*FutureObject::from_ptr(first).tail()).result };
            kept.first = mem::replace(link, ptr::null_mut());
            kept.len -= 1;
        }
        first
    });
    if object.is_null() {
        return None;
    }
    // SAFETY: the memory of an object of this class, which the collector does not know.
    unsafe {
        ffi::PyObject_Init(object, future_type());
        ffi::PyObject_GC_Track(object.cast());
    }
    Some(object)
}

/// `tp_dealloc`.
pub unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: the interpreter calls this, attached, for an object of our class or a derived one that
    // nobody refers to any more.
    unsafe {
        let py = Python::assume_attached();
        // Somebody gave the standard library's class a finalizer.
        let finalizes = is_exact(object) && (*ffi::Py_TYPE(object)).tp_finalize.is_some();
        if finalizes && ffi::PyObject_CallFinalizerFromDealloc(object) < 0 {
            return;
        }
        // Asked again: a finalizer may have set the class.
        let (class, exact) = (ffi::Py_TYPE(object), is_exact(object));
        ffi::PyObject_GC_UnTrack(object.cast());
        ffi::PyObject_ClearWeakRefs(object);
        if exact || finalizes {
            drop_attributes(object);
        }
        let_go(FutureObject::from_ptr(object));
        let kept = exact && ffi::PyObject_GC_IsFinalized(object) == 0 && keep(py, object);
        if !kept && let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

/// Whether it is of our class itself.
#[inline(always)]
unsafe fn is_exact(object: *mut PyObject) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::Py_TYPE(object) == future_type() }
}

/// Drops the attributes of a future whose class has them in a dict, if at all.
///
/// # Safety
/// A future that nobody refers to.
#[inline(always)]
unsafe fn drop_attributes(object: *mut PyObject) {
    // SAFETY: the caller's promise; what the place holds is the object's own reference.
    unsafe {
        let attributes = _PyObject_GetDictPtr(object);
        if !attributes.is_null() {
            drop(Ref::owned(mem::replace(&mut *attributes, ptr::null_mut())));
        }
    }
}

/// Drops what the future holds.
///
/// # Safety
/// Nobody refers to the future.
#[inline(always)]
unsafe fn let_go(future: FutureObject) {
    // SAFETY: the caller's promise: nobody is inside its lock. Zeroed memory is a new future; the
    // fields own what they point to, and each is taken once.
    let (result, others, _state) = unsafe {
        let Tail { result, exception, callbacks, observers, condition, watchers, state, .. } =
            future.tail().read();
        future.tail().write_bytes(0, 1);
        let others = [exception, callbacks, observers, condition, watchers];
        (Ref::owned(result), others.map(|object| Ref::owned(object)), state)
    };
    if others.iter().all(Option::is_none) && result.as_ref().is_none_or(holds_nothing) {
        return drop(result);
    }
    shed(others.into_iter().flatten().chain(result));
}

/// Whether dropping it leads to no other object.
#[inline(always)]
fn holds_nothing(object: &Ref) -> bool {
    // SAFETY: a live object.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) > 1 || ffi::PyObject_IS_GC(object.as_ptr()) == 0 }
}

/// Keeps the memory of a future that was let go of, if there is room.
///
/// # Safety
/// It is of the class itself, unknown to the collector, without attributes and weak references, and
/// nobody refers to it.
#[inline(always)]
unsafe fn keep(py: Python<'_>, object: *mut PyObject) -> bool {
    KEPT.with(py, |kept| {
        if kept.len == MOST {
            return false;
        }
        // SAFETY: the caller's promise; the tail is there, and nobody looks at it.
        unsafe {
            let link = &raw mut (*FutureObject::from_ptr(object).tail()).result;
            link.write(mem::replace(&mut kept.first, object));
        }
        kept.len += 1;
        true
    })
}
