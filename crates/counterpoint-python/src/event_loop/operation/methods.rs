//! `sock_recv()` and its like.
//!
//! Native for a plain `socket.socket`, called as nearly all do, outside of debug mode; everything else
//! (classes of one's own, whose methods count, TLS, odd arguments) is asyncio's own coroutine.

use super::layout::{Inside, Kind, make};
use crate::boundary::{NamedMethod, guarded, method};
use crate::event_loop::native::{CLOSED, DEBUG, Loop};
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::ffi::CStr;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, Ordering};

/// The class of plain sockets, and the one whose coroutines do what is not plain.
static SOCKET: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());
static BASE: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// Whether sockets have their descriptor where we look for it: not known yet, yes, no.
static LAYOUT: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const KNOWN: u8 = 1;
const OTHER: u8 = 2;

/// Looks up what is needed; it lives as long as the process.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let class = py.import("socket")?.getattr("socket")?;
    SOCKET.store(class.into_ptr().cast(), Ordering::Relaxed);
    let base = py.import("asyncio.unix_events")?.getattr("SelectorEventLoop")?;
    BASE.store(base.into_ptr(), Ordering::Relaxed);
    Ok(())
}

/// A socket's descriptor; -1 if it is closed.
///
/// # Safety
/// A plain socket, whose layout was found to be as we know it.
#[inline(always)]
pub unsafe fn descriptor_in(sock: *mut PyObject) -> RawFd {
    // SAFETY: the caller's promise: the first field behind the head, which the interpreter writes whole.
    unsafe {
        let place = sock.byte_add(size_of::<ffi::PyObject>()).cast::<AtomicI32>();
        (*place).load(Ordering::Relaxed)
    }
}

/// Whether it is a plain socket, of the layout that we know.
#[inline(always)]
fn is_plain(sock: *mut PyObject) -> bool {
    // SAFETY: a live object.
    let plain = unsafe { ffi::Py_TYPE(sock) } == SOCKET.load(Ordering::Relaxed);
    plain && (LAYOUT.load(Ordering::Relaxed) == KNOWN || has_known_layout(sock))
}

#[cold]
fn has_known_layout(sock: *mut PyObject) -> bool {
    if LAYOUT.load(Ordering::Relaxed) == OTHER {
        return false;
    }
    let told: *mut PyObject = guarded(|py| {
        // SAFETY: a live object, of the class of plain sockets.
        let (object, here) = unsafe { (Bound::from_borrowed_ptr(py, sock), descriptor_in(sock)) };
        let told: RawFd = object.call_method0(intern!(py, "fileno"))?.extract()?;
        if told >= 0 {
            LAYOUT.store(if told == here { KNOWN } else { OTHER }, Ordering::Relaxed);
        }
        Ok(crate::boundary::none())
    });
    if told.is_null() {
        // SAFETY: attached; asyncio's code meets the error again.
        unsafe { ffi::PyErr_Clear() };
    }
    LAYOUT.load(Ordering::Relaxed) == KNOWN
}

/// What a vectorcall brought.
type Given<'a> = &'a [*mut PyObject];

/// What an operation is made of, if the arguments are as nearly all give them.
///
/// # Safety
/// Live objects.
#[inline(always)]
unsafe fn plain(kind: Kind, given: Given<'_>) -> Option<(Option<Ref>, usize)> {
    // SAFETY: the caller's promise.
    unsafe {
        match (kind, given) {
            (Kind::Receive, &[_, most]) => {
                if ffi::PyLong_CheckExact(most) == 0 {
                    return None;
                }
                let most = ffi::PyLong_AsSsize_t(most);
                if most < 0 {
                    ffi::PyErr_Clear(); // asyncio's code meets the error again
                    return None;
                }
                Some((None, most as usize))
            }
            (Kind::ReceiveInto | Kind::SendAll, &[_, buffer]) => Some((Some(Ref::new(buffer)), 0)),
            (Kind::Accept, &[_]) => with(&[]),
            (Kind::ReceiveFrom, &[_, most]) => with(&[most]),
            (Kind::ReceiveFromInto, &[_, buffer, most]) => match ffi::PyObject_IsTrue(most) {
                1 => with(&[buffer, most]),
                0 => None,
                _ => {
                    ffi::PyErr_Clear(); // as above
                    None
                }
            },
            (Kind::SendTo, &[_, data, address]) => with(&[data, address]),
            _ => None,
        }
    }
}

