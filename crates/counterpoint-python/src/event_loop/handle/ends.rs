//! How a handle ends, and what collectors see of it.

use super::layout::{Content, HandleObject, RECYCLED, WEAK_REFERENCES};
use crate::boundary::{attached, visit_each};
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use std::ffi::{c_int, c_void};
use std::mem;
use std::sync::atomic::Ordering;

/// `tp_dealloc`.
pub unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: the interpreter calls this, attached, for a handle that nobody refers to any more. The
    // tail is taken once, and not looked at again.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast()); // which may not be tracked
        let weak_references = WEAK_REFERENCES.load(Ordering::Relaxed);
        if !(*object.byte_offset(weak_references).cast::<*mut PyObject>()).is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        // Most were called and hold nothing any more: those need no look at each field.
        let content = (*HandleObject::from_ptr(object).content_place()).get_mut();
        let content = (!content.is_empty()).then(|| mem::take(content));
        let class = ffi::Py_TYPE(object);
        RECYCLED.free(object);
        if let Some(content) = content {
            drop_content(content);
        }
        ffi::Py_DECREF(class.cast());
    }
}

#[cold]
fn drop_content(content: Content) {
    let Content { callback, arguments, context, owner, told } = content;
    let held = [callback, context, owner, told];
    crate::executor::shed::shed(arguments.into_iter().chain(held).flatten());
}

/// `tp_traverse`.
pub unsafe extern "C" fn traverse(
    object: *mut PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector, with the world stopped or the GIL held, on a handle that was
    // tracked after its tail was written.
    unsafe {
        let class = ffi::Py_TYPE(object).cast();
        let held = held(HandleObject::from_ptr(object)).map(Ref::as_ptr);
        visit_each(std::iter::once(class).chain(held), visit, argument)
    }
}

/// What a handle holds.
///
/// # Safety
/// Only from a traversal.
unsafe fn held<'a>(handle: HandleObject) -> impl Iterator<Item = &'a Ref> {
    // SAFETY: the caller's promise.
    let content = unsafe { handle.content().peek() };
    let held = [&content.callback, &content.context, &content.told, &content.owner];
    held.into_iter().chain(&content.arguments).flatten()
}

/// Shows the collector a handle that is queued: itself, or, if the collector does not know it and
/// nobody else holds it, what it holds.
///
/// # Safety
/// Only from the traversal of the loop that holds it.
pub unsafe fn visit_queued(handle: &Ref, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    let object = handle.as_ptr();
    // SAFETY: the caller's promise: the queue holds the handle.
    unsafe {
        match HandleObject::check(object) {
            Some(ours) if ffi::PyObject_GC_IsTracked(object) == 0 => {
                if ffi::Py_REFCNT(object) > 1 {
                    return Ok(());
                }
                held(ours).try_for_each(|object| object.visit(visit))
            }
            _ => handle.visit(visit),
        }
    }
}

/// `tp_clear`.
pub unsafe extern "C" fn clear(object: *mut PyObject) -> c_int {
    // SAFETY: called by the collector on garbage, attached, outside traversal.
    attached(|py| drop(unsafe { HandleObject::from_ptr(object) }.empty(py)));
    0
}
