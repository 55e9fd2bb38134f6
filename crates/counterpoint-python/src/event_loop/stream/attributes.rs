//! What asyncio's own code reads and sets of a transport, kept in its connection.

use super::TRANSPORT;
use super::connection::{AWAITED, CLOSING, Connection, EOF, PAUSED};
use crate::boundary::{attribute, boolean, guarded, none, value};
use crate::event_loop::registry::Watcher;
use crate::executor::reference::Ref;
use counterpoint_reactor::poller::READ;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::ffi::{CStr, c_int, c_void};
use std::sync::atomic::Ordering;

/// The attributes.
pub fn attributes() -> Vec<ffi::PyGetSetDef> {
    vec![
        flag(c"_closing", CLOSING),
        flag(c"_paused", PAUSED),
        flag(c"_eof", EOF),
        attribute(c"_conn_lost", lost, set_lost),
        attribute(c"_protocol", protocol, set_protocol),
        attribute(c"_empty_waiter", empty_waiter, set_empty_waiter),
        attribute(c"_buffer", buffer, crate::event_loop::attributes::ignore),
    ]
}

fn flag(name: &'static CStr, flag: u8) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef { closure: flag as usize as *mut c_void, ..attribute(name, get, set) }
}

/// The connection of an attribute's receiver.
fn receiver<'a>(py: Python<'a>, transport: *mut PyObject) -> PyResult<&'a Connection> {
    // SAFETY: CPython passes an instance of the class.
    unsafe { TRANSPORT.demand(py, transport) }
}

unsafe extern "C" fn get(transport: *mut PyObject, flag: *mut c_void) -> *mut PyObject {
    guarded(|py| Ok(boolean(receiver(py, transport)?.is(flag as usize as u8))))
}

unsafe extern "C" fn set(
    transport: *mut PyObject,
    given: *mut PyObject,
    flag: *mut c_void,
) -> c_int {
    guarded(|py| {
        let given = value(py, given)?.is_truthy()?;
        let (connection, flag) = (receiver(py, transport)?, flag as usize as u8);
        connection.flag(flag, given);
        if flag == CLOSING && given {
            connection.release(py);
        }
        Ok(0)
    })
}

unsafe extern "C" fn lost(transport: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        let lost = receiver(py, transport)?.lost.load(Ordering::Relaxed);
        Ok(lost.into_pyobject(py)?.into_any().into_ptr())
    })
}

unsafe extern "C" fn set_lost(
    transport: *mut PyObject,
    given: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        let given = value(py, given)?.extract()?;
        receiver(py, transport)?.lost.store(given, Ordering::Relaxed);
        Ok(0)
    })
}

unsafe extern "C" fn protocol(transport: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        let inside = &receiver(py, transport)?.inside;
        let protocol = inside.with(py, |inside| inside.protocol.as_ref().map(Ref::share));
        Ok(protocol.map_or_else(none, Ref::into_ptr))
    })
}

unsafe extern "C" fn set_protocol(
    transport: *mut PyObject,
    given: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        drop(receiver(py, transport)?.set_protocol(&value(py, given)?)?);
        Ok(0)
    })
}

unsafe extern "C" fn empty_waiter(transport: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        let inside = &receiver(py, transport)?.inside;
        let waiter = inside.with(py, |inside| inside.empty_waiter.as_ref().map(Ref::share));
        Ok(waiter.map_or_else(none, Ref::into_ptr))
    })
}

unsafe extern "C" fn set_empty_waiter(
    transport: *mut PyObject,
    given: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        let (connection, given) = (receiver(py, transport)?, value(py, given)?);
        connection.flag(AWAITED, !given.is_none());
        let given = (!given.is_none()).then(|| Ref::from(given));
        let swap = |inside: &mut super::connection::Inside| {
            std::mem::replace(&mut inside.empty_waiter, given)
        };
        let before = connection.inside.with(py, swap);
        drop(before);
        Ok(0)
    })
}

/// `_buffer`: the connection, which is as long as what is not sent, and can be cleared.
unsafe extern "C" fn buffer(transport: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of an attribute.
        let transport = unsafe { Bound::from_borrowed_ptr(py, transport) };
        Ok(transport.getattr("_counterpoint_connection")?.into_ptr())
    })
}

/// `get_write_buffer_size()`.
pub unsafe extern "C" fn unsent(transport: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        let connection = receiver(py, transport)?;
        let len = connection.inside.with(py, |inside| match inside.held {
            Some(_) => 0, // as good as sent
            None => inside.outgoing.len(),
        });
        Ok(len.into_pyobject(py)?.into_any().into_ptr())
    })
}

/// `_add_reader(fd, callback)`: reads from now on, unless it is paused or closed.
pub unsafe extern "C" fn add_reader(
    transport: *mut PyObject,
    _: *const *mut PyObject,
    _: ffi::Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        let connection = receiver(py, transport)?;
        if !connection.is(CLOSING | PAUSED) {
            // SAFETY: the receiver of a method.
            let transport = Watcher::Transport(unsafe { Ref::new(transport) });
            drop(connection.native.get().watch(py, connection.watched(), READ, transport)?);
        }
        Ok(none())
    })
}
