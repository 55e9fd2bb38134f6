//! The memory of a handle, and how one is made.
//!
//! A handle *is* an `asyncio.Handle` (or `TimerHandle`): a class of our own behind the stdlib's, which
//! has attributes of the same names as the stdlib's slots. Nobody can derive from these classes, so the
//! destructor and the collector's traversal are ours alone.
//!
//! With a GIL the [`Content`] lies where these slots are: as many references, each a live object or
//! null, which is what whoever reads or sets a slot through the base's own descriptor relies on. That
//! makes a handle a third smaller, and what waits in a queue is read from memory twice. Without a GIL
//! the lock lies there too, so it follows behind, as the [`Tail`] does in any case.

use crate::boundary::Protected;
use crate::event_loop::recycled::Recycled;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicIsize, AtomicPtr, AtomicU8, AtomicUsize, Ordering};

/// So many arguments lie in the handle itself; more are in a tuple.
pub const INLINE: usize = 3;

/// The count of arguments that says they are in a tuple.
const IN_TUPLE: u8 = u8::MAX;

/// It is not to be called.
pub const CANCELLED: u8 = 1;
/// It is in the heap of timers.
pub const SCHEDULED: u8 = 2;
/// It may be called again, or looked at after its call: it keeps what it holds.
pub const KEEPS: u8 = 4;
/// Who cancels it waits while it runs.
pub const GUARDED: u8 = 8;
/// It is guarded, and runs.
pub const RUNNING: u8 = 16;
/// Somebody waits for its end.
pub const AWAITED: u8 = 32;

/// What a handle calls, and with what: references and nothing else.
#[derive(Default)]
#[repr(C)]
pub struct Content {
    pub callback: Option<Ref>,
    pub(super) arguments: [Option<Ref>; INLINE],
    /// None: an empty one of its own.
    pub context: Option<Ref>,
    /// The event loop; None once it was called or cancelled.
    pub owner: Option<Ref>,
    /// In debug mode, a tuple: where it was made, and what it was called when it was cancelled.
    pub told: Option<Ref>,
}

/// The names of the stdlib's slots, of which there are as many as references.
pub const SLOTS: [&str; size_of::<Content>() / size_of::<Ref>()] =
    ["_args", "_callback", "_cancelled", "_context", "_loop", "_repr", "_source_traceback"];

impl Content {
    /// Whether it was taken out and nothing is told of it.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.callback.is_none()
            && self.arguments.iter().all(Option::is_none)
            && self.context.is_none()
            && self.owner.is_none()
            && self.told.is_none()
    }
}

/// What ours has beyond the base.
#[repr(C)]
pub struct Tail {
    /// A timer's time, in seconds.
    pub when: f64,
    /// How many arguments it has, for good.
    count: u8,
    pub flags: AtomicU8,
}

/// What is called, with references of its own: the handle may be cancelled meanwhile.
pub struct Call {
    pub callback: Ref,
    arguments: [Option<Ref>; INLINE],
    count: u8,
    pub context: Option<Ref>,
    /// The event loop.
    pub owner: Option<Ref>,
}

pub static RECYCLED: Recycled = Recycled::new();
/// Where the content is, and where the tail.
static CONTENT: AtomicUsize = AtomicUsize::new(0);
static TAIL: AtomicUsize = AtomicUsize::new(0);
pub(super) static WEAK_REFERENCES: AtomicIsize = AtomicIsize::new(0);
static HANDLE: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());
static TIMER: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());
/// Null where the stdlib has none.
static THREADSAFE: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// Says where things are in the classes, which have the same size; which that is.
///
/// # Arguments
/// `base` is the size of the larger of the stdlib's classes, and `slots` where those begin whose names
/// are [`SLOTS`], if they lie side by side.
pub fn lay_out(base: usize, slots: Option<usize>, weak_references: isize) -> usize {
    let behind = base.next_multiple_of(align_of::<Protected<Content>>());
    let slots = slots.filter(|_| size_of::<Protected<Content>>() == size_of::<Content>());
    let (content, tail) = match slots {
        Some(slots) => (slots, behind),
        None => (behind, behind + size_of::<Protected<Content>>()),
    };
    CONTENT.store(content, Ordering::Relaxed);
    TAIL.store(tail, Ordering::Relaxed);
    WEAK_REFERENCES.store(weak_references, Ordering::Relaxed);
    tail + size_of::<Tail>()
}

