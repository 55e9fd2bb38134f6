//! One attempt: the system call, which does not wait.

use super::layout::{Kind, Operation};
use super::methods::descriptor_in;
use super::steps::gone;
use crate::boundary::{View, none, os_error, waits};
use crate::event_loop::native::Loop;
use crate::event_loop::stream::{Left, Source, is_cut, receive_bytes, receive_message};
use crate::executor::reference::Ref;
use counterpoint_reactor::outgoing::SEND_FLAGS;
use counterpoint_reactor::sizes::Sizes;
use pyo3::exceptions::{PyBlockingIOError, PyInterruptedError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;

/// Tries once. `None`: there is nothing to receive, or no room to send, yet.
pub fn attempt(py: Python<'_>, native: &Loop, operation: Operation) -> PyResult<Option<Ref>> {
    let (sock, argument, number) = operation.with(py, |inside| {
        let share = |object: &Option<Ref>| object.as_ref().map(Ref::share);
        (share(&inside.sock), share(&inside.argument), inside.number)
    });
    // Somebody gave it up meanwhile.
    let Some(sock) = sock else { return Ok(None) };
    let attempt = Attempt { py, operation, sock: &sock };
    match (operation.kind(), argument) {
        (Kind::Receive, _) => attempt.receive(native, number),
        (Kind::ReceiveInto, Some(buffer)) => attempt.receive_into(&buffer),
        (Kind::SendAll, Some(data)) => attempt.send_all(&data, number),
        (_, Some(arguments)) => attempt.call(&arguments),
        (_, None) => Ok(None),
    }
}

struct Attempt<'a, 'py> {
    py: Python<'py>,
    operation: Operation,
    sock: &'a Ref,
}

impl Attempt<'_, '_> {
    /// The descriptor, for a system call that is made now: whatever runs Python may close the socket,
    /// and its number may be another file's then.
    fn fd(&self) -> RawFd {
        // SAFETY: operations are made for plain sockets only.
        let now = unsafe { descriptor_in(self.sock.as_ptr()) };
        if now == self.operation.fd() { now } else { -1 }
    }

    fn receive(&self, native: &Loop, most: usize) -> PyResult<Option<Ref>> {
        if most == 0 {
            return Ok(Some(self.empty()?));
        }
        let left = Cell::new(Left::Unknown);
        let source = Source { fd: self.fd(), left: &left, is_pipe: false };
        let received = match is_cut(source.fd, most) {
            true => receive_message(&source, most),
            false => receive_bytes(self.py, native, &source, most, Sizes::place_of_any),
        };
        match received {
            Ok(Some(data)) => Ok(Some(data)),
            Ok(None) => Err(crate::boundary::fetch(self.py)),
            Err(error) => nothing_yet(&error),
        }
    }

    fn empty(&self) -> PyResult<Ref> {
        // SAFETY: a new reference, or null with an exception set.
        let data = unsafe { Ref::owned(ffi::PyBytes_FromStringAndSize(std::ptr::null(), 0)) };
        data.ok_or_else(|| crate::boundary::fetch(self.py))
    }

    fn receive_into(&self, buffer: &Ref) -> PyResult<Option<Ref>> {
        let view = View::writable(self.py, buffer)?;
        let (place, room) = (view.place(), view.len());
        let received = if room == 0 {
            Ok(0)
        } else {
            // SAFETY: so much room. The call does not wait, so the interpreter is kept.
            counted(unsafe { libc::recv(self.fd(), place.cast(), room, libc::MSG_DONTWAIT) })
        };
        drop(view);
        match received {
            Ok(count) => self.number(count).map(Some),
            Err(error) => nothing_yet(&error),
        }
    }

    fn number(&self, count: usize) -> PyResult<Ref> {
        // SAFETY: a new reference, or null with an exception set.
        let number = unsafe { Ref::owned(ffi::PyLong_FromSize_t(count)) };
        number.ok_or_else(|| crate::boundary::fetch(self.py))
    }

    /// Sends what is not sent yet.
    fn send_all(&self, data: &Ref, before: usize) -> PyResult<Option<Ref>> {
        let view = View::readable(self.py, data)?;
        let (place, size) = (view.place(), view.len());
        let rest = size.saturating_sub(before);
        // SAFETY: so much of the buffer is left. The call does not wait.
        let sent = counted(unsafe {
            libc::send(self.fd(), place.add(size - rest).cast_const().cast(), rest, SEND_FLAGS)
        });
        drop(view);
        match sent {
            // SAFETY: a reference of our own.
            Ok(count) if count == rest => Ok(unsafe { Ref::owned(none()) }),
            Ok(count) => {
                self.operation.with(self.py, |inside| inside.number = before + count);
                Ok(None)
            }
            Err(error) => nothing_yet(&error),
        }
    }

    /// Calls the socket's method.
    fn call(&self, arguments: &Ref) -> PyResult<Option<Ref>> {
        let py = self.py;
        let arguments = arguments.bind(py).cast_into::<PyTuple>()?;
        let sock = self.sock.bind(py);
        let done = match self.operation.kind() {
            Kind::ReceiveFrom => sock.call_method1(intern!(py, "recvfrom"), arguments),
            Kind::ReceiveFromInto => sock.call_method1(intern!(py, "recvfrom_into"), arguments),
            Kind::SendTo => sock.call_method1(intern!(py, "sendto"), arguments),
            _ => accept(&sock),
        };
        match done {
            Ok(value) => Ok(Some(value.into())),
            Err(error)
                if error.is_instance_of::<PyBlockingIOError>(py)
                    || error.is_instance_of::<PyInterruptedError>(py) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn accept<'py>(listener: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = listener.py();
    let accepted = listener.call_method0(intern!(py, "accept"))?;
    accepted.get_item(0)?.call_method1(intern!(py, "setblocking"), (false,))?;
    Ok(accepted)
}

fn counted(count: isize) -> io::Result<usize> {
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

/// An attempt in vain, or an error.
#[cold]
fn nothing_yet(error: &io::Error) -> PyResult<Option<Ref>> {
    if waits(error) { Ok(None) } else { Err(os_error(error)) }
}

/// How much room there is in the buffer into which an operation receives.
pub fn room(py: Python<'_>, operation: Operation) -> PyResult<usize> {
    let buffer = operation.with(py, |inside| inside.argument.as_ref().map(Ref::share));
    let buffer = buffer.ok_or_else(gone)?;
    let view = View::writable(py, &buffer)?;
    Ok(view.len())
}
