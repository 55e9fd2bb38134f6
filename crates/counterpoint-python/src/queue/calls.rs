//! `put` and `get` and their variants, as CPython calls them: the fast path first.
//!
//! A fast path is one test, a push or a pop, and a count, under the queue's lock (on builds with
//! a GIL: no lock); no pyo3, no detaching, no clock. Everything else is in `operate`.

use super::elsewhere::{elsewhere, get_elsewhere, put_elsewhere};
use super::kind::{Kind, More};
use super::layout::{KEYED, OWN_GET, OWN_PUT, RawQueue, receiver};
use super::object::Object;
use super::operate::{self, Outcome};
use super::patience::{
    Arguments, as_arguments, boolean, none, patience, patience_in_room, required, seconds,
};
use crate::boundary::{Timeout, guarded};
use pyo3::exceptions::PyValueError;
use pyo3::ffi::{Py_ssize_t, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// Puts if nothing needs care; otherwise the object comes back.
#[inline(always)]
unsafe fn put_fast<K: Kind>(queue: &RawQueue<K>, object: *mut PyObject) -> Result<(), Object> {
    // SAFETY: the caller's argument is alive, and calls come attached.
    let (object, py) = unsafe { (Object::borrowed(object), Python::assume_attached()) };
    if !queue.is_plain(KEYED) {
        return Err(object);
    }
    queue.state.with(py, |state| state.put_fast(K::item(object, None))).map_err(K::object)
}

#[inline(always)]
unsafe fn get_fast<K: Kind>(queue: &RawQueue<K>) -> Option<*mut PyObject> {
    // SAFETY: calls come attached.
    let py = unsafe { Python::assume_attached() };
    let item = queue.state.with(py, |state| state.get_fast());
    item.map(|item| K::object(item).into_ptr())
}

/// `put(item, block=True, timeout=None)`.
pub unsafe extern "C" fn put<K: Kind>(
    object: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { values, count, names };
    // SAFETY: CPython calls methods attached, with an instance of the type and its arguments.
    unsafe {
        if !arguments.are_just(1) {
            return put_parsed::<K>(object, arguments);
        }
        match put_fast(receiver::<K>(object), *values) {
            Ok(()) => none(),
            Err(item) => put_slowly::<K>(object, item, Timeout::Never),
        }
    }
}

#[cold]
unsafe fn put_slowly<K: Kind>(
    object: *mut PyObject,
    item: Object,
    timeout: Timeout,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of the call being served.
        let queue = unsafe { receiver::<K>(object) };
        if queue.state.with(py, |state| state.is_foreign()) {
            put_elsewhere::<K>(py, object, item, timeout)?;
            return Ok(none());
        }
        if let Outcome::Elsewhere(rest) = operate::put(py, queue, item, timeout)? {
            for item in rest {
                put_elsewhere::<K>(py, object, item, timeout)?;
            }
        }
        Ok(none())
    })
}

unsafe fn put_parsed<K: Kind>(object: *mut PyObject, arguments: Arguments) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the arguments of the call being served.
        let [item, block, timeout] =
            unsafe { arguments.bind(py, "put", ["item", "block", "timeout"])? };
        let item = required(item, "put", "item")?;
        // SAFETY: the receiver of the call being served.
        let bounded = unsafe { receiver::<K>(object) }.state.with(py, |state| state.limit());
        // SimpleQueue never waits to put, and looks at neither.
        let timeout = match bounded {
            _ if !K::More::FULL => Timeout::Never,
            Some(_) => patience(block, timeout)?,
            None => patience_in_room(block)?,
        };
        // SAFETY: as above.
        Ok(unsafe { put_slowly::<K>(object, item.into(), timeout) })
    })
}

/// `put_nowait(item)`.
pub unsafe extern "C" fn put_nowait<K: Kind>(
    object: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { values, count, names };
    // SAFETY: as in `put`.
    unsafe {
        let queue = receiver::<K>(object);
        if !arguments.are_just(1) || !queue.is_plain(OWN_PUT) {
            return put_nowait_parsed::<K>(object, arguments);
        }
        match put_fast(queue, *values) {
            Ok(()) => none(),
            Err(item) => put_slowly::<K>(object, item, Timeout::Now),
        }
    }
}

unsafe fn put_nowait_parsed<K: Kind>(object: *mut PyObject, arguments: Arguments) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the arguments and receiver of the call being served.
        let ([item], queue) =
            unsafe { (arguments.bind(py, "put_nowait", ["item"])?, receiver::<K>(object)) };
        let item = required(item, "put_nowait", "item")?;
        if queue.is_plain(OWN_PUT) {
            // SAFETY: as above.
            return Ok(unsafe { put_slowly::<K>(object, item.into(), Timeout::Now) });
        }
        not_blocking(py, object, "put", (item,))
    })
}