/// The classes are made.
pub fn made(handle: *mut PyTypeObject, timer: *mut PyTypeObject, threadsafe: *mut PyTypeObject) {
    THREADSAFE.store(threadsafe, Ordering::Relaxed);
    HANDLE.store(handle, Ordering::Relaxed);
    TIMER.store(timer, Ordering::Relaxed);
}

/// A borrowed handle of one of our classes.
#[derive(Clone, Copy)]
pub struct HandleObject(*mut PyObject);

impl HandleObject {
    /// `object` as one, if it is.
    #[inline(always)]
    pub fn check(object: *mut PyObject) -> Option<Self> {
        // SAFETY: callers hand in live objects.
        let class = unsafe { ffi::Py_TYPE(object) };
        let ours = [&HANDLE, &TIMER, &THREADSAFE];
        let is_ours = ours.into_iter().any(|ours| class == ours.load(Ordering::Relaxed));
        is_ours.then_some(Self(object))
    }

    /// # Safety
    /// `object` is of one of our classes, and alive for as long as the value is used.
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
    pub(super) fn content_place(self) -> *mut Protected<Content> {
        // SAFETY: an instance is as long as `lay_out` said.
        unsafe { self.0.byte_add(CONTENT.load(Ordering::Relaxed)).cast() }
    }

    #[inline(always)]
    fn tail_place(self) -> *mut Tail {
        // SAFETY: as above.
        unsafe { self.0.byte_add(TAIL.load(Ordering::Relaxed)).cast() }
    }

    /// The content.
    #[inline(always)]
    pub fn content<'a>(self) -> &'a Protected<Content> {
        // SAFETY: as for the tail.
        unsafe { &*self.content_place() }
    }

    /// The tail.
    #[inline(always)]
    pub fn tail<'a>(self) -> &'a Tail {
        // SAFETY: written when the object was made, and there as long as it lives, which the users
        // of this borrow see to.
        unsafe { &*self.tail_place() }
    }

    /// Whether it has that flag.
    #[inline(always)]
    pub fn is(self, flag: u8) -> bool {
        self.tail().flags.load(Ordering::Relaxed) & flag != 0
    }

    /// Sets some flags and takes others, in one step; what they were.
    pub fn change(self, set: u8, take: u8) -> u8 {
        let flags = &self.tail().flags;
        // ORDERING: what a callback did is there for who saw that it has ended.
        #[cfg(Py_GIL_DISABLED)]
        let before = match flags.fetch_update(Ordering::AcqRel, Ordering::Acquire, |before| {
            Some((before | set) & !take)
        }) {
            Ok(before) | Err(before) => before,
        };
        #[cfg(not(Py_GIL_DISABLED))]
        let before = {
            // As below.
            let before = flags.load(Ordering::Relaxed);
            flags.store((before | set) & !take, Ordering::Relaxed);
            before
        };
        before
    }

    /// Sets or takes that flag; whether it was set.
    #[inline(always)]
    pub fn flag(self, flag: u8, value: bool) -> bool {
        let flags = &self.tail().flags;
        #[cfg(Py_GIL_DISABLED)]
        let before = if value {
            flags.fetch_or(flag, Ordering::Relaxed)
        } else {
            flags.fetch_and(!flag, Ordering::Relaxed)
        };
        #[cfg(not(Py_GIL_DISABLED))]
        let before = {
            // The GIL makes the two steps one.
            let before = flags.load(Ordering::Relaxed);
            let after = if value { before | flag } else { before & !flag };
            flags.store(after, Ordering::Relaxed);
            before
        };
        before & flag != 0
    }

    /// Sets a timer's time. Only before anybody else knows it.
    #[inline(always)]
    pub fn set_when(self, when: f64) {
        // SAFETY: the caller's promise: nobody reads it meanwhile.
        unsafe { (*self.tail_place()).when = when };
    }

    /// What it calls; `None` if it is cancelled.
    #[inline(always)]
    pub fn call(self, py: Python<'_>) -> Option<Call> {
        if self.is(CANCELLED) { None } else { self.peek(py) }
    }

