//! [`Task`]: a call that waits for a worker.

use super::context::Context;
use crate::executor::future::FutureObject;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use std::mem::offset_of;

/// Arguments held without an allocation of their own.
const INLINE: usize = 2;

/// In the place of [`Task::submitted`] from the second attempt on: the delay was that of the first.
pub const RETRIED: u64 = 0;

/// What is to be called, with what, in which context, for which future. One line of the cache, which
/// goes from the CPU of the submitter to a worker's.
///
/// The arguments are in the order of vectorcall: positional values, then one for each name. The place
/// before the first may be overwritten during a call, if it is restored: so that calling a bound
/// method copies nothing.
#[repr(C)]
pub struct Task {
    future: Ref,
    function: Ref,
    context: Context,
    rare: Option<Box<Rare>>,
    /// When it was queued, in monotonic nanoseconds. In the place before the first argument.
    pub submitted: u64,
    inline: [Option<Ref>; INLINE],
    /// How many of the arguments are positional.
    positional: usize,
}

const _: () = assert!(size_of::<Task>() <= 64);
const _: () = assert!(offset_of!(Task, inline) == offset_of!(Task, submitted) + size_of::<usize>());

/// What few tasks have.
#[derive(Default)]
struct Rare {
    /// All arguments, behind a free place, if they are more than fit into the task.
    values: Box<[Option<Ref>]>,
    names: Option<Ref>,
    options: Option<Options>,
}

/// What `ThreadPoolExecutor.options` adds to a task.
pub struct Options {
    /// Higher runs sooner.
    pub priority: i64,
    /// How long it may run, in seconds.
    pub timeout: Option<f64>,
    /// How many more times it is tried.
    pub retries: u32,
    /// For which exceptions; a class or a tuple of classes.
    pub retry_on: Ref,
}

impl Task {
    /// A call of `function`, with `arguments` borrowed from a vectorcall.
    ///
    /// # Safety
    /// `arguments` points to `positional` values and one for each of `names`, which is null or a
    /// tuple; everything is alive.
    #[inline(always)]
    pub unsafe fn new(
        future: Ref,
        context: Context,
        function: *mut PyObject,
        arguments: *const *mut PyObject,
        positional: usize,
        names: *mut PyObject,
        submitted: u64,
    ) -> Self {
        let plain = names.is_null() && positional <= INLINE;
        // SAFETY: the caller's promise.
        unsafe {
            // No loop: the task is to be written field by field where it is to stay.
            let value =
                |at: usize| (plain && at < positional).then(|| Ref::new(*arguments.add(at)));
            let rare = (!plain).then(|| Rare::of(arguments, positional, names));
            let (function, inline) = (Ref::new(function), [value(0), value(1)]);
            Self { future, function, context, rare, submitted, inline, positional }
        }
    }

    /// Options, for a task that has not been queued yet.
    pub fn set_options(&mut self, options: Options) {
        self.rare.get_or_insert_default().options = Some(options);
    }

    /// Its options, if it has any.
    #[inline(always)]
    pub fn options(&mut self) -> Option<&mut Options> {
        self.rare.as_mut().and_then(|rare| rare.options.as_mut())
    }

    /// The same future, to be kept.
    pub fn share_future(&self) -> Ref {
        // SAFETY: alive as long as the task.
        unsafe { Ref::new(self.future.as_ptr()) }
    }

    /// The future that this call is to end.
    #[inline(always)]
    pub fn future(&self) -> FutureObject {
        // SAFETY: made by `new_future`, and alive as long as the task.
        unsafe { FutureObject::from_ptr(self.future.as_ptr()) }
    }

