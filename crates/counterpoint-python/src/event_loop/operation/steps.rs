//! An operation as a coroutine, and what the loop does with it.

use super::attempt::{attempt, room};
use super::future::tell;
use super::layout::{Inside, Kind, Operation, Outcome, Phase};
use super::methods::descriptor_in;
use super::stop::stop;
use crate::boundary::{guarded, none, os_error};
use crate::event_loop::native::Loop;
use crate::event_loop::registry::Watcher;
use crate::event_loop::turn::is_fatal;
use crate::executor::reference::Ref;
use pyo3::exceptions::{PyRuntimeError, PyStopIteration, PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject, PySendResult};
use pyo3::intern;
use pyo3::prelude::*;
use std::io;
use std::os::fd::RawFd;

/// What a step comes to.
pub enum Step {
    /// The task is to wait.
    Wait,
    Return(Ref),
}

/// `tp_iter` and `am_await`.
pub unsafe extern "C" fn itself(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the receiver.
    unsafe { Ref::new(object) }.into_ptr()
}

/// `tp_iternext`: a value is returned by way of StopIteration.
pub unsafe extern "C" fn next(object: *mut PyObject) -> *mut PyObject {
    guarded(|py| match step(py, object)? {
        // SAFETY: the receiver.
        Step::Wait => Ok(unsafe { Ref::new(object) }.into_ptr()),
        Step::Return(value) => stop(py, value),
    })
}

/// `am_send`: a value is returned as such.
pub unsafe extern "C" fn send_slot(
    object: *mut PyObject,
    _: *mut PyObject,
    result: *mut *mut PyObject,
) -> PySendResult {
    let mut returned = false;
    let value = guarded(|py| match step(py, object)? {
        // SAFETY: the receiver.
        Step::Wait => Ok(unsafe { Ref::new(object) }.into_ptr()),
        Step::Return(value) => {
            returned = true;
            Ok(value.into_ptr())
        }
    });
    // SAFETY: the caller's place for the result.
    unsafe { *result = value };
    match value.is_null() {
        true => PySendResult::PYGEN_ERROR,
        false if returned => PySendResult::PYGEN_RETURN,
        false => PySendResult::PYGEN_NEXT,
    }
}

/// `send(value)`.
pub unsafe extern "C" fn send(object: *mut PyObject, value: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: receiver and argument of a method.
        let (operation, first) = unsafe { (Operation::from_ptr(object), value != ffi::Py_None()) };
        if first && operation.phase() == Phase::New {
            let text = "can't send non-None value to a just-started coroutine";
            return Err(PyTypeError::new_err(text));
        }
        match step(py, object)? {
            // SAFETY: the receiver.
            Step::Wait => Ok(unsafe { Ref::new(object) }.into_ptr()),
            Step::Return(value) => Err(PyStopIteration::new_err((value.bind(py).unbind(),))),
        }
    })
}

#[inline(always)]
fn step(py: Python<'_>, object: *mut PyObject) -> PyResult<Step> {
    // SAFETY: the receiver of a method or slot.
    let operation = unsafe { Operation::from_ptr(object) };
    match operation.phase() {
        Phase::New => begin(py, operation),
        Phase::Done => finish(py, operation),
        Phase::Trying => Err(PyValueError::new_err("coroutine already executing")),
        Phase::Waiting => Err(PyRuntimeError::new_err("await wasn't used with future")),
        Phase::Ended => Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine")),
    }
}

/// The first step: tries, and has the loop watch if that was in vain.
fn begin(py: Python<'_>, operation: Operation) -> PyResult<Step> {
    if !operation.pass(Phase::New, Phase::Trying) {
        return Err(PyRuntimeError::new_err("cannot reuse already awaited coroutine"));
    }
    let done = match operation.kind() {
        Kind::Read => super::streams::read_or_wait(py, operation),
        Kind::WaitForData => super::streams::wait_for_data(py, operation),
        _ => try_or_watch(py, operation),
    };
    if !matches!(done, Ok(Step::Wait)) {
        leave(py, operation);
    }
    done
}

