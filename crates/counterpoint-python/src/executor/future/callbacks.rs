//! Done callbacks and observers: who is told when a future ends.

use super::complete::acquire;
use super::stdlib::log_callback;
use super::{FutureObject, layout::Fields};
use crate::boundary::{LoopWaker, TaskHandle, halts_at_exit};
use crate::executor::collector::Collector;
use crate::executor::reference::Ref;
use counterpoint_sync::executor::future::FutureState;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::ptr;

type State = FutureState<TaskHandle>;

/// What observers hear.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum News {
    Result,
    Exception,
    Cancelled,
}

/// Which of a future's lists.
type ListOf = fn(&mut Fields) -> &mut *mut PyObject;

/// Adds to one of a future's lists, making it if need be; unless `closed` has an answer, which is
/// returned instead. Holds the condition meanwhile if there is one.
#[cfg(not(Py_GIL_DISABLED))]
pub fn add<R>(
    py: Python<'_>,
    future: FutureObject,
    list: ListOf,
    item: *mut PyObject,
    closed: impl Fn(&State, &Fields) -> Option<R>,
) -> PyResult<Option<R>> {
    let _acquired = acquire(py, future)?;
    let needed = future.with(py, |_, fields| list(fields).is_null());
    // SAFETY: a new reference, or null: then appending reports the error.
    let mut spare = needed.then(|| unsafe { Ref::owned(ffi::PyList_New(0)) }).flatten();
    let (answer, added) = future.with(py, |state, fields| {
        let answer = closed(state, fields);
        if answer.is_some() {
            return (answer, true);
        }
        let list = list(fields);
        if list.is_null()
            && let Some(spare) = spare.take()
        {
            *list = spare.into_ptr();
        }
        // SAFETY: a list (null is an error) and a live item; appending neither runs code nor
        // drops anything.
        (None, unsafe { ffi::PyList_Append(*list, item) == 0 })
    });
    if added { Ok(answer) } else { Err(crate::boundary::fetch(py)) }
}

/// The same. A list that grows may free, without a GIL, what others could not free before, and that
/// is not to happen under a lock: so a longer copy takes the list's place.
#[cfg(Py_GIL_DISABLED)]
pub fn add<R>(
    py: Python<'_>,
    future: FutureObject,
    list: ListOf,
    item: *mut PyObject,
    closed: impl Fn(&State, &Fields) -> Option<R>,
) -> PyResult<Option<R>> {
    replace(py, future, list, closed, |old| longer(py, old, item).map(Some))
}

/// Takes the first item equal to `item`, if any, off one of a future's lists. Whoever goes through
/// the list at the same time, to tell all that are in it, must not miss the next one: so a shorter
/// copy takes the list's place.
pub fn remove(
    py: Python<'_>,
    future: FutureObject,
    list: ListOf,
    item: &Bound<'_, PyAny>,
) -> PyResult<()> {
    replace(py, future, list, |_, _| None::<()>, |old| shorter(py, old, item)).map(drop)
}

/// Puts what `change` makes of one of a future's lists into its place, unless `closed` has an
/// answer, which is returned instead. Begins again if somebody else was faster.
fn replace<R>(
    py: Python<'_>,
    future: FutureObject,
    list: ListOf,
    closed: impl Fn(&State, &Fields) -> Option<R>,
    change: impl Fn(Option<&Ref>) -> PyResult<Option<Ref>>,
) -> PyResult<Option<R>> {
    loop {
        let acquired = acquire(py, future)?;
        let (answer, old) = future.with(py, |state, fields| {
            // SAFETY: under the lock.
            (closed(state, fields), unsafe { share(*list(fields)) })
        });
        if answer.is_some() {
            return Ok(answer);
        }
        let len = length(old.as_ref());
        let mut changed = Some(change(old.as_ref())?);
        let replaced = future.with(py, |state, fields| {
            let answer = closed(state, fields);
            // SAFETY: under the lock.
            let there = unsafe { share(*list(fields)) };
            // Others change a list in place, but not without the condition.
            let same = there.as_ref().map(Ref::as_ptr) == old.as_ref().map(Ref::as_ptr)
                && length(there.as_ref()) == len
                && (acquired.is_some() || fields.condition.is_null());
            // `old` owns the list as well: this is not the last reference.
            drop(there);
            match changed.take_if(|_| answer.is_none() && same) {
                Some(changed) => {
                    let changed = changed.map_or(ptr::null_mut(), Ref::into_ptr);
                    Ok(std::mem::replace(list(fields), changed))
                }
                None => Err(answer),
            }
        });
        match replaced {
            Ok(replaced) => {
                // SAFETY: the field owned it; null if there was no list.
                drop(unsafe { Ref::owned(replaced) });
                return Ok(None);
            }
            Err(Some(answer)) => return Ok(Some(answer)),
            Err(None) => {}
        }
    }
}