    /// Makes the call, in its context; `None` if it raised.
    #[inline(always)]
    pub fn call(&mut self) -> Option<Ref> {
        const BEFORE: usize = ffi::PY_VECTORCALL_ARGUMENTS_OFFSET;
        let names = self.names();
        let arguments: *const *mut PyObject = match &mut self.rare {
            // SAFETY: there is a place before the first.
            Some(rare) if !rare.values.is_empty() => unsafe {
                rare.values.as_mut_ptr().add(1).cast()
            },
            _ => self.arguments_inline(),
        };
        let (function, count) = (self.function.as_ptr(), self.positional | BEFORE);
        // SAFETY: `Option<Ref>` has the layout of a pointer; the first place may be overwritten
        // and is restored by the callee, as BEFORE says. The worker's thread is attached.
        let call =
            || unsafe { Ref::owned(ffi::PyObject_Vectorcall(function, arguments, count, names)) };
        self.context.run(call)
    }

    /// The arguments in the task itself, with what may be overwritten before them.
    #[inline(always)]
    fn arguments_inline(&mut self) -> *const *mut PyObject {
        let task: *mut Self = self;
        // SAFETY: inside the task, whose layout is the declared one.
        unsafe { task.byte_add(offset_of!(Task, inline)).cast() }
    }

    #[inline(always)]
    fn names(&self) -> *mut PyObject {
        let names = self.rare.as_ref().and_then(|rare| rare.names.as_ref());
        names.map_or(std::ptr::null_mut(), Ref::as_ptr)
    }

    /// The function and its arguments.
    fn held(&self) -> impl Iterator<Item = &Ref> {
        let rare =
            self.rare.iter().flat_map(|rare| rare.values.iter().flatten().chain(&rare.names));
        self.inline.iter().flatten().chain([&self.function]).chain(rare)
    }

    /// Whether dropping it may run code of others, which may take as long as it likes: a destructor.
    /// The answer is about this task's references; those that others have are theirs to drop.
    pub fn is_last_owner(&self) -> bool {
        let options = self.rare.as_ref().is_some_and(|rare| rare.options.is_some());
        options || self.held().any(|held| is_last(held.as_ptr())) || self.context.is_last_owner()
    }

    /// Shows the collector what it holds.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.future.visit(visit)?;
        if let Some(options) = self.rare.as_ref().and_then(|rare| rare.options.as_ref()) {
            options.retry_on.visit(visit)?;
        }
        self.held().try_for_each(|held| held.visit(visit))
    }
}

impl Rare {
    /// # Safety
    /// As for [`Task::new`].
    #[cold]
    unsafe fn of(
        arguments: *const *mut PyObject,
        positional: usize,
        names: *mut PyObject,
    ) -> Box<Self> {
        // SAFETY: the caller's promise; the place before the first stays empty.
        unsafe {
            let keywords = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) as usize };
            let value = |at: usize| (at > 0).then(|| Ref::new(*arguments.add(at - 1)));
            let values = (0..=positional + keywords).map(value).collect();
            let names = (!names.is_null()).then(|| Ref::new(names));
            Box::new(Self { values, names, options: None })
        }
    }
}

// Bound methods, of which pyo3 knows nothing.
unsafe extern "C" {
    static mut PyMethod_Type: ffi::PyTypeObject;
    fn PyMethod_Self(method: *mut PyObject) -> *mut PyObject;
    fn PyMethod_Function(method: *mut PyObject) -> *mut PyObject;
}

/// Whether dropping this reference would run a destructor that somebody else wrote.
fn is_last(object: *mut PyObject) -> bool {
    // SAFETY: a live object; exact types of the interpreter's.
    unsafe {
        if ffi::Py_REFCNT(object) > 1 {
            return false;
        }
        let class = ffi::Py_TYPE(object);
        if class == &raw mut PyMethod_Type {
            return is_last(PyMethod_Self(object)) || is_last(PyMethod_Function(object));
        }
        let plain = [
            &raw mut ffi::PyLong_Type,
            &raw mut ffi::PyUnicode_Type,
            &raw mut ffi::PyFloat_Type,
            &raw mut ffi::PyBytes_Type,
            &raw mut ffi::PyRange_Type,
        ];
        !plain.contains(&class)
    }
}