    /// What it holds: what it calls, or would have called that is being cancelled.
    #[inline(always)]
    pub fn peek(self, py: Python<'_>) -> Option<Call> {
        self.content().with(py, |content| {
            Some(Call {
                callback: content.callback.as_ref()?.share(),
                arguments: content.arguments.each_ref().map(|a| a.as_ref().map(Ref::share)),
                count: self.tail().count,
                context: content.context.as_ref().map(Ref::share),
                owner: content.owner.as_ref().map(Ref::share),
            })
        })
    }

    /// The same, and it holds nothing any more.
    #[inline(always)]
    pub fn take(self, py: Python<'_>) -> Option<Call> {
        if self.is(CANCELLED) {
            return None;
        }
        self.content().with(py, |content| {
            Some(Call {
                callback: content.callback.take()?,
                arguments: mem::take(&mut content.arguments),
                count: self.tail().count,
                context: content.context.take(),
                owner: content.owner.take(),
            })
        })
    }

    /// One that shows what was called without one: with what, and in which context.
    pub fn of(py: Python<'_>, call: &Call, context: Option<&Ref>) -> PyResult<Ref> {
        let owner = call.owner.as_ref().map_or(ptr::null_mut(), Ref::as_ptr);
        let arguments: Vec<_> = call.arguments.iter().flatten().map(Ref::as_ptr).collect();
        let (place, count, context) =
            (arguments.as_ptr(), arguments.len(), context.map(Ref::share));
        // SAFETY: attached; live objects, as every call has a loop. A new reference, or null with an exception
        // set.
        unsafe {
            let handle = make(Kind::Brief, owner, call.callback.as_ptr(), place, count, context);
            Ref::owned(handle).ok_or_else(|| crate::boundary::fetch(py))
        }
    }

    /// Gives back what was taken, and the context in which it ran.
    pub fn put_back(self, py: Python<'_>, call: &Call, context: &Ref) {
        let shared = Content {
            callback: Some(call.callback.share()),
            arguments: call.arguments.each_ref().map(|a| a.as_ref().map(Ref::share)),
            context: Some(context.share()),
            owner: call.owner.as_ref().map(Ref::share),
            ..Content::default()
        };
        let before = self.content().with(py, |content| mem::replace(content, shared));
        drop(before);
    }

    /// The event loop.
    pub fn owner(self, py: Python<'_>) -> Option<Ref> {
        self.content().with(py, |content| content.owner.as_ref().map(Ref::share))
    }

    /// Gives it a context of its own, unless it has one: the one that it has now.
    pub fn set_context(self, py: Python<'_>, context: Ref) -> Ref {
        let mut context = Some(context);
        let now = self.content().with(py, |content| {
            if content.context.is_none() {
                content.context = context.take();
            }
            content.context.as_ref().map(Ref::share)
        });
        match now {
            Some(now) => now,
            None => unreachable!("it was set just now"),
        }
    }

    /// Its arguments, as a tuple.
    pub fn arguments(self, py: Python<'_>) -> PyResult<Option<Ref>> {
        let Some(call) = self.peek(py) else { return Ok(None) };
        if call.count == IN_TUPLE {
            let tuple = call.arguments.into_iter().next().flatten();
            return Ok(tuple.filter(|tuple| tuple.bind(py).is_instance_of::<PyTuple>()));
        }
        let arguments = call.arguments.iter().flatten().map(|argument| argument.bind(py));
        let arguments: Vec<_> = arguments.collect();
        Ok(Some(PyTuple::new(py, arguments)?.into_any().into()))
    }

    /// Says what is told of it from now on: the fields of [`Content::told`].
    pub fn tell(self, py: Python<'_>, fields: Bound<'_, PyTuple>) {
        let mut told = Some(Ref::from(fields.into_any()));
        self.content().with(py, |content| mem::swap(&mut content.told, &mut told));
    }

    /// Takes out what it holds but for what is told of it, to be dropped by the caller.
    pub fn empty(self, py: Python<'_>) -> Content {
        self.content().with(py, |content| {
            let told = Content { told: content.told.take(), ..Content::default() };
            mem::replace(content, told)
        })
    }
}

