//! `create_task` and `create_future`: as they are mostly called, without a frame of Python.

use super::arguments::Arguments;
use super::fields::{Fields, Name};
use super::native::{CLOSED, DEBUG, Loop};
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyTuple;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// So many keywords of a task are passed on natively.
const MOST: usize = 3;

/// asyncio's own classes of tasks and futures, where they are native; they live as long as the process.
pub static TASK: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());
static FUTURE: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// What is looked up each time.
static FACTORY: Name = Name::new("_task_factory");
static TASK_CLASS: Name = Name::new("Task");
static FUTURE_CLASS: Name = Name::new("Future");

/// What the functions need.
struct Names {
    /// The modules in which asyncio looks up its classes, anew each time: programs change them.
    tasks: Py<PyAny>,
    futures: Py<PyAny>,
    /// `("loop",)`, and `("loop", "name")`.
    looped: Py<PyTuple>,
    named: Py<PyTuple>,
}

/// The keywords with which the constructors are called.
#[derive(Clone, Copy)]
enum Keywords {
    /// `{"loop": it}`.
    Loop,
    /// `{"loop": it, "eager_start": True}`.
    Eager,
}

/// They, by their number.
pub type Named = [Option<Ref>; 2];

static NAMES: PyOnceLock<Names> = PyOnceLock::new();

/// Makes what the functions need.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    if let Ok(module) = py.import("_asyncio") {
        for (place, name) in [(&TASK, "Task"), (&FUTURE, "Future")] {
            place.store(module.getattr(name)?.into_ptr().cast(), Ordering::Relaxed);
        }
    }
    let module = |name| PyResult::Ok(py.import(name)?.into_any().unbind());
    let (word, name) = (intern!(py, "loop"), intern!(py, "name"));
    let _ = NAMES.set(
        py,
        Names {
            tasks: module("asyncio.tasks")?,
            futures: module("asyncio.futures")?,
            looped: PyTuple::new(py, [word])?.unbind(),
            named: PyTuple::new(py, [word, name])?.unbind(),
        },
    );
    Ok(())
}

impl Names {
    /// The keywords of a task: the loop, and then those of the call.
    #[inline(always)]
    fn with_loop(&self, py: Python<'_>, given: *mut PyObject) -> Option<Ref> {
        // SAFETY: null, or a tuple of names that is alive.
        unsafe {
            if given.is_null() {
                return Some(Ref::new(self.looped.as_ptr()));
            }
            let name = intern!(py, "name").as_ptr();
            if ffi::PyTuple_GET_SIZE(given) == 1 && ffi::PyTuple_GET_ITEM(given, 0) == name {
                return Some(Ref::new(self.named.as_ptr()));
            }
            Ref::owned(ffi::PySequence_Concat(self.looped.as_ptr(), given))
        }
    }
}

/// An attribute that an object has itself; `None` with an exception set.
#[inline(always)]
fn own(object: &Bound<'_, PyAny>, name: &Name) -> Option<Ref> {
    let found = Fields::of(object).and_then(|fields| fields.get(name));
    found.map(Ref::from).map_err(|error| error.restore(object.py())).ok()
}

/// Whether the loop makes tasks itself: it was given no factory.
///
/// # Safety
/// A live loop.
#[inline(always)]
unsafe fn makes_tasks(py: Python<'_>, owner: *mut PyObject) -> Option<bool> {
    // SAFETY: the caller's promise.
    let owner = unsafe { Bound::from_borrowed_ptr(py, owner) };
    Some(own(&owner, &FACTORY)?.bind(py).is_none())
}

/// `create_task(coro, **kwargs)`.
pub unsafe extern "C" fn create_task(
    owner: *mut PyObject,
    place: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    let arguments = Arguments { place, count: count as usize, names };
    // SAFETY: a method is called attached, on its own type, by the vectorcall protocol.
    unsafe {
        let py = Python::assume_attached();
        let native = Loop::of(py, owner).filter(|native| !native.is(CLOSED | DEBUG));
        let keywords = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) as usize };
        let known = match keywords {
            0 => Some(Keywords::Loop),
            _ => is_eager(py, arguments).then_some(Keywords::Eager),
        };
        let usual = arguments.count == 1 && keywords <= MOST;
        let usual = usual && (known.is_some() || !names_loop(py, names));
        let Some(native) = native.filter(|_| usual) else { return slowly(py, owner, arguments) };
        match makes_tasks(py, owner) {
            Some(true) => {
                let made = new_task(py, native, owner, arguments, keywords, known);
                made.map_or(ptr::null_mut(), Ref::into_ptr)
            }
            Some(false) => slowly(py, owner, arguments),
            None => ptr::null_mut(),
        }
    }
}

/// Whether nothing is named but that the task is to begin at once.
///
/// # Safety
/// The arguments of a running vectorcall.
#[inline(always)]
unsafe fn is_eager(py: Python<'_>, arguments: Arguments) -> bool {
    // SAFETY: the caller's promise: names are strings, mostly interned ones, and each has its value.
    unsafe {
        !arguments.names.is_null()
            && ffi::PyTuple_GET_SIZE(arguments.names) == 1
            && ffi::PyTuple_GET_ITEM(arguments.names, 0) == intern!(py, "eager_start").as_ptr()
            && *arguments.place.add(arguments.count) == ffi::Py_True()
    }
}

/// Whether a loop is named, which is an error: it is this one.
///
/// # Safety
/// A live tuple of names.
#[inline(always)]
unsafe fn names_loop(py: Python<'_>, names: *mut PyObject) -> bool {
    // SAFETY: the caller's promise; names are strings.
    unsafe {
        (0..ffi::PyTuple_GET_SIZE(names)).map(|at| ffi::PyTuple_GET_ITEM(names, at)).any(|given| {
            given != intern!(py, "name").as_ptr()
                && ffi::PyUnicode_CompareWithASCIIString(given, c"loop".as_ptr()) == 0
        })
    }
}