/// Calls a method that a subclass overrides, as the stdlib's `…_nowait` do: with `block=False`.
fn not_blocking<'py>(
    py: Python<'py>,
    object: *mut PyObject,
    name: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<*mut PyObject> {
    let keywords = PyDict::new(py);
    keywords.set_item("block", false)?;
    // SAFETY: the receiver of the call being served.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) };
    Ok(object.getattr(name)?.call(arguments, Some(&keywords))?.into_ptr())
}

/// `get(block=True, timeout=None)`.
pub unsafe extern "C" fn get<K: Kind>(
    object: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { values, count, names };
    // SAFETY: as in `put`.
    unsafe {
        if !arguments.are_just(0) {
            return get_parsed::<K>(object, arguments);
        }
        match get_fast(receiver::<K>(object)) {
            Some(item) => item,
            None => get_slowly::<K>(object, Timeout::Never),
        }
    }
}

#[cold]
unsafe fn get_slowly<K: Kind>(object: *mut PyObject, timeout: Timeout) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of the call being served.
        let queue = unsafe { receiver::<K>(object) };
        if queue.state.with(py, |state| state.is_foreign()) {
            return get_elsewhere::<K>(py, object, timeout);
        }
        match operate::get(py, queue, timeout)? {
            Outcome::Done(item) => Ok(item.into_ptr()),
            Outcome::Elsewhere(_) => get_elsewhere::<K>(py, object, timeout),
        }
    })
}

unsafe fn get_parsed<K: Kind>(object: *mut PyObject, arguments: Arguments) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the arguments of the call being served.
        let [block, timeout] = unsafe { arguments.bind(py, "get", ["block", "timeout"])? };
        let timeout = patience(block, timeout)?;
        // SAFETY: as above.
        Ok(unsafe { get_slowly::<K>(object, timeout) })
    })
}

/// `get_nowait()`.
pub unsafe extern "C" fn get_nowait<K: Kind>(
    object: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as in `put`.
    unsafe {
        let queue = receiver::<K>(object);
        if !queue.is_plain(OWN_GET) {
            return guarded(|py| not_blocking(py, object, "get", ()));
        }
        match get_fast(queue) {
            Some(item) => item,
            None => get_slowly::<K>(object, Timeout::Now),
        }
    }
}

/// `put_many(items, timeout=None)`.
pub unsafe extern "C" fn put_many<K: Kind>(
    object: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { values, count, names };
    guarded(|py| {
        // SAFETY: as in `put`.
        let ([items, timeout], queue) = unsafe {
            (arguments.bind(py, "put_many", ["items", "timeout"])?, receiver::<K>(object))
        };
        let timeout = seconds(timeout)?;
        let items = required(items, "put_many", "items")?.try_iter()?;
        let objects = items.map(|item| item.map(Object::from)).collect::<PyResult<_>>()?;
        if let Outcome::Elsewhere(rest) = operate::put_many(py, queue, objects, timeout)? {
            let rest = PyList::new(py, rest.into_iter().map(|item| item.into_bound(py)))?;
            let arguments = (rest, as_arguments(timeout).1);
            elsewhere::<K, _>(py, object, "put_many", arguments)?;
        }
        Ok(none())
    })
}

/// `get_many(max, timeout=None)`.
pub unsafe extern "C" fn get_many<K: Kind>(
    object: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { values, count, names };
    guarded(|py| {
        // SAFETY: as in `put`.
        let ([most, timeout], queue) =
            unsafe { (arguments.bind(py, "get_many", ["max", "timeout"])?, receiver::<K>(object)) };
        let most: isize = required(most, "get_many", "max")?.extract()?;
        let Some(most) = usize::try_from(most).ok().filter(|most| *most > 0) else {
            return Err(PyValueError::new_err("'max' must be a positive number"));
        };
        let timeout = seconds(timeout)?;
        match operate::get_many(py, queue, most, timeout)? {
            Outcome::Done(objects) => as_list(py, objects),
            Outcome::Elsewhere(_) => {
                let arguments = (most, as_arguments(timeout).1);
                Ok(elsewhere::<K, _>(py, object, "get_many", arguments)?.into_ptr())
            }
        }
    })
}

/// A list of the objects.
pub fn as_list(py: Python<'_>, objects: Vec<Object>) -> PyResult<*mut PyObject> {
    let objects = objects.into_iter().map(|object| object.into_bound(py));
    Ok(PyList::new(py, objects.collect::<Vec<_>>())?.into_ptr())
}

/// `_try_put(item)`: whether it could be put at once and without more ado.
pub unsafe extern "C" fn try_put<K: Kind>(
    object: *mut PyObject,
    item: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as in `put`.
    let put = unsafe { put_fast(receiver::<K>(object), item) }.is_ok();
    boolean(put)
}

/// `_try_get(default)`: an item if there is one without more ado.
pub unsafe extern "C" fn try_get<K: Kind>(
    object: *mut PyObject,
    default: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: as in `put`.
    unsafe {
        match get_fast(receiver::<K>(object)) {
            Some(item) => item,
            None => crate::boundary::new_reference(default),
        }
    }
}