/// A copy of a list; an empty one of none.
fn copy(py: Python<'_>, list: Option<&Ref>) -> PyResult<Ref> {
    // SAFETY: a live list; a new reference or null.
    let copy = unsafe {
        Ref::owned(match list {
            Some(list) => ffi::PyList_GetSlice(list.as_ptr(), 0, ffi::PY_SSIZE_T_MAX),
            None => ffi::PyList_New(0),
        })
    };
    copy.ok_or_else(|| crate::boundary::fetch(py))
}

/// A copy of a list with one more item.
#[cfg(Py_GIL_DISABLED)]
fn longer(py: Python<'_>, list: Option<&Ref>, item: *mut PyObject) -> PyResult<Ref> {
    let copy = copy(py, list)?;
    // SAFETY: a live list and a live item.
    if unsafe { ffi::PyList_Append(copy.as_ptr(), item) } != 0 {
        return Err(crate::boundary::fetch(py));
    }
    Ok(copy)
}

/// A copy of a list without the first item equal to `item`; none if nothing is left.
fn shorter(py: Python<'_>, list: Option<&Ref>, item: &Bound<'_, PyAny>) -> PyResult<Option<Ref>> {
    let Some(list) = list else { return Ok(None) };
    let is_it = |first: Ref| first.as_ptr() == item.as_ptr();
    if length(Some(list)) == 1 && self::item(list.as_ptr(), 0).is_some_and(is_it) {
        return Ok(None); // as mostly
    }
    let copy = copy(py, Some(list))?;
    if copy.bind(py).contains(item)? {
        copy.bind(py).call_method1(intern!(py, "remove"), (item,))?;
    }
    Ok((length(Some(&copy)) > 0).then_some(copy))
}

fn length(list: Option<&Ref>) -> isize {
    // SAFETY: a live list; reading its length takes no lock.
    list.map_or(0, |list| unsafe { ffi::PyList_Size(list.as_ptr()) })
}

/// Runs the callbacks, as the class of the future wishes.
pub fn invoke(py: Python<'_>, future: FutureObject, list: Option<Ref>) -> PyResult<()> {
    if !future.is_exact() {
        halts_at_exit();
        future.bind(py).call_method0(intern!(py, "_invoke_callbacks"))?;
        return Ok(());
    }
    list.map_or(Ok(()), |list| invoke_all(py, future, &list))
}

/// Calls each callable of a list with the future.
pub fn invoke_all(py: Python<'_>, future: FutureObject, list: &Ref) -> PyResult<()> {
    each(list, |callback| match call(py, callback, future) {
        Some(_) => Ok(()),
        None => log_callback(py, future, crate::boundary::fetch(py)),
    })
}

/// Calls one; `None` if it raised.
pub fn call(py: Python<'_>, callback: &Ref, future: FutureObject) -> Option<Ref> {
    if let Ok(waker) = callback.bind(py).cast_exact::<LoopWaker>() {
        waker.get().tell(py);
        return Some(Ref::from(py.None().into_bound(py)));
    }
    halts_at_exit();
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