fn try_or_watch(py: Python<'_>, operation: Operation) -> PyResult<Step> {
    let share = |object: &Option<Ref>| object.as_ref().map(Ref::share);
    let held = operation.with(py, |inside| (share(&inside.owner), share(&inside.sock)));
    let (Some(owner), Some(sock)) = held else { return Err(gone()) };
    // SAFETY: the owner is a loop of ours, and operations are made for plain sockets only.
    let (native, fd) = unsafe { (Loop::of(py, owner.as_ptr()), descriptor_in(sock.as_ptr())) };
    let Some(native) = native else { return Err(gone()) };
    operation.begin_with(fd);
    let receives = matches!(operation.kind(), Kind::Receive | Kind::ReceiveInto);
    let in_vain = receives
        && native.state.with(py, |state| state.registry.expects_nothing(fd))
        && depends_on_data(py, operation)?;
    if !in_vain {
        let value = attempt(py, native, operation)?;
        if receives {
            native.state.with(py, |state| state.registry.tried(fd, value.is_none()));
        }
        if let Some(value) = value {
            return Ok(Step::Return(value));
        }
    }
    watch(py, native, (&owner, &sock), operation, fd)?;
    Ok(Step::Wait)
}

/// Whether it is for want of data that an operation to receive comes to nothing. To receive nothing
/// needs none, and what is no buffer is an error at once.
#[cold]
fn depends_on_data(py: Python<'_>, operation: Operation) -> PyResult<bool> {
    Ok(match operation.kind() {
        Kind::ReceiveInto => room(py, operation)? > 0,
        _ => operation.with(py, |inside| inside.number) > 0,
    })
}

pub fn gone() -> PyErr {
    PyRuntimeError::new_err("the operation was given up")
}

/// Has the loop watch for what the operation needs.
fn watch(
    py: Python<'_>,
    native: &Loop,
    (owner, sock): (&Ref, &Ref),
    operation: Operation,
    fd: RawFd,
) -> PyResult<()> {
    refuse_transport(py, native, owner, fd)?;
    keep_data(py, operation)?;
    // All that may have run Python, which may have closed the socket.
    // SAFETY: operations are made for plain sockets only.
    if unsafe { descriptor_in(sock.as_ptr()) } != fd {
        return Err(os_error(&io::Error::from_raw_os_error(libc::EBADF)));
    }
    operation.set_blocking(true);
    // Before anybody can be told.
    if !operation.pass(Phase::Trying, Phase::Waiting) {
        return Err(gone());
    }
    // SAFETY: alive: whoever calls holds it.
    let itself = unsafe { Ref::new(operation.as_ptr()) };
    let before = native.watch(py, fd, operation.kind().what(), Watcher::Operation(itself))?;
    if let Some(Watcher::Handle(handle, _)) = &before {
        handle.bind(py).call_method0(intern!(py, "cancel"))?;
    }
    Ok(())
}

/// A descriptor that a transport uses is refused, in asyncio's words.
fn refuse_transport(py: Python<'_>, native: &Loop, owner: &Ref, fd: RawFd) -> PyResult<()> {
    let (held, known) = native
        .state
        .with(py, |state| (state.registry.is_held(fd), state.transports.as_ref().map(Ref::share)));
    let transports = match known {
        Some(transports) => transports,
        None => {
            let all = owner.bind(py).getattr(intern!(py, "_transports"))?;
            let all = Ref::from(all.getattr(intern!(py, "data"))?);
            drop(native.state.with(py, |state| state.transports.replace(all.share())));
            all
        }
    };
    // SAFETY: a live object; what is no dict has no size, and an exception is set.
    let others = unsafe { ffi::PyDict_Size(transports.as_ptr()) };
    if others < 0 {
        return Err(crate::boundary::fetch(py));
    }
    if held || (others > 0 && transports.bind(py).contains(fd)?) {
        owner.bind(py).call_method1(intern!(py, "_ensure_fd_no_transport"), (fd,))?;
    }
    Ok(())
}

/// Data that is sent later is not to be taken away: a bytearray must keep its size.
fn keep_data(py: Python<'_>, operation: Operation) -> PyResult<()> {
    if operation.kind() != Kind::SendAll {
        return Ok(());
    }
    let data = operation.with(py, |inside| inside.argument.as_ref().map(Ref::share));
    let Some(data) = data else { return Err(gone()) };
    // SAFETY: a live object; a new reference, or null with an exception set.
    unsafe {
        if ffi::PyBytes_CheckExact(data.as_ptr()) == 0 {
            let view = Ref::owned(ffi::PyMemoryView_FromObject(data.as_ptr()));
            let view = view.ok_or_else(|| crate::boundary::fetch(py))?;
            drop(operation.with(py, |inside| inside.argument.replace(view)));
        }
    }
    Ok(())
}

