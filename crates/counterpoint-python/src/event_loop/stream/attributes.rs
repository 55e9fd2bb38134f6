//! What asyncio's own code reads and sets of a transport, kept in its connection.

use super::TRANSPORT;
use super::connection::Connection;
use crate::boundary::{attribute, boolean, guarded, none, value};
use crate::event_loop::registry::Watcher;
use crate::executor::reference::Ref;
use counterpoint_reactor::phase::Flag;
use counterpoint_reactor::poller::READ;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::ffi::{CStr, c_int, c_void};

/// The flags that are attributes of their own.
const FLAGS: [(&CStr, Flag); 3] =
    [(c"_closing", Flag::Closing), (c"_paused", Flag::Paused), (c"_eof", Flag::Eof)];

/// The attributes.
pub fn attributes() -> Vec<ffi::PyGetSetDef> {
    vec![
        flag::<0>(),
        flag::<1>(),
        flag::<2>(),
        attribute(c"_conn_lost", lost, set_lost),
        attribute(c"_protocol", protocol, set_protocol),
        attribute(c"_empty_waiter", empty_waiter, set_empty_waiter),
        attribute(c"_buffer", buffer, crate::event_loop::attributes::ignore),
    ]
}

fn flag<const INDEX: usize>() -> ffi::PyGetSetDef {
    attribute(FLAGS[INDEX].0, get::<INDEX>, set::<INDEX>)
}

/// The connection of an attribute's receiver.
fn receiver<'a>(py: Python<'a>, transport: *mut PyObject) -> PyResult<&'a Connection> {
    // SAFETY: CPython passes an instance of the class.
    unsafe { TRANSPORT.demand(py, transport) }
}

unsafe extern "C" fn get<const INDEX: usize>(
    transport: *mut PyObject,
    _: *mut c_void,
) -> *mut PyObject {
    guarded(|py| Ok(boolean(receiver(py, transport)?.phase.is(FLAGS[INDEX].1))))
}

unsafe extern "C" fn set<const INDEX: usize>(
    transport: *mut PyObject,
    given: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    guarded(|py| {
        let given = value(py, given)?.is_truthy()?;
        let (connection, (_, flag)) = (receiver(py, transport)?, FLAGS[INDEX]);
        connection.phase.set(flag, given);
        if flag == Flag::Closing && given {
            connection.release(py);
        }
        Ok(0)
    })
}

unsafe extern "C" fn lost(transport: *mut PyObject, _: *mut c_void) -> *mut PyObject {
    guarded(|py| {
        let lost = receiver(py, transport)?.phase.lost();
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
        receiver(py, transport)?.phase.set_lost(given);
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
        connection.phase.set(Flag::Awaited, !given.is_none());
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

/// `is_closing()`, which servers ask before each answer.
pub unsafe extern "C" fn is_closing(transport: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: the receiver of a method; the first flag.
    unsafe { get::<0>(transport, std::ptr::null_mut()) }
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
        if connection.phase.wants_to_read() {
            // SAFETY: the receiver of a method.
            let transport = Watcher::Transport(unsafe { Ref::new(transport) });
            drop(connection.native.get().watch(py, connection.watched(), READ, transport)?);
        }
        Ok(none())
    })
}
