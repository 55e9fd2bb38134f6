//! `repr`, and the stdlib's private attributes, computed from the tail.

use super::callbacks::{share, take};
use super::complete::{acquire, force};
use super::{FutureObject, layout::Fields, remote, stdlib};
use crate::boundary::{attribute, guarded};
use crate::executor::pool::guess_wait;
use crate::executor::reference::Ref;
use counterpoint_sync::executor::future::Phase;
use pyo3::exceptions::{PyAttributeError, PyValueError};
use pyo3::ffi::{PyGetSetDef, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use std::ffi::{c_int, c_void};
use std::ptr;

const PHASES: [(Phase, &str, &str); 5] = [
    (Phase::Pending, "PENDING", "pending"),
    (Phase::Running, "RUNNING", "running"),
    (Phase::Cancelled, "CANCELLED", "cancelled"),
    (Phase::Notified, "CANCELLED_AND_NOTIFIED", "cancelled"),
    (Phase::Finished, "FINISHED", "finished"),
];

/// The stdlib's constant for a phase.
pub fn phase_name(phase: Phase) -> &'static str {
    PHASES[phase as usize].1
}

/// Which field an attribute shows.
type Field = fn(&mut Fields) -> &mut *mut PyObject;

const RESULT: Field = |fields| &mut fields.result;
const EXCEPTION: Field = |fields| &mut fields.exception;
const CALLBACKS: Field = |fields| &mut fields.callbacks;
const OBSERVERS: Field = |fields| &mut fields.observers;
const CONDITION: Field = |fields| &mut fields.condition;

/// `repr(future)`, in the stdlib's words.
pub unsafe extern "C" fn repr(object: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a slot.
        let future = unsafe { FutureObject::from_ptr(object) };
        let text = describe(py, future)?;
        Ok(text.into_pyobject(py)?.into_any().into_ptr())
    })
}

/// The future in the stdlib's words.
pub fn describe(py: Python<'_>, future: FutureObject) -> PyResult<String> {
    remote::refresh(future);
    remote::settle(py, future)?;
    let acquired = acquire(py, future)?;
    let read = remote::read_settled(py, future, |state, fields| {
        // SAFETY: under the lock.
        unsafe { (state.phase(), share(fields.exception), share(fields.result)) }
    });
    drop(acquired);
    let (phase, exception, result) = read?;
    let class = class_name(&future.bind(py))?;
    let name = quoted_name(&future.bind(py))?;
    let name = name.map_or(String::new(), |name| format!(" name={name}"));
    let (place, state) = (future.as_ptr() as usize, PHASES[phase as usize].2);
    let head = format!("<{class} at {place:#x}{name} state={state}");
    if phase != Phase::Finished {
        return Ok(format!("{head}>"));
    }
    if let Some(exception) = exception {
        return Ok(format!("{head} raised {}>", class_name(&exception.bind(py))?));
    }
    let result = result.map_or(Ok("NoneType".to_owned()), |result| class_name(&result.bind(py)))?;
    Ok(format!("{head} returned {result}>"))
}

/// The name that it was given, if any, in quotes.
pub fn quoted_name(future: &Bound<'_, PyAny>) -> PyResult<Option<String>> {
    let name = future.getattr_opt(intern!(future.py(), "name"))?;
    let name = name.filter(|name| name.is_instance_of::<PyString>());
    name.map(|name| Ok(name.repr()?.to_string())).transpose()
}

fn class_name(object: &Bound<'_, PyAny>) -> PyResult<String> {
    Ok(object.get_type().name()?.to_string())
}

unsafe extern "C" fn get_state(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of an attribute.
        let future = unsafe { FutureObject::from_ptr(object) };
        remote::refresh(future);
        let phase = future.with(py, |state, fields| future.phase_to_show(state.phase(), fields));
        Ok(pyo3::types::PyString::intern(py, phase_name(phase)).into_ptr().cast())
    })
}

unsafe extern "C" fn set_state(
    object: *mut PyObject,
    value: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        let value = given(py, value, "_state")?;
        let name: String = value.extract()?;
        let phase = PHASES.iter().find(|phase| phase.1 == name);
        let phase = phase.ok_or_else(|| PyValueError::new_err(format!("no such state: {name}")))?;
        // SAFETY: the receiver of an attribute.
        force(py, unsafe { FutureObject::from_ptr(object) }, phase.0);
        Ok(0)
    })
}

