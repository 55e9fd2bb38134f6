//! The memory of a handle, how one is made, and how it ends.
//!
//! A handle *is* an `asyncio.Handle` (or `TimerHandle`): a class of our own behind the stdlib's,
//! whose slots stay empty; what they would hold is in a [`Tail`], and read through attributes of the
//! same names. Nobody can derive from these classes, so the destructor and the collector's traversal
//! are ours alone.

use crate::boundary::{Protected, attached};
use crate::event_loop::recycled::Recycled;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
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

/// What a handle calls, and with what.
#[derive(Default)]
pub struct Content {
    pub callback: Option<Ref>,
    arguments: [Option<Ref>; INLINE],
    count: u8,
    /// None: an empty one of its own.
    pub context: Option<Ref>,
    /// The event loop; None once it was called or cancelled.
    pub owner: Option<Ref>,
    /// Where it was made, in debug mode.
    pub traceback: Option<Ref>,
    /// What it was called before it was cancelled, in debug mode.
    pub repr: Option<Ref>,
}

impl Content {
    /// Whether it was taken out and nothing is told of it.
    #[inline(always)]
    fn is_empty(&self) -> bool {
        // Arguments go with the callback.
        self.callback.is_none()
            && self.context.is_none()
            && self.owner.is_none()
            && self.traceback.is_none()
            && self.repr.is_none()
    }
}

