//! The memory of an operation.

use crate::boundary::{Protected, attached, visit_each};
use crate::event_loop::recycled::Recycled;
use crate::executor::reference::Ref;
use crate::executor::shed::shed;
use counterpoint_reactor::poller::{READ, WRITE};
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use std::ffi::{CString, c_int, c_void};
use std::mem;
use std::os::fd::RawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicU8, Ordering};

/// What is done to the socket.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Receive,
    ReceiveInto,
    SendAll,
    /// These are methods of the socket, called until they do not raise BlockingIOError.
    ReceiveFrom,
    ReceiveFromInto,
    SendTo,
    Accept,
    /// Reads from a stream, which is fed by its transport.
    Read,
    /// Waits until a stream was fed.
    WaitForData,
}

impl Kind {
    /// The method.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Receive => "sock_recv",
            Kind::ReceiveInto => "sock_recv_into",
            Kind::SendAll => "sock_sendall",
            Kind::ReceiveFrom => "sock_recvfrom",
            Kind::ReceiveFromInto => "sock_recvfrom_into",
            Kind::SendTo => "sock_sendto",
            Kind::Accept => "sock_accept",
            Kind::Read => "read",
            Kind::WaitForData => "_wait_for_data",
        }
    }

    /// Whether it is about a stream, and not about a socket.
    pub fn is_of_stream(self) -> bool {
        matches!(self, Kind::Read | Kind::WaitForData)
    }

    /// The same with its class.
    pub fn qualified_name(self) -> String {
        let class = if self.is_of_stream() { "StreamReader" } else { "EventLoop" };
        format!("{class}.{}", self.name())
    }

    /// What it waits for.
    pub fn what(self) -> u32 {
        match self {
            Kind::SendAll | Kind::SendTo => WRITE,
            _ => READ,
        }
    }
}

/// How far it is.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nobody has awaited it.
    New,
    /// It is trying for the first time.
    Trying,
    /// The loop watches the socket for it.
    Waiting,
    /// It came to something, which its task does not know yet.
    Done,
    /// The task has got it, or gave up.
    Ended,
}

/// What it came to.
pub enum Outcome {
    Value(Ref),
    /// An exception.
    Error(Ref),
    /// A stream has got data, or is at its end.
    Fed,
    /// It was cancelled, with that message.
    Cancelled(Option<Ref>),
}

/// Who is to be told, and in which context.
pub struct Callback {
    pub function: Ref,
    pub context: Option<Ref>,
}

/// What is protected.
#[derive(Default)]
pub struct Inside {
    pub owner: Option<Ref>,
    /// The socket, or the stream.
    pub sock: Option<Ref>,
    /// The buffer or data, or the arguments of the socket's method.
    pub argument: Option<Ref>,
    /// So much is to be received, or is sent already.
    pub number: usize,
    pub outcome: Option<Outcome>,
    pub first: Option<Callback>,
    pub more: Vec<Callback>,
}

impl Inside {
    /// Whether all was taken out.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        let held = [&self.owner, &self.sock, &self.argument];
        held.iter().all(|object| object.is_none())
            && self.outcome.is_none()
            && self.first.is_none()
            && self.more.capacity() == 0
    }
}

/// The object.
#[repr(C)]
struct Memory {
    head: ffi::PyObject,
    call: ffi::vectorcallfunc,
    inside: Protected<Inside>,
    kind: Kind,
    phase: AtomicU8,
    /// What `_asyncio_future_blocking` says.
    blocking: AtomicU8,
    /// The descriptor with which it began.
    fd: AtomicI32,
}

/// The size of an object.
pub const SIZE: usize = size_of::<Memory>();
/// Where the function is that calls it.
pub const CALL: usize = mem::offset_of!(Memory, call);

pub static RECYCLED: Recycled = Recycled::new();
static CLASS: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// The class is made; it lives as long as the process.
pub fn made(class: &Bound<'_, PyAny>) {
    CLASS.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
}

/// A borrowed operation.
#[derive(Clone, Copy)]
pub struct Operation(*mut PyObject);

impl Operation {
    /// `object` as one, if it is.
    #[inline(always)]
    pub fn check(object: *mut PyObject) -> Option<Self> {
        // SAFETY: callers hand in live objects.
        let class = unsafe { ffi::Py_TYPE(object) };
        (class == CLASS.load(Ordering::Relaxed)).then_some(Self(object))
    }

    /// # Safety
    /// An instance of the class, alive for as long as the value is used.
    #[inline(always)]
    pub unsafe fn from_ptr(object: *mut PyObject) -> Self {
        Self(object)
    }

