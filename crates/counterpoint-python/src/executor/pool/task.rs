//! [`Task`]: a call that waits for a worker.

use crate::executor::future::FutureObject;
use crate::executor::reference::Ref;
use pyo3::Python;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use std::ffi::{c_int, c_void};
use std::mem::offset_of;

/// Arguments held without an allocation of their own.
const INLINE: usize = 2;

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

/// The context in which a task runs: a copy of the submitter's, which no Python code can name.
///
/// With a GIL it is kept out of the collector's sight, where it would be one more object of every
/// waiting task to go through. It cannot keep a cycle alive for longer than its task waits, and a
/// worker or the pool's end takes every task.
pub struct Context(Option<Ref>);

impl Context {
    /// A copy of the current context; `None` with an exception set if memory is short.
    #[inline(always)]
    pub fn copy_current(_: Python<'_>) -> Option<Self> {
        // SAFETY: attached; a new reference to an object that the collector tracks, or null.
        unsafe {
            let context = Ref::owned(ffi::PyContext_CopyCurrent())?;
            if !cfg!(Py_GIL_DISABLED) {
                ffi::PyObject_GC_UnTrack(context.as_ptr().cast());
            }
            Some(Self(Some(context)))
        }
    }

    /// Whether it holds what no other context does: a variable was set in it.
    fn is_last_owner(&self) -> bool {
        unsafe extern "C" fn look(object: *mut PyObject, found: *mut c_void) -> c_int {
            // SAFETY: the interpreter shows live objects; `found` is the flag below.
            unsafe { *found.cast::<bool>() |= ffi::Py_REFCNT(object) == 1 };
            0
        }
        let mut found = false;
        let Some(context) = &self.0 else { return false };
        // SAFETY: a live object whose type has a traversal; it visits what the context holds, and
        // calls nothing else.
        unsafe {
            if let Some(traverse) = (*ffi::Py_TYPE(context.as_ptr())).tp_traverse {
                traverse(context.as_ptr(), look, (&raw mut found).cast());
            }
        }
        found
    }

    #[inline(always)]
    fn as_ptr(&self) -> *mut PyObject {
        self.0.as_ref().map_or(std::ptr::null_mut(), Ref::as_ptr)
    }
}

impl Drop for Context {
    #[inline(always)]
    fn drop(&mut self) {
        let Some(context) = self.0.take() else { return };
        if !cfg!(Py_GIL_DISABLED) {
            // SAFETY: untracked by `copy_current`; its destructor wants to find it tracked.
            unsafe { ffi::PyObject_GC_Track(context.as_ptr().cast()) };
        }
    }
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
    ) -> Self {
        // SAFETY: the caller's promise.
        unsafe {
            let mut task = Self {
                future,
                function: Ref::new(function),
                context,
                rare: None,
                submitted: 0,
                inline: [None, None],
                positional,
            };
            if names.is_null() && positional <= INLINE {
                for (at, place) in task.inline.iter_mut().enumerate().take(positional) {
                    *place = Some(Ref::new(*arguments.add(at)));
                }
            } else {
                task.rare = Some(Rare::of(arguments, positional, names));
            }
            task
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
        // SAFETY: `Option<Ref>` has the layout of a pointer; the first place may be overwritten
        // and is restored by the callee, as BEFORE says. The worker's thread is attached.
        unsafe {
            if ffi::PyContext_Enter(self.context.as_ptr()) != 0 {
                return None;
            }
            let function = self.function.as_ptr();
            let result =
                ffi::PyObject_Vectorcall(function, arguments, self.positional | BEFORE, names);
            let result = Ref::owned(result);
            if ffi::PyContext_Exit(self.context.as_ptr()) != 0 {
                return None;
            }
            result
        }
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