/// What an operation with those arguments for the socket's method is made of.
///
/// # Safety
/// Live objects.
unsafe fn with(items: Given<'_>) -> Option<(Option<Ref>, usize)> {
    // SAFETY: the caller's promise; the tuple takes a reference to each.
    unsafe {
        let Some(tuple) = Ref::owned(ffi::PyTuple_New(items.len() as ffi::Py_ssize_t)) else {
            ffi::PyErr_Clear(); // no memory: asyncio's code may have some
            return None;
        };
        for (index, &item) in items.iter().enumerate() {
            let item = Ref::new(item).into_ptr();
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as ffi::Py_ssize_t, item);
        }
        Some((Some(tuple), 0))
    }
}

/// # Safety
/// As the methods that call it.
#[inline(always)]
unsafe fn operate(
    kind: Kind,
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe {
        let native = Loop::of(Python::assume_attached(), owner);
        let usual = native.is_some_and(|native| !native.is(CLOSED | DEBUG));
        if usual && names.is_null() && count > 0 {
            let given = std::slice::from_raw_parts(place, count as usize);
            if is_plain(given[0])
                && let Some((argument, number)) = plain(kind, given)
            {
                let (owner, sock) = (Some(Ref::new(owner)), Some(Ref::new(given[0])));
                let inside = Inside { owner, sock, argument, number, ..Inside::default() };
                return make(kind, inside).map_or(ptr::null_mut(), Ref::into_ptr);
            }
        }
        as_asyncio(kind, owner, place, count, names)
    }
}

/// The coroutine of asyncio's class.
#[cold]
fn as_asyncio(
    kind: Kind,
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: a class that lives as long as the process; the arguments of a method.
        unsafe {
            let base = Bound::from_borrowed_ptr(py, BASE.load(Ordering::Relaxed));
            let function = base.getattr(kind.name())?;
            call_as_method(&function, owner, place, count, names)
        }
    })
}

/// Calls a function with the receiver of a method before the method's own arguments.
///
/// # Safety
/// The receiver and the arguments of a running vectorcall to a method.
pub unsafe fn call_as_method(
    function: &Bound<'_, PyAny>,
    receiver: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> PyResult<*mut PyObject> {
    // SAFETY: the caller's promise: positional arguments, and then named ones.
    unsafe {
        let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
        let mut all = vec![receiver];
        all.extend((0..count + named).map(|index| *place.offset(index)));
        let count = count as usize + 1;
        let made = ffi::PyObject_Vectorcall(function.as_ptr(), all.as_ptr(), count, names);
        Ok(Bound::from_owned_ptr_or_err(function.py(), made)?.into_ptr())
    }
}

/// A method for each kind of operation.
macro_rules! methods {
    ($($function:ident: $kind:ident, $name:literal, $doc:literal;)*) => {
        $(
            unsafe extern "C" fn $function(
                owner: *mut PyObject,
                place: *const *mut PyObject,
                count: ffi::Py_ssize_t,
                names: *mut PyObject,
            ) -> *mut PyObject {
                // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
                unsafe { operate(Kind::$kind, owner, place, count, names) }
            }
        )*

        /// The loop's methods.
        pub fn methods() -> Vec<NamedMethod> {
            const DOCS: &[(&CStr, &CStr)] = &[$(($name, $doc)),*];
            let functions: [ffi::PyCFunctionFastWithKeywords; DOCS.len()] = [$($function),*];
            DOCS.iter().zip(functions).map(|((name, doc), made)| method(name, made, doc)).collect()
        }
    };
}

methods! {
    receive: Receive, c"sock_recv",
        c"sock_recv($self, sock, nbytes)\n--\n\nReceive so many bytes at most.";
    receive_into: ReceiveInto, c"sock_recv_into",
        c"sock_recv_into($self, sock, buf)\n--\n\nReceive into a buffer; how many bytes.";
    send_all: SendAll, c"sock_sendall",
        c"sock_sendall($self, sock, data)\n--\n\nSend all of it.";
    receive_from: ReceiveFrom, c"sock_recvfrom",
        c"sock_recvfrom($self, sock, bufsize)\n--\n\nReceive a datagram; it and its sender.";
    receive_from_into: ReceiveFromInto, c"sock_recvfrom_into",
        c"sock_recvfrom_into($self, sock, buf, nbytes=0)\n--\n\n\
        Receive a datagram into a buffer; how many bytes, and its sender.";
    send_to: SendTo, c"sock_sendto",
        c"sock_sendto($self, sock, data, address)\n--\n\nSend a datagram; how many bytes.";
    accept: Accept, c"sock_accept",
        c"sock_accept($self, sock)\n--\n\nAccept a connection; its socket and its peer.";
}