    /// The object.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut PyObject {
        self.0
    }

    #[inline(always)]
    fn memory<'a>(self) -> &'a Memory {
        // SAFETY: by who made this, and alive as long as it is used.
        unsafe { &*self.0.cast() }
    }

    #[inline(always)]
    pub fn kind(self) -> Kind {
        self.memory().kind
    }

    #[inline(always)]
    pub fn with<R>(self, py: Python<'_>, f: impl FnOnce(&mut Inside) -> R) -> R {
        self.memory().inside.with(py, f)
    }

    /// Its loop, until it is over.
    #[inline(always)]
    pub fn owner(self, py: Python<'_>) -> Option<Ref> {
        self.with(py, |inside| inside.owner.as_ref().map(Ref::share))
    }

    #[inline(always)]
    pub fn phase(self) -> Phase {
        const ALL: [Phase; 5] =
            [Phase::New, Phase::Trying, Phase::Waiting, Phase::Done, Phase::Ended];
        ALL[usize::from(self.memory().phase.load(Ordering::Relaxed)).min(ALL.len() - 1)]
    }

    /// Goes from one phase to another; whether it was in that one.
    #[inline(always)]
    pub fn pass(self, from: Phase, to: Phase) -> bool {
        let (relaxed, phase) = (Ordering::Relaxed, &self.memory().phase);
        phase.compare_exchange(from as u8, to as u8, relaxed, relaxed).is_ok()
    }

    /// It is over; in which phase that found it.
    pub fn end(self) -> Phase {
        let before = self.phase();
        self.memory().phase.store(Phase::Ended as u8, Ordering::Relaxed);
        before
    }

    /// Whether its task is about to wait for it.
    pub fn is_blocking(self) -> bool {
        self.memory().blocking.load(Ordering::Relaxed) != 0
    }

    pub fn set_blocking(self, blocking: bool) {
        self.memory().blocking.store(u8::from(blocking), Ordering::Relaxed);
    }

    /// The descriptor with which it began.
    #[inline(always)]
    pub fn fd(self) -> RawFd {
        self.memory().fd.load(Ordering::Relaxed)
    }

    /// It begins with that descriptor.
    #[inline(always)]
    pub fn begin_with(self, fd: RawFd) {
        self.memory().fd.store(fd, Ordering::Relaxed);
    }

    /// Takes out what it holds, to be dropped by the caller.
    pub fn take(self, py: Python<'_>) -> Inside {
        self.with(py, mem::take)
    }
}

/// Makes one. `None`, with an exception set, if there is no memory.
///
/// # Safety
/// The thread is attached.
#[inline(always)]
pub unsafe fn make(kind: Kind, inside: Inside) -> Option<Ref> {
    // SAFETY: the class is made before anybody can call this. The collector does not know the object
    // before it is written.
    unsafe {
        let object = RECYCLED.make(CLASS.load(Ordering::Relaxed));
        if object.is_null() {
            drop(inside);
            return None;
        }
        let memory: *mut Memory = object.cast();
        (&raw mut (*memory).call).write(super::asked::call);
        (&raw mut (*memory).inside).write(Protected::new(inside));
        (&raw mut (*memory).kind).write(kind);
        (&raw mut (*memory).phase).write(AtomicU8::new(Phase::New as u8));
        (&raw mut (*memory).blocking).write(AtomicU8::new(0));
        (&raw mut (*memory).fd).write(AtomicI32::new(-1));
        ffi::PyObject_GC_Track(object.cast());
        Ref::owned(object)
    }
}

/// `tp_dealloc`.
pub unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: the interpreter calls this, attached, for an object that nobody refers to any more.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let operation = Operation(object);
        if operation.phase() == Phase::New {
            never_awaited(operation.kind());
        }
        let memory: *mut Memory = object.cast();
        // Most came to their end and hold nothing any more.
        let inside = (*memory).inside.get_mut();
        let inside = (!inside.is_empty()).then(|| mem::take(inside));
        let class = ffi::Py_TYPE(object);
        RECYCLED.free(object);
        if let Some(inside) = inside {
            shed_all(inside);
        }
        ffi::Py_DECREF(class.cast());
    }
}

#[cold]
fn shed_all(inside: Inside) {
    let Inside { owner, sock, argument, outcome, first, more, .. } = inside;
    let outcome = match outcome {
        Some(Outcome::Value(object) | Outcome::Error(object)) => Some(object),
        Some(Outcome::Cancelled(message)) => message,
        Some(Outcome::Fed) | None => None,
    };
    let callbacks = first.into_iter().chain(more);
    let callbacks = callbacks.flat_map(|callback| [Some(callback.function), callback.context]);
    shed([owner, sock, argument, outcome].into_iter().chain(callbacks).flatten());
}

/// A coroutine that is dropped unawaited is a mistake, of which Python warns.
#[cold]
fn never_awaited(kind: Kind) {
    attached(|py| {
        let before = PyErr::take(py);
        let text = format!("coroutine '{}' was never awaited", kind.qualified_name());
        let text = CString::new(text).unwrap_or_default();
        if let Err(error) = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1) {
            error.write_unraisable(py, None);
        }
        if let Some(before) = before {
            before.restore(py);
        }
    });
}

/// `tp_traverse`.
pub unsafe extern "C" fn traverse(
    object: *mut PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector, with the world stopped or the GIL held, on an object that was
    // tracked after it was written.
    unsafe {
        let memory: *mut Memory = object.cast();
        let inside = (*memory).inside.peek();
        let outcome = match &inside.outcome {
            Some(Outcome::Value(object) | Outcome::Error(object)) => Some(object),
            Some(Outcome::Cancelled(message)) => message.as_ref(),
            Some(Outcome::Fed) | None => None,
        };
        let callbacks = inside.first.iter().chain(&inside.more);
        let callbacks =
            callbacks.flat_map(|callback| [Some(&callback.function), callback.context.as_ref()]);
        let own = [inside.owner.as_ref(), inside.sock.as_ref(), inside.argument.as_ref(), outcome];
        let held = own.into_iter().chain(callbacks).flatten().map(Ref::as_ptr);
        let class = ffi::Py_TYPE(object).cast();
        visit_each(std::iter::once(class).chain(held), visit, argument)
    }
}

/// `tp_clear`.
pub unsafe extern "C" fn clear(object: *mut PyObject) -> c_int {
    attached(|py| {
        // SAFETY: called by the collector on garbage, attached, outside traversal.
        let operation = unsafe { Operation::from_ptr(object) };
        operation.end();
        drop(operation.take(py));
    });
    0
}
