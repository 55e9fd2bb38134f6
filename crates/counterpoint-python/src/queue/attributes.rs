//! What can be asked of a queue, and what can be set.

use super::bound;
use super::elsewhere::{compatible, elsewhere};
use super::errors::denied;
use super::kind::Kind;
use super::layout::{RawQueue, StateOf, receiver};
use super::object::Object;
use super::operate::run;
use super::patience::{Arguments, boolean, none, seconds};
use crate::boundary::{Counts, Meter, guarded, seconds as in_seconds, thread_owner, wake};
use counterpoint_sync::queue::{Denied, Join, Peek};
use counterpoint_sync::wait::Wait;
use pyo3::exceptions::{PyAttributeError, PyTimeoutError, PyValueError};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

/// Asks the state, or the Python implementation by the method `name`.
unsafe fn ask<K: Kind, R>(
    object: *mut PyObject,
    name: &str,
    answer: impl FnOnce(&StateOf<K>) -> R,
    convert: impl FnOnce(Python<'_>, R) -> PyResult<*mut PyObject>,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        let here = queue.state.with(py, |state| (!state.is_foreign()).then(|| answer(state)));
        match here {
            Some(answer) => convert(py, answer),
            None => Ok(elsewhere::<K, _>(py, object, name, ())?.into_ptr()),
        }
    })
}

fn number(py: Python<'_>, value: u64) -> PyResult<*mut PyObject> {
    Ok(value.into_pyobject(py)?.into_any().into_ptr())
}

/// The same without pyo3, for a queue whose items are here.
#[inline(always)]
unsafe fn ask_fast<K: Kind, R>(
    object: *mut PyObject,
    answer: impl FnOnce(&StateOf<K>) -> R,
) -> Option<R> {
    // SAFETY: as for `ask`; calls come attached.
    let (queue, py) = unsafe { (receiver::<K>(object), Python::assume_attached()) };
    queue.state.with(py, |state| (!state.is_foreign()).then(|| answer(state)))
}

unsafe fn ask_elsewhere<K: Kind>(object: *mut PyObject, name: &str) -> *mut PyObject {
    guarded(|py| Ok(elsewhere::<K, _>(py, object, name, ())?.into_ptr()))
}

/// `qsize()`.
pub unsafe extern "C" fn qsize<K: Kind>(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: as for `ask`.
    unsafe {
        match ask_fast::<K, _>(object, |state| state.len()) {
            Some(len) => ffi::PyLong_FromSize_t(len),
            None => ask_elsewhere::<K>(object, "qsize"),
        }
    }
}

/// `empty()`.
pub unsafe extern "C" fn empty<K: Kind>(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: as for `ask`.
    unsafe {
        match ask_fast::<K, _>(object, |state| state.is_empty()) {
            Some(yes) => boolean(yes),
            None => ask_elsewhere::<K>(object, "empty"),
        }
    }
}

/// `full()`.
pub unsafe extern "C" fn full<K: Kind>(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: as for `ask`.
    unsafe {
        match ask_fast::<K, _>(object, |state| state.is_full()) {
            Some(yes) => boolean(yes),
            None => ask_elsewhere::<K>(object, "full"),
        }
    }
}

/// `task_done()`.
pub unsafe extern "C" fn task_done<K: Kind>(
    object: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: calls come attached, with an instance of the type.
    let fast = unsafe {
        let py = Python::assume_attached();
        receiver::<K>(object).state.with(py, |state| state.task_done_fast())
    };
    if fast {
        return none();
    }
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        let done = wake(py, &queue.state, |state, wakes| {
            (!state.is_foreign()).then(|| state.task_done(wakes))
        });
        match done {
            Some(true) => Ok(none()),
            Some(false) => Err(PyValueError::new_err("task_done() called too many times")),
            None => Ok(elsewhere::<K, _>(py, object, "task_done", ())?.into_ptr()),
        }
    })
}