impl Call {
    /// Something with one argument, or none.
    #[inline(always)]
    pub fn of(callback: Ref, argument: Option<Ref>, context: Option<Ref>, owner: Ref) -> Self {
        let count = u8::from(argument.is_some());
        let arguments = [argument, None, None];
        Self { callback, arguments, count, context, owner: Some(owner) }
    }

    /// Calls it; null with an exception set if that raises.
    #[inline(always)]
    pub fn make(&self) -> *mut PyObject {
        // SAFETY: `self` holds references to all that is passed. The flag gives the callee the place
        // before the first argument, which is ours.
        unsafe {
            let callback = self.callback.as_ptr();
            if self.count == IN_TUPLE {
                let tuple = self.arguments[0].as_ref().map_or(ptr::null_mut(), Ref::as_ptr);
                if tuple.is_null() || ffi::PyTuple_Check(tuple) == 0 {
                    ffi::PyErr_BadInternalCall(); // set through the slot that lies there
                    return ptr::null_mut();
                }
                return ffi::PyObject_Call(callback, tuple, ptr::null_mut());
            }
            let mut places = [ptr::null_mut::<PyObject>(); INLINE + 1];
            for (place, argument) in places[1..].iter_mut().zip(&self.arguments) {
                // None is missing, unless it was deleted through the slot that lies there.
                *place = argument.as_ref().map_or(ffi::Py_None(), Ref::as_ptr);
            }
            let flagged = usize::from(self.count) | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
            ffi::PyObject_Vectorcall(callback, places.as_ptr().add(1), flagged, ptr::null_mut())
        }
    }
}

/// What a handle is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// One call in the next turn.
    Brief,
    /// The same, for another thread.
    Foreign,
    /// One call at its time.
    Timer,
    /// Calls whenever a descriptor is ready; or any, in debug mode.
    Kept,
}

/// Makes a handle. Null, with an exception set, if there is no memory.
///
/// # Safety
/// `owner`, `callback` and the `count` arguments are live objects; the thread is attached.
#[inline(always)]
pub unsafe fn make(
    kind: Kind,
    owner: *mut PyObject,
    callback: *mut PyObject,
    arguments: *const *mut PyObject,
    count: usize,
    context: Option<Ref>,
) -> *mut PyObject {
    // SAFETY: the caller's promise; the classes are made before anybody can call this.
    unsafe {
        let (mut class, mut flags) = (HANDLE.load(Ordering::Relaxed), 0);
        match kind {
            Kind::Brief => (),
            Kind::Timer => class = TIMER.load(Ordering::Relaxed),
            Kind::Kept => flags = KEEPS,
            Kind::Foreign => {
                let threadsafe = THREADSAFE.load(Ordering::Relaxed);
                if !threadsafe.is_null() {
                    (class, flags) = (threadsafe, GUARDED);
                }
            }
        }
        let mut content = Content {
            callback: Some(Ref::new(callback)),
            context,
            owner: Some(Ref::new(owner)),
            ..Content::default()
        };
        if count <= INLINE {
            for (index, place) in content.arguments.iter_mut().take(count).enumerate() {
                *place = Some(Ref::new(*arguments.add(index)));
            }
        } else {
            let Some(tuple) = tuple_of(arguments, count) else { return ptr::null_mut() };
            content.arguments[0] = Some(tuple);
        }
        let object = RECYCLED.make(class);
        if !object.is_null() {
            let handle = HandleObject(object);
            let count = if count <= INLINE { count as u8 } else { IN_TUPLE };
            handle.content_place().write(Protected::new(content));
            handle.tail_place().write(Tail { when: 0.0, count, flags: AtomicU8::new(flags) });
            if cfg!(Py_GIL_DISABLED) || !matches!(kind, Kind::Brief | Kind::Foreign) {
                ffi::PyObject_GC_Track(object.cast());
            }
        }
        object
    }
}

/// # Safety
/// As [`make`].
#[cold]
unsafe fn tuple_of(arguments: *const *mut PyObject, count: usize) -> Option<Ref> {
    // SAFETY: the caller's promise; the tuple takes a reference to each.
    unsafe {
        let tuple = Ref::owned(ffi::PyTuple_New(count as ffi::Py_ssize_t))?;
        for index in 0..count {
            let argument = Ref::new(*arguments.add(index)).into_ptr();
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index as ffi::Py_ssize_t, argument);
        }
        Some(tuple)
    }
}