fn given<'py>(py: Python<'py>, value: *mut PyObject, name: &str) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: null (a deletion) or a live object.
    unsafe { Bound::from_borrowed_ptr_or_opt(py, value) }
        .ok_or_else(|| PyAttributeError::new_err(format!("cannot delete {name}")))
}

/// What may be stored in a field.
type Check = for<'py> fn(Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>>;

/// Anything.
fn anything(value: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    Ok(value)
}

/// A list, which our own code appends to and indexes; of other iterables a list is made.
fn list(value: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    if value.is_none() || value.is_instance_of::<PyList>() {
        return Ok(value);
    }
    value.py().get_type::<PyList>().call1((value,))
}

/// Sets a field; None is stored as nothing.
fn set(object: *mut PyObject, value: *mut PyObject, field: Field, check: Check) -> c_int {
    guarded(|py| {
        let value = check(given(py, value, "an attribute of a future")?)?;
        let mut value = (!value.is_none()).then(|| Ref::from(value));
        // SAFETY: the receiver of an attribute; the field owns what it points to.
        let old = unsafe { FutureObject::from_ptr(object) }.with(py, |_, fields| unsafe {
            let field = field(fields);
            let old = take(field);
            *field = value.take().map_or(ptr::null_mut(), Ref::into_ptr);
            old
        });
        drop(old);
        Ok(0)
    })
}

/// Reads a field; what is not there is None.
fn get(object: *mut PyObject, field: Field) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of an attribute.
        let future = unsafe { FutureObject::from_ptr(object) };
        // SAFETY: under the lock.
        let value = remote::read_settled(py, future, |_, fields| unsafe { share(*field(fields)) })?;
        Ok(value.map_or_else(|| py.None().into_ptr(), Ref::into_ptr))
    })
}

/// Reads a field that `make` fills when it is read first. Some are touched by those who wait.
fn get_or_make(
    object: *mut PyObject,
    field: Field,
    for_waiting: bool,
    make: fn(Python<'_>) -> PyResult<Bound<'_, PyAny>>,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of an attribute.
        let future = unsafe { FutureObject::from_ptr(object) };
        if for_waiting {
            guess_wait(py, future)?;
        }
        // SAFETY: under the lock.
        let there = future.with(py, |_, fields| unsafe { share(*field(fields)) });
        if let Some(there) = there {
            return Ok(there.into_ptr());
        }
        let mut made = Some(Ref::from(make(py)?));
        let there = future.with(py, |_, fields| {
            let field = field(fields);
            if field.is_null()
                && let Some(made) = made.take()
            {
                *field = made.into_ptr();
            }
            // SAFETY: under the lock; not null by now.
            unsafe { Ref::new(*field) }
        });
        Ok(there.into_ptr())
    })
}

fn empty_list(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    Ok(pyo3::types::PyList::empty(py).into_any())
}

macro_rules! accessor {
    ($get:ident, $set:ident, $field:expr, $check:expr $(, $waiting:expr, $make:expr)?) => {
        unsafe extern "C" fn $get(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
            accessor!(@get object, $field $(, $waiting, $make)?)
        }

        unsafe extern "C" fn $set(
            object: *mut PyObject,
            value: *mut PyObject,
            _: *mut c_void,
        ) -> c_int {
            set(object, value, $field, $check)
        }
    };
    (@get $object:ident, $field:expr) => { get($object, $field) };
    (@get $object:ident, $field:expr, $waiting:expr, $make:expr) => {
        get_or_make($object, $field, $waiting, $make)
    };
}

accessor!(get_result, set_result, RESULT, anything);
accessor!(get_exception, set_exception, EXCEPTION, anything);
accessor!(get_callbacks, set_callbacks, CALLBACKS, list, false, empty_list);
accessor!(get_observers, set_observers, OBSERVERS, list, true, empty_list);
accessor!(get_condition, set_condition, CONDITION, anything, true, stdlib::condition);

/// The attributes that programs and the stdlib are known to use.
pub fn attributes() -> Vec<PyGetSetDef> {
    vec![
        attribute(c"_state", get_state, set_state),
        attribute(c"_result", get_result, set_result),
        attribute(c"_exception", get_exception, set_exception),
        attribute(c"_done_callbacks", get_callbacks, set_callbacks),
        attribute(c"_waiters", get_observers, set_observers),
        attribute(c"_condition", get_condition, set_condition),
    ]
}
