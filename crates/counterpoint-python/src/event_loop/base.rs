//! `LoopBase`: the class in which all this comes together.

use super::native::Loop;
use super::{arguments, attributes, bare, operation, schedule, tasks};
use crate::boundary::{Behind, Outline, attribute, method, noargs, one};
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Where a loop's native part is.
pub static BASE: Behind<Loop> = Behind::new(c"_counterpoint_loop");

static CLASS: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// Whether an object is an instance of the class.
///
/// # Safety
/// A live object, and an attached thread.
#[inline(always)]
pub unsafe fn is_ours(object: *mut PyObject) -> bool {
    // SAFETY: the caller's promise.
    unsafe { ffi::Py_TYPE(object) == USUAL.load(Ordering::Relaxed) || is_derived(object) }
}

/// The class of the first loop that was asked for, which is kept: mostly that of all others.
static USUAL: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// # Safety
/// As [`is_ours`].
#[cold]
unsafe fn is_derived(object: *mut PyObject) -> bool {
    let class = CLASS.load(Ordering::Relaxed);
    // SAFETY: the caller's promise; the class lives as long as the process.
    unsafe {
        let is_ours = !class.is_null() && ffi::PyObject_TypeCheck(object, class) != 0;
        if is_ours && USUAL.load(Ordering::Relaxed).is_null() {
            let usual = Ref::new(ffi::Py_TYPE(object).cast()).into_ptr().cast();
            let (none, order) = (ptr::null_mut(), Ordering::Relaxed);
            let known = USUAL.compare_exchange(none, usual, order, order);
            drop(known.err().and_then(|_| Ref::owned(usual.cast())));
        }
        is_ours
    }
}

/// Makes the class.
pub fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let class = make_class(py)?;
    CLASS.store(class.clone().into_ptr().cast(), Ordering::Relaxed);
    Ok(class)
}

fn make_class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    arguments::prepare(py)?;
    bare::prepare(py);
    tasks::prepare(py)?;
    let methods = operation::methods();
    let base = py.import("asyncio.unix_events")?.getattr("SelectorEventLoop")?;
    BASE.make(
        &base,
        Outline {
            name: c"counterpoint._core.event_loop.LoopBase",
            methods: [
                method(c"call_soon", schedule::call_soon, CALL_SOON),
                method(c"call_soon_threadsafe", schedule::call_soon_threadsafe, THREADSAFE),
                method(c"call_later", schedule::call_later, CALL_LATER),
                method(c"call_at", schedule::call_at, CALL_AT),
                method(c"create_task", tasks::create_task, CREATE_TASK),
                noargs(c"create_future", tasks::create_future, CREATE_FUTURE),
                noargs(c"time", schedule::time, c"time($self)\n--\n\nSeconds, monotonic."),
                one(c"_add_callback", schedule::add_callback, ADD_CALLBACK),
                one(c"_add_callback_signalsafe", schedule::add_callback, ADD_CALLBACK),
                noargs(c"_spin", attributes::spin, c"_spin($self)\n--\n\nTurn until stopped."),
                noargs(c"_run_once", attributes::run_once, c"_run_once($self)\n--\n\nOne turn."),
                noargs(c"stop", attributes::stop, c"stop($self)\n--\n\nEnd with this turn."),
                noargs(c"get_debug", attributes::get_debug, c"get_debug($self)\n--\n\nDebug mode?"),
                noargs(c"is_closed", attributes::is_closed, c"is_closed($self)\n--\n\nClosed?"),
                noargs(c"is_running", attributes::is_running, c"is_running($self)\n--\n\nRuns?"),
                method(c"_add_reader", attributes::add_reader, WATCH),
                method(c"_add_writer", attributes::add_writer, WATCH),
                one(c"_remove_reader", attributes::remove_reader, UNWATCH),
                one(c"_remove_writer", attributes::remove_writer, UNWATCH),
            ]
            .into_iter()
            .chain(methods)
            .collect(),
            attributes: vec![
                attribute(c"_stopping", attributes::stopping, attributes::set_stopping),
                attribute(c"_debug", attributes::debug, attributes::set_debug),
                attribute(c"_closed", attributes::closed, attributes::set_closed),
                attribute(c"_thread_id", attributes::thread, attributes::set_thread),
                attribute(c"_current_handle", attributes::current, attributes::ignore),
                attribute(c"_ready", attributes::ready, attributes::ignore),
                attribute(c"_scheduled", attributes::scheduled, attributes::ignore),
            ],
        },
    )
}

const CALL_SOON: &std::ffi::CStr = c"call_soon($self, callback, *args, context=None)\n--\n\n\
    Call it in the next turn; returns a Handle.";
const THREADSAFE: &std::ffi::CStr =
    c"call_soon_threadsafe($self, callback, *args, context=None)\n--\n\n\
    The same, from any thread.";
const CALL_LATER: &std::ffi::CStr =
    c"call_later($self, delay, callback, *args, context=None)\n--\n\n\
    Call it so many seconds from now; returns a TimerHandle.";
const CALL_AT: &std::ffi::CStr = c"call_at($self, when, callback, *args, context=None)\n--\n\n\
    Call it when time() is that; returns a TimerHandle.";
const CREATE_TASK: &std::ffi::CStr = c"create_task($self, coro, **kwargs)\n--\n\n\
    Schedule a coroutine; the same as asyncio's newest.\n\n\
    Args:\n    coro: the coroutine.\n    kwargs: `name`, `context`, and `eager_start` where Python's \
    tasks have it (3.12); they\n        go to the task factory, if there is one.";
const CREATE_FUTURE: &std::ffi::CStr =
    c"create_future($self)\n--\n\nA new asyncio.Future of this loop.";
const ADD_CALLBACK: &std::ffi::CStr = c"_add_callback($self, handle)\n--\n\nQueue a handle.";
const WATCH: &std::ffi::CStr = c"_add_reader($self, fd, callback, *args)\n--\n\n\
    Call it whenever the descriptor is ready.";
const UNWATCH: &std::ffi::CStr = c"_remove_reader($self, fd)\n--\n\nWhether there was one.";
