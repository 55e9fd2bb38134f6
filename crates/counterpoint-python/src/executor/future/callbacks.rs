//! Done callbacks and observers: who is told when a future ends.

use super::stdlib::log_callback;
use super::{FutureObject, layout::Fields};
use crate::executor::collector::Collector;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::ptr;

/// What observers hear.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum News {
    Result,
    Exception,
    Cancelled,
}

/// Adds to one of a future's lists, making it if need be. Runs under the future's lock: `spare`
/// is an empty list made before, and appending neither runs code nor drops anything.
pub fn append(list: &mut *mut PyObject, spare: &mut Option<Ref>, item: *mut PyObject) -> bool {
    if list.is_null()
        && let Some(spare) = spare.take()
    {
        *list = spare.into_ptr();
    }
    // SAFETY: a live list, live item. On a build without a GIL the list's own lock is taken;
    // whoever holds that and waits for ours is detached, and so gives it up.
    unsafe { ffi::PyList_Append(*list, item) == 0 }
}

/// An empty list, unless there is one already.
pub fn spare(
    py: Python<'_>,
    future: FutureObject,
    of: fn(&Fields) -> *mut PyObject,
) -> Option<Ref> {
    let needed = future.with(py, |_, fields| of(fields).is_null());
    // SAFETY: a new reference or null, in which case appending reports the error.
    needed.then(|| unsafe { Ref::owned(ffi::PyList_New(0)) }).flatten()
}

/// Runs the callbacks, as the class of the future wishes.
pub fn invoke(py: Python<'_>, future: FutureObject, list: Option<Ref>) -> PyResult<()> {
    if !future.is_exact() {
        future.bind(py).call_method0(intern!(py, "_invoke_callbacks"))?;
        return Ok(());
    }
    list.map_or(Ok(()), |list| invoke_all(py, future, &list))
}

/// Calls each callable of a list with the future.
pub fn invoke_all(py: Python<'_>, future: FutureObject, list: &Ref) -> PyResult<()> {
    each(list, |callback| match call(py, callback, future) {
        Some(_) => Ok(()),
        None => log_callback(py, future, PyErr::fetch(py)),
    })
}

/// Calls one; `None` if it raised.
pub fn call(_: Python<'_>, callback: &Ref, future: FutureObject) -> Option<Ref> {
    // SAFETY: live objects; the result is a new reference or null.
    unsafe { Ref::owned(ffi::PyObject_CallOneArg(callback.as_ptr(), future.as_ptr())) }
}

/// Goes through a list that may change meanwhile.
fn each(list: &Ref, mut f: impl FnMut(&Ref) -> PyResult<()>) -> PyResult<()> {
    let mut at = 0;
    while let Some(item) = item(list.as_ptr(), at) {
        f(&item)?;
        at += 1;
    }
    Ok(())
}

#[cfg(not(Py_GIL_DISABLED))]
fn item(list: *mut PyObject, at: ffi::Py_ssize_t) -> Option<Ref> {
    // SAFETY: a live list; the index is checked, and nothing runs in between.
    unsafe { (at < ffi::PyList_GET_SIZE(list)).then(|| Ref::new(ffi::PyList_GET_ITEM(list, at))) }
}

#[cfg(Py_GIL_DISABLED)]
fn item(list: *mut PyObject, at: ffi::Py_ssize_t) -> Option<Ref> {
    // SAFETY: a live list; an index beyond its end is an IndexError, taken back here.
    unsafe {
        let item = Ref::owned(ffi::PyList_GetItemRef(list, at));
        if item.is_none() {
            ffi::PyErr_Clear();
        }
        item
    }
}

/// Tells every observer. What a foreign one raises is nobody's to catch, as in the stdlib.
pub fn tell(py: Python<'_>, future: FutureObject, observers: &Ref, news: News) -> PyResult<()> {
    each(observers, |observer| {
        let observer = observer.bind(py);
        if let Ok(collector) = observer.cast_exact::<Collector>() {
            collector.get().tell(py, future, news == News::Exception);
            return Ok(());
        }
        let method = match news {
            News::Result => intern!(py, "add_result"),
            News::Exception => intern!(py, "add_exception"),
            News::Cancelled => intern!(py, "add_cancelled"),
        };
        observer.call_method1(method, (future.bind(py),)).map(drop)
    })
}

/// A new reference to what a field holds.
///
/// # Safety
/// `field` is null or a live object: the caller holds the future's lock.
pub unsafe fn share(field: *mut PyObject) -> Option<Ref> {
    // SAFETY: the caller's promise.
    (!field.is_null()).then(|| unsafe { Ref::new(field) })
}

/// Takes what a field holds.
///
/// # Safety
/// As for [`share`].
pub unsafe fn take(field: &mut *mut PyObject) -> Option<Ref> {
    // SAFETY: the field owned the reference.
    unsafe { Ref::owned(std::mem::replace(field, ptr::null_mut())) }
}
