//! What asyncio's own code reads and sets of a TLS protocol, kept in its native half.

use super::PROTOCOL;
use super::engine::{
    APP_READING_PAUSED, APP_WRITING_PAUSED, BUFFERED, Inside, SSL_READING_PAUSED,
    SSL_WRITING_PAUSED, Tls,
};
use crate::boundary::{attribute, boolean, guarded, none, value};
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::ffi::{CStr, c_int, c_void};

/// The attributes.
pub fn attributes() -> Vec<ffi::PyGetSetDef> {
    vec![
        flag(c"_app_reading_paused", APP_READING_PAUSED),
        flag(c"_app_writing_paused", APP_WRITING_PAUSED),
        flag(c"_ssl_reading_paused", SSL_READING_PAUSED),
        flag(c"_ssl_writing_paused", SSL_WRITING_PAUSED),
        flag(c"_app_protocol_is_buffer", BUFFERED),
        attribute(c"_state", state, set_state),
        attribute(c"_app_protocol", protocol, set_protocol),
        attribute(c"_transport", transport, set_transport),
    ]
}

fn flag(name: &'static CStr, flag: u8) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { closure: flag as usize as *mut c_void, ..attribute(name, get, set) }
}

/// The native half of an attribute's receiver.
fn receiver<'a>(py: Python<'a>, object: *mut PyObject) -> PyResult<&'a Tls> {
    // SAFETY: CPython passes an instance of the class.
    unsafe { PROTOCOL.demand(py, object) }
}

unsafe extern "C" fn get(object: *mut PyObject, flag: *mut c_void) -> *mut PyObject {
    guarded(|py| Ok(boolean(receiver(py, object)?.is(flag as usize as u8))))
}

unsafe extern "C" fn set(object: *mut PyObject, given: *mut PyObject, flag: *mut c_void) -> c_int {
    guarded(|py| {
        let given = value(py, given)?.is_truthy()?;
        receiver(py, object)?.flag(flag as usize as u8, given);
        Ok(0)
    })
}

type Field = fn(&mut Inside) -> &mut Option<Ref>;

fn read(object: *mut PyObject, field: Field) -> *mut PyObject {
    guarded(|py| {
        let inside = &receiver(py, object)?.inside;
        let value = inside.with(py, |inside| field(inside).as_ref().map(Ref::share));
        Ok(value.map_or_else(none, Ref::into_ptr))
    })
}

unsafe extern "C" fn state(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    read(object, |inside| &mut inside.state)
}

unsafe extern "C" fn set_state(
    object: *mut PyObject,
    given: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        drop(receiver(py, object)?.set_state(&value(py, given)?));
        Ok(0)
    })
}

unsafe extern "C" fn protocol(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    read(object, |inside| &mut inside.protocol)
}

unsafe extern "C" fn set_protocol(
    object: *mut PyObject,
    given: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        let (tls, given) = (receiver(py, object)?, value(py, given)?);
        let given = (!given.is_none()).then(|| Ref::from(given));
        let swap = |inside: &mut Inside| std::mem::replace(&mut inside.protocol, given);
        let before = tls.inside.with(py, swap);
        drop(before);
        Ok(0)
    })
}

unsafe extern "C" fn transport(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    read(object, |inside| &mut inside.transport)
}

unsafe extern "C" fn set_transport(
    object: *mut PyObject,
    given: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        receiver(py, object)?.set_transport(value(py, given)?)?;
        Ok(0)
    })
}