/// `join(timeout=None)`.
pub unsafe extern "C" fn join<K: Kind>(
    object: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        let arguments = Arguments { values, count, names };
        // SAFETY: CPython calls methods with an instance of the type and the call's arguments.
        let ([given], queue) =
            unsafe { (arguments.bind(py, "join", ["timeout"])?, receiver::<K>(object)) };
        let timeout = seconds(given.clone())?;
        let mut wait = Wait::new(Join::default());
        match run(py, queue, &mut wait, timeout)? {
            Some(Ok(())) => Ok(none()),
            Some(Err(_)) => Ok(elsewhere::<K, _>(py, object, "join", (given,))?.into_ptr()),
            None => Err(PyTimeoutError::new_err("tasks of the queue are unfinished")),
        }
    })
}

/// `shutdown(immediate=False)`.
pub unsafe extern "C" fn shutdown<K: Kind>(
    object: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        let arguments = Arguments { values, count, names };
        // SAFETY: as in `join`.
        let ([immediate], queue) =
            unsafe { (arguments.bind(py, "shutdown", ["immediate"])?, receiver::<K>(object)) };
        let immediate = immediate.map_or(Ok(false), |immediate| immediate.is_truthy())?;
        let dropped = wake(py, &queue.state, |state, wakes| {
            (!state.is_foreign()).then(|| state.shut_down(immediate, wakes))
        });
        if dropped.is_none() {
            elsewhere::<K, _>(py, object, "shutdown", (immediate,))?;
        }
        Ok(none())
    })
}

/// `peek()`.
pub unsafe extern "C" fn peek<K: Kind>(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        if super::outside::is_within(py, queue) {
            return Err(denied(py, Denied::Empty));
        }
        let mut wait = Wait::new(Peek::new(thread_owner()));
        let timeout = crate::boundary::Timeout::Never;
        match run(py, queue, &mut wait, timeout)?.unwrap_or(Err(Denied::Empty)) {
            Ok(item) => Ok(item.into_ptr()),
            Err(Denied::Foreign) => Ok(elsewhere::<K, _>(py, object, "peek", ())?.into_ptr()),
            Err(why) => Err(denied(py, why)),
        }
    })
}

/// `_counters()`: (size, unfinished, puts, gets, max_size, putters, getters).
pub unsafe extern "C" fn counters<K: Kind>(
    object: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    let answer = |state: &StateOf<K>| (state.len(), state.counters());
    // SAFETY: as for `ask`.
    unsafe {
        ask::<K, _>(object, "counters", answer, |py, (len, c)| {
            let all = (len, c.unfinished, c.puts, c.gets, c.longest, c.putters, c.getters);
            Ok(all.into_pyobject(py)?.into_any().into_ptr())
        })
    }
}

/// `_waits()`: the waits of put and of get, in seconds.
pub unsafe extern "C" fn waits<K: Kind>(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        let (put, get) = queue.state.with(py, |state| state.waits());
        Ok((in_seconds(put), in_seconds(get)).into_pyobject(py)?.into_any().into_ptr())
    })
}

/// `_compatible()`: the Python implementation, to which the queue now belongs.
pub unsafe extern "C" fn move_away<K: Kind>(
    object: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| Ok(compatible::<K>(py, object)?.into_ptr()))
}

/// `_traits()`: whether it is in compatible mode, whether its heap is stable, and its key function.
pub unsafe extern "C" fn traits<K: Kind>(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        let (foreign, stable) =
            queue.state.with(py, |state| (state.is_foreign(), K::is_stable(state.store())));
        let key = queue.extra(py, |extra| extra.key.as_ref()).map(|key| key.into_bound(py));
        Ok((foreign, stable, key).into_pyobject(py)?.into_any().into_ptr())
    })
}

/// `_dropped(item)`: tells `on_drop` of an item.
pub unsafe extern "C" fn dropped<K: Kind>(
    object: *mut PyObject,
    item: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type and a live argument.
        let (queue, item) = unsafe { (receiver::<K>(object), Object::borrowed(item)) };
        super::operate::tell_dropped(py, queue, &item);
        Ok(none())
    })
}

/// `__class_getitem__`.
pub unsafe extern "C" fn class_getitem(class: *mut PyObject, item: *mut PyObject) -> *mut PyObject {
    // SAFETY: CPython passes a class and live arguments.
    unsafe { ffi::Py_GenericAlias(class, item) }
}

