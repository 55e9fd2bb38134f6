//! [`Task`]: a call that waits for a worker.

use crate::executor::future::FutureObject;
use crate::executor::reference::Ref;
use pyo3::Python;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};

/// Arguments held without an allocation of their own.
const INLINE: usize = 3;

/// A call's arguments in the order of vectorcall: positional values, then one for each name. The
/// place before the first is free, so that calling a bound method copies nothing.
enum Values {
    Inline([Option<Ref>; INLINE + 1]),
    Boxed(Box<[Option<Ref>]>),
}

/// What is to be called, with what, in which context, for which future.
pub struct Task {
    future: Ref,
    function: Ref,
    values: Values,
    positional: usize,
    names: Option<Ref>,
    context: Context,
    /// When it was queued, in monotonic nanoseconds.
    pub submitted: u64,
    /// What few tasks have.
    pub options: Option<Box<Options>>,
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
            let keywords = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) as usize };
            Self {
                future,
                function: Ref::new(function),
                values: collect(arguments, positional + keywords),
                positional,
                names: (!names.is_null()).then(|| Ref::new(names)),
                context,
                submitted: 0,
                options: None,
            }
        }
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
        let values = match &mut self.values {
            Values::Inline(values) => values.as_mut_ptr(),
            Values::Boxed(values) => values.as_mut_ptr(),
        };
        let names = self.names.as_ref().map_or(std::ptr::null_mut(), Ref::as_ptr);
        // SAFETY: `Option<Ref>` has the layout of a pointer; the first place may be overwritten
        // and is restored by the callee, as BEFORE says. The worker's thread is attached.
        unsafe {
            if ffi::PyContext_Enter(self.context.as_ptr()) != 0 {
                return None;
            }
            let arguments: *const *mut PyObject = values.add(1).cast();
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

    /// Shows the collector what it holds.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let values = match &self.values {
            Values::Inline(values) => values.as_slice(),
            Values::Boxed(values) => values,
        };
        for held in [&self.future, &self.function] {
            held.visit(visit)?;
        }
        if let Some(options) = &self.options {
            options.retry_on.visit(visit)?;
        }
        self.names.iter().chain(values.iter().flatten()).try_for_each(|held| held.visit(visit))
    }
}

/// # Safety
/// `arguments` points to `count` live objects.
#[inline(always)]
unsafe fn collect(arguments: *const *mut PyObject, count: usize) -> Values {
    // SAFETY: the caller's promise; the place before the first is empty.
    let value =
        |at: usize| (1..=count).contains(&at).then(|| unsafe { Ref::new(*arguments.add(at - 1)) });
    if count <= INLINE {
        return Values::Inline(std::array::from_fn(value));
    }
    Values::Boxed((0..=count).map(value).collect())
}