/// # Safety
/// One positional argument and at most [`MOST`] keywords, of a running vectorcall; what is known of these.
#[inline(always)]
unsafe fn new_task(
    py: Python<'_>,
    native: &Loop,
    owner: *mut PyObject,
    arguments: Arguments,
    keywords: usize,
    known: Option<Keywords>,
) -> Option<Ref> {
    let names = NAMES.get(py)?;
    let class = own(names.tasks.bind(py), &TASK_CLASS)?;
    if let Some(known) = known
        && class.as_ptr() == TASK.load(Ordering::Relaxed).cast()
    {
        // SAFETY: the caller's promise.
        let coroutine = unsafe { Ref::new(*arguments.place) };
        return of_asyncios(py, native, owner, &class, [coroutine], known);
    }
    let words = names.with_loop(py, arguments.names)?;
    // SAFETY: the caller's promise; so many places are written as are told of.
    unsafe {
        let mut values = [ptr::null_mut(); 2 + MOST];
        (values[0], values[1]) = (*arguments.place, owner);
        for at in 0..keywords {
            values[2 + at] = *arguments.place.add(1 + at);
        }
        Ref::owned(ffi::PyObject_Vectorcall(class.as_ptr(), values.as_ptr(), 1, words.as_ptr()))
    }
}

/// Makes one of asyncio's own tasks or futures. Each time the same dict names the loop: their constructors
/// look at it and no more, and to make one is a tenth of what they cost.
#[inline(always)]
fn of_asyncios<const N: usize>(
    py: Python<'_>,
    native: &Loop,
    owner: *mut PyObject,
    class: &Ref,
    arguments: [Ref; N],
    keywords: Keywords,
) -> Option<Ref> {
    let known = |named: &Named| named[keywords as usize].as_ref().map(Ref::share);
    let named = native.state.with(py, |state| known(&state.named));
    // SAFETY: live objects; new references, or null with an exception set. A new tuple takes what is put
    // into it.
    unsafe {
        let named = match named {
            Some(named) => named,
            None => name_loop(py, native, owner, keywords)?,
        };
        let tuple = Ref::owned(ffi::PyTuple_New(N as ffi::Py_ssize_t))?;
        for (at, argument) in (0..).zip(arguments) {
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), at, argument.into_ptr());
        }
        Ref::owned(ffi::PyObject_Call(class.as_ptr(), tuple.as_ptr(), named.as_ptr()))
    }
}

/// A future of asyncio's own, natively; `None`: there is no such class.
pub fn native_future(py: Python<'_>, native: &Loop, owner: &Ref) -> Option<Option<Ref>> {
    // SAFETY: null, or a class that lives as long as the process.
    let class = unsafe {
        let class = FUTURE.load(Ordering::Relaxed);
        Bound::from_borrowed_ptr_or_opt(py, class.cast())?
    };
    Some(of_asyncios(py, native, owner.as_ptr(), &Ref::from(class), [], Keywords::Loop))
}

/// A dict of these keywords, which the loop keeps.
///
/// # Safety
/// A live loop, and its native part.
#[cold]
unsafe fn name_loop(
    py: Python<'_>,
    native: &Loop,
    owner: *mut PyObject,
    keywords: Keywords,
) -> Option<Ref> {
    // SAFETY: the caller's promise; a new reference, or null with an exception set.
    let named = unsafe {
        let named = Ref::owned(ffi::PyDict_New())?;
        let eager = (intern!(py, "eager_start").as_ptr(), ffi::Py_True());
        let all = [(intern!(py, "loop").as_ptr(), owner), eager];
        for (key, value) in all.into_iter().take(1 + keywords as usize) {
            if ffi::PyDict_SetItem(named.as_ptr(), key, value) != 0 {
                return None;
            }
        }
        named
    };
    let place = |named: &mut Named, dict| named[keywords as usize].replace(dict);
    drop(native.state.with(py, |state| place(&mut state.named, named.share())));
    Some(named)
}

/// In debug mode, with a factory, or called in a way that needs a word of complaint.
///
/// # Safety
/// The arguments are those of a running vectorcall to a method of `owner`.
#[cold]
unsafe fn slowly(py: Python<'_>, owner: *mut PyObject, arguments: Arguments) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        let method = ffi::PyObject_GetAttr(owner, intern!(py, "_create_task").as_ptr());
        let Some(method) = Ref::owned(method) else { return ptr::null_mut() };
        ffi::PyObject_Vectorcall(method.as_ptr(), arguments.place, arguments.count, arguments.names)
    }
}

/// `create_future()`.
pub unsafe extern "C" fn create_future(owner: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method is called attached; the names follow the values.
    unsafe {
        let py = Python::assume_attached();
        let Some(names) = NAMES.get(py) else { return ptr::null_mut() };
        let Some(class) = own(names.futures.bind(py), &FUTURE_CLASS) else {
            return ptr::null_mut();
        };
        if class.as_ptr() == FUTURE.load(Ordering::Relaxed).cast()
            && let Some(native) = Loop::of(py, owner).filter(|native| !native.is(CLOSED))
        {
            let made = of_asyncios(py, native, owner, &class, [], Keywords::Loop);
            return made.map_or(ptr::null_mut(), Ref::into_ptr);
        }
        ffi::PyObject_Vectorcall(class.as_ptr(), &raw const owner, 0, names.looped.as_ptr())
    }
}