/// The last step: what it came to.
fn finish(py: Python<'_>, operation: Operation) -> PyResult<Step> {
    operation.end();
    let Inside { outcome, sock, number, .. } = operation.take(py);
    match outcome {
        Some(Outcome::Value(value)) => Ok(Step::Return(value)),
        Some(Outcome::Fed) if operation.kind() == Kind::WaitForData => {
            Ok(Step::Return(py.None().into_bound(py).into()))
        }
        Some(Outcome::Fed) => {
            let stream = sock.ok_or_else(gone)?;
            super::streams::take(&stream.bind(py), number).map(Step::Return)
        }
        Some(Outcome::Error(error)) => Err(PyErr::from_value(error.bind(py))),
        Some(Outcome::Cancelled(message)) => Err(super::future::cancelled_error(py, message)),
        None => Err(gone()),
    }
}

/// It is not waited for any more; in which phase that found it.
pub fn leave(py: Python<'_>, operation: Operation) -> Phase {
    let before = operation.end();
    if before == Phase::Waiting {
        unwatch(py, operation);
    }
    drop(operation.take(py));
    before
}

/// The loop is not to watch for it any more.
pub fn unwatch(py: Python<'_>, operation: Operation) {
    if operation.kind().is_of_stream() {
        return super::streams::unwatch(py, operation);
    }
    let owner = operation.owner(py);
    // SAFETY: the owner is a loop of ours.
    let native = owner.as_ref().and_then(|owner| unsafe { Loop::of(py, owner.as_ptr()) });
    if let Some(native) = native {
        let (fd, what) = (operation.fd(), operation.kind().what());
        native.forget(py, fd, what, operation.as_ptr());
    }
}

/// The kernel has news for an operation: tries again.
pub fn ready(py: Python<'_>, native: &Loop, object: &Ref) -> PyResult<()> {
    // SAFETY: the loop tells operations only, which whoever calls holds.
    let operation = unsafe { Operation::from_ptr(object.as_ptr()) };
    let (fd, what) = (operation.fd(), operation.kind().what());
    let told = |state: &mut crate::event_loop::native::State| {
        state.registry.is_told(fd, what, object.as_ptr())
    };
    if operation.phase() != Phase::Waiting || !native.state.with(py, told) {
        return Ok(());
    }
    let outcome = match attempt(py, native, operation) {
        Ok(Some(value)) => Outcome::Value(value),
        Ok(None) => match native.watch_on(py, fd) {
            Ok(()) => return Ok(()),
            Err(error) => failed(py, error),
        },
        Err(error) if is_fatal(py, &error) => {
            let _ = native.watch_on(py, fd); // what ends the program is not to be hidden
            return Err(error);
        }
        Err(error) => failed(py, error),
    };
    if !operation.pass(Phase::Waiting, Phase::Done) {
        return Ok(()); // somebody gave it up meanwhile
    }
    native.forget(py, fd, what, object.as_ptr());
    tell(py, native, operation, outcome, true)
}

fn failed(py: Python<'_>, error: PyErr) -> Outcome {
    Outcome::Error(error.into_value(py).into_bound(py).into_any().into())
}

/// `throw(type, value=None, traceback=None)`.
pub unsafe extern "C" fn throw(
    object: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        if !(1..=3).contains(&count) || !names.is_null() {
            return Err(PyTypeError::new_err("throw() takes an exception"));
        }
        // SAFETY: receiver and arguments of a method.
        let (operation, given) = unsafe {
            let given = std::slice::from_raw_parts(place, count as usize);
            let bind = |object: &*mut PyObject| Bound::from_borrowed_ptr(py, *object);
            (Operation::from_ptr(object), given.iter().map(bind).collect::<Vec<_>>())
        };
        leave(py, operation);
        Err(error_of(&given)?)
    })
}

/// What is to be raised: an exception, or a class with a value.
fn error_of(given: &[Bound<'_, PyAny>]) -> PyResult<PyErr> {
    let py = given[0].py();
    let exception = match given.get(1).filter(|value| !value.is_none()) {
        Some(value) if value.is_instance(&given[0])? => value.clone(),
        Some(value) => given[0].call1((value,))?,
        None => given[0].clone(),
    };
    let error = PyErr::from_value(exception);
    if let Some(traceback) = given.get(2).filter(|traceback| !traceback.is_none()) {
        error.set_traceback(py, Some(traceback.clone().cast_into()?));
    }
    Ok(error)
}

/// `close()`.
pub unsafe extern "C" fn close(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        leave(py, unsafe { Operation::from_ptr(object) });
        Ok(none())
    })
}