/// What ours has beyond the base.
#[repr(C)]
pub struct Tail {
    pub content: Protected<Content>,
    /// A timer's time, in seconds.
    pub when: f64,
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

static RECYCLED: Recycled = Recycled::new();
static OFFSET: AtomicUsize = AtomicUsize::new(0);
static WEAK_REFERENCES: AtomicIsize = AtomicIsize::new(0);
static HANDLE: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());
static TIMER: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());
/// Null where the stdlib has none.
static THREADSAFE: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// Says where things are in the classes, which have the same size.
pub fn lay_out(offset: usize, weak_references: isize) {
    OFFSET.store(offset, Ordering::Relaxed);
    WEAK_REFERENCES.store(weak_references, Ordering::Relaxed);
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
    fn memory(self) -> *mut Tail {
        // SAFETY: an instance is at least OFFSET + size_of::<Tail>() long.
        unsafe { self.0.byte_add(OFFSET.load(Ordering::Relaxed)).cast() }
    }

    /// The tail.
    #[inline(always)]
    pub fn tail<'a>(self) -> &'a Tail {
        // SAFETY: written when the object was made, and there as long as it lives, which the users
        // of this borrow see to.
        unsafe { &*self.memory() }
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
        unsafe { (*self.memory()).when = when };
    }

    /// What it calls; `None` if it is cancelled.
    #[inline(always)]
    pub fn call(self, py: Python<'_>) -> Option<Call> {
        if self.is(CANCELLED) { None } else { self.peek(py) }
    }

    /// What it holds: what it calls, or would have called that is being cancelled.
    #[inline(always)]
    pub fn peek(self, py: Python<'_>) -> Option<Call> {
        self.tail().content.with(py, |content| {
            Some(Call {
                callback: content.callback.as_ref()?.share(),
                arguments: content.arguments.each_ref().map(|a| a.as_ref().map(Ref::share)),
                count: content.count,
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
        self.tail().content.with(py, |content| {
            Some(Call {
                callback: content.callback.take()?,
                arguments: mem::take(&mut content.arguments),
                count: mem::take(&mut content.count),
                context: content.context.take(),
                owner: content.owner.take(),
            })
        })
    }

    /// Gives back what was taken, and the context in which it ran.
    pub fn put_back(self, py: Python<'_>, call: &Call, context: &Ref) {
        let shared = Content {
            callback: Some(call.callback.share()),
            arguments: call.arguments.each_ref().map(|a| a.as_ref().map(Ref::share)),
            count: call.count,
            context: Some(context.share()),
            owner: call.owner.as_ref().map(Ref::share),
            ..Content::default()
        };
        let before = self.tail().content.with(py, |content| mem::replace(content, shared));
        drop(before);
    }

    /// The event loop.
    pub fn owner(self, py: Python<'_>) -> Option<Ref> {
        self.tail().content.with(py, |content| content.owner.as_ref().map(Ref::share))
    }

    /// Gives it a context of its own, unless it has one: the one that it has now.
    pub fn set_context(self, py: Python<'_>, context: Ref) -> Ref {
        let mut context = Some(context);
        let now = self.tail().content.with(py, |content| {
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
            return Ok(call.arguments.into_iter().next().flatten());
        }
        let arguments = call.arguments.iter().flatten().map(|argument| argument.bind(py));
        let arguments: Vec<_> = arguments.collect();
        Ok(Some(pyo3::types::PyTuple::new(py, arguments)?.into_any().into()))
    }

    /// Takes out what it holds but for what is told of it, to be dropped by the caller.
    pub fn empty(self, py: Python<'_>) -> Content {
        self.tail().content.with(py, |content| {
            let told = Content {
                traceback: content.traceback.take(),
                repr: content.repr.take(),
                ..Content::default()
            };
            mem::replace(content, told)
        })
    }
}

impl Call {
    /// Calls it; null with an exception set if that raises.
    #[inline(always)]
    pub fn make(&self) -> *mut PyObject {
        // SAFETY: `self` holds references to all that is passed. The flag gives the callee the place
        // before the first argument, which is ours.
        unsafe {
            let callback = self.callback.as_ptr();
            if self.count == IN_TUPLE {
                let tuple = self.arguments[0].as_ref().map_or(ptr::null_mut(), Ref::as_ptr);
                return ffi::PyObject_Call(callback, tuple, ptr::null_mut());
            }
            let mut places = [ptr::null_mut::<PyObject>(); INLINE + 1];
            for (place, argument) in places[1..].iter_mut().zip(&self.arguments) {
                *place = argument.as_ref().map_or(ptr::null_mut(), Ref::as_ptr);
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
            content.count = count as u8;
        } else {
            let Some(tuple) = tuple_of(arguments, count) else { return ptr::null_mut() };
            content.arguments[0] = Some(tuple);
            content.count = IN_TUPLE;
        }
        let object = RECYCLED.make(class);
        if !object.is_null() {
            HandleObject(object).memory().write(Tail {
                content: Protected::new(content),
                when: 0.0,
                flags: AtomicU8::new(flags),
            });
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

/// `tp_dealloc`.
pub unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: the interpreter calls this, attached, for a handle that nobody refers to any more. The
    // tail is taken once, and not looked at again.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast()); // which may not be tracked
        let weak_references = WEAK_REFERENCES.load(Ordering::Relaxed);
        if !(*object.byte_offset(weak_references).cast::<*mut PyObject>()).is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        // Most were called and hold nothing any more: those need no look at each field.
        let content = (*HandleObject(object).memory()).content.get_mut();
        let content = (!content.is_empty()).then(|| mem::take(content));
        let class = ffi::Py_TYPE(object);
        RECYCLED.free(object);
        if let Some(content) = content {
            drop_content(content);
        }
        ffi::Py_DECREF(class.cast());
    }
}

#[cold]
fn drop_content(content: Content) {
    let Content { callback, arguments, context, owner, traceback, repr, .. } = content;
    let held = [callback, context, owner, traceback, repr];
    crate::executor::shed::shed(arguments.into_iter().chain(held).flatten());
}

/// `tp_traverse`.
pub unsafe extern "C" fn traverse(
    object: *mut PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector, with the world stopped or the GIL held, on a handle that was
    // tracked after its tail was written.
    unsafe {
        let class = ffi::Py_TYPE(object).cast();
        let held = held(HandleObject(object)).map(Ref::as_ptr);
        std::iter::once(class)
            .chain(held)
            .map(|o| visit(o, argument))
            .find(|&s| s != 0)
            .unwrap_or(0)
    }
}

/// What a handle holds.
///
/// # Safety
/// Only from a traversal.
unsafe fn held<'a>(handle: HandleObject) -> impl Iterator<Item = &'a Ref> {
    // SAFETY: the caller's promise.
    let content = unsafe { handle.tail().content.peek() };
    let held = [&content.callback, &content.context, &content.traceback, &content.owner];
    held.into_iter().chain(&content.arguments).flatten()
}

/// Shows the collector a handle that is queued: itself, or, if the collector does not know it and
/// nobody else holds it, what it holds.
///
/// # Safety
/// Only from the traversal of the loop that holds it.
pub unsafe fn visit_queued(handle: &Ref, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
    let object = handle.as_ptr();
    // SAFETY: the caller's promise: the queue holds the handle.
    unsafe {
        match HandleObject::check(object) {
            Some(ours) if ffi::PyObject_GC_IsTracked(object) == 0 => {
                if ffi::Py_REFCNT(object) > 1 {
                    return Ok(());
                }
                held(ours).try_for_each(|object| object.visit(visit))
            }
            _ => handle.visit(visit),
        }
    }
}

/// `tp_clear`.
pub unsafe extern "C" fn clear(object: *mut PyObject) -> c_int {
    // SAFETY: called by the collector on garbage, attached, outside traversal.
    attached(|py| drop(unsafe { HandleObject::from_ptr(object) }.empty(py)));
    0
}