/// `_meter`.
pub unsafe extern "C" fn meter<K: Kind>(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: a getter is called with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        let (puts, gets) = queue.state.with(py, |state| state.share_waits());
        let fresh = Arc::<Counts>::default();
        let counts = queue.change_extra(py, |extra| extra.counts.get_or_insert(fresh).clone());
        queue.publish(py);
        let meter = Meter::new(None, counts, vec![("put_waits", puts), ("get_waits", gets)]);
        Ok(Py::new(py, meter)?.into_any().into_ptr())
    })
}

/// `maxsize`.
pub unsafe extern "C" fn maxsize<K: Kind>(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: a getter is called with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        Ok(bound::shown(py, queue)?.into_ptr())
    })
}

/// `maxsize = …`.
pub unsafe extern "C" fn set_maxsize<K: Kind>(
    object: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        let value = given(py, value, "maxsize")?;
        // SAFETY: a setter is called with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        bound::resize(py, queue, bound::Asked::read(&value)?)?;
        if queue.state.with(py, |state| state.is_foreign()) {
            elsewhere::<K, _>(py, object, "resized", ())?;
        }
        Ok(0)
    })
}

/// A setter's value; attributes of queues cannot be deleted.
fn given<'py>(py: Python<'py>, value: *mut PyObject, name: &str) -> PyResult<Bound<'py, PyAny>> {
    if value.is_null() {
        return Err(PyAttributeError::new_err(format!("cannot delete attribute '{name}'")));
    }
    // SAFETY: not null, and alive for the call.
    Ok(unsafe { Bound::from_borrowed_ptr(py, value) })
}

/// `unfinished_tasks`.
pub unsafe extern "C" fn unfinished<K: Kind>(
    object: *mut PyObject,
    _: *mut c_void,
) -> *mut PyObject {
    // SAFETY: as for `ask`.
    unsafe { ask::<K, _>(object, "unfinished", |state| state.unfinished(), number) }
}

/// `is_shutdown`.
pub unsafe extern "C" fn is_shutdown<K: Kind>(
    object: *mut PyObject,
    _: *mut c_void,
) -> *mut PyObject {
    let answer = |state: &StateOf<K>| state.is_shut_down();
    // SAFETY: as for `ask`.
    unsafe { ask::<K, _>(object, "shut_down", answer, |_, yes| Ok(boolean(yes))) }
}

/// `mutex`, `queue` and the conditions: the Python implementation has them.
pub unsafe extern "C" fn get_elsewhere<K: Kind>(
    object: *mut PyObject,
    name: *mut c_void,
) -> *mut PyObject {
    guarded(|py| {
        let there = compatible::<K>(py, object)?;
        // SAFETY: the closure of these attributes is their name, a static C string.
        unsafe {
            let found = ffi::PyObject_GetAttrString(there.as_ptr(), name.cast());
            Ok(Bound::from_owned_ptr_or_err(py, found)?.into_ptr())
        }
    })
}

/// `unfinished_tasks = …`, `is_shutdown = …` and `queue = …`: only the Python implementation can.
pub unsafe extern "C" fn set_elsewhere<K: Kind>(
    object: *mut PyObject,
    value: *mut PyObject,
    name: *mut c_void,
) -> c_int {
    guarded(|py| {
        // SAFETY: the closure of these attributes is their name, a static C string.
        let name = unsafe { std::ffi::CStr::from_ptr(name.cast()) }.to_string_lossy();
        let value = given(py, value, &name)?;
        compatible::<K>(py, object)?.setattr(name.as_ref(), value)?;
        Ok(0)
    })
}

/// Replaces one of the rare things; the old one is dropped outside.
pub fn set_extra<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    on_drop: Option<Object>,
    key: Option<Object>,
) {
    if on_drop.is_none() && key.is_none() && queue.extra.with(py, |extra| extra.is_none()) {
        return;
    }
    let old = queue.change_extra(py, |extra| {
        (std::mem::replace(&mut extra.on_drop, on_drop), std::mem::replace(&mut extra.key, key))
    });
    drop(old);
}
