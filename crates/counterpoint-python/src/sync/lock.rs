//! `counterpoint._core.Lock`: the mutual exclusion lock.

use super::raw_lock::{
    LockLike, LockPlace, RawLock, constructed, describe_owner, receiver, spec, waits_of,
};
use crate::boundary::{
    Pending, TaskHandle, Ticket, Timeout, block_for_sure, block_on, boolean, guarded,
    lock_arguments, method, new_reference, noargs, raw_type, refuse_deadlock, slot, thread_owner,
    truth,
};
use counterpoint_sync::clock;
use counterpoint_sync::lock::Who;
use counterpoint_sync::lock::mutex::{Acquire, LockState, NOBODY};
use counterpoint_sync::wait::{Wait, deliver};
use counterpoint_sync::waiter::{Waiter, Wakes};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::ptr;

/// The state of a Lock.
type Inner = LockState<TaskHandle>;

/// The memory of a Lock object.
pub type LockObject = RawLock<Inner>;

impl LockLike for Inner {
    fn inner(&self) -> &LockState<TaskHandle> {
        self
    }

    fn inner_mut(&mut self) -> &mut LockState<TaskHandle> {
        self
    }
}

impl LockObject {
    #[inline(always)]
    fn try_acquire(&self, py: Python<'_>) -> bool {
        self.state.with(py, |lock| lock.try_acquire(thread_owner()))
    }

    #[inline(always)]
    fn try_release(&self, py: Python<'_>) -> bool {
        self.state.with(py, |lock| lock.owner() != NOBODY && lock.try_release())
    }

    /// Takes the lock for this thread; `false` when the time is over.
    pub fn acquire(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        if self.try_acquire(py) {
            return Ok(true);
        }
        match timeout {
            Timeout::Now => return Ok(false),
            Timeout::Never => refuse_deadlock(py, self.holder(py))?,
            Timeout::Until(_) => {}
        }
        let mut wait = Wait::new(Acquire(Who::thread(thread_owner())));
        Ok(block_on(py, &self.state, &mut wait, timeout.deadline())?.is_some())
    }

    /// Takes the lock for this thread, whatever signal handlers raise until then.
    pub fn acquire_again(&self, py: Python<'_>) -> PyResult<()> {
        if self.try_acquire(py) {
            return Ok(());
        }
        refuse_deadlock(py, self.holder(py))?;
        let mut wait = Wait::new(Acquire(Who::thread(thread_owner())));
        block_for_sure(py, &self.state, &mut wait).1
    }

    /// Frees the lock, whoever holds it.
    pub fn release(&self, py: Python<'_>) -> PyResult<()> {
        if self.try_release(py) {
            return Ok(());
        }
        let mut wakes = Wakes::default();
        self.release_into(py, &mut wakes)?;
        deliver(&self.state.held(py), wakes);
        Ok(())
    }

    /// The same, leaving it to the caller to wake whom it claims.
    pub fn release_into(&self, py: Python<'_>, wakes: &mut Wakes<TaskHandle>) -> PyResult<()> {
        let held = self.state.with(py, |lock| {
            let held = lock.owner() != NOBODY;
            if held {
                lock.release(clock::now, wakes);
            }
            held
        });
        if held { Ok(()) } else { Err(PyRuntimeError::new_err("release unlocked lock")) }
    }

    /// Whether anybody holds it.
    pub fn locked(&self, py: Python<'_>) -> bool {
        self.state.with(py, |lock| lock.owner()) != NOBODY
    }
}

unsafe extern "C" fn acquire(
    object: *mut PyObject,
    arguments: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: CPython calls methods attached, with an instance of the type and its arguments.
    unsafe {
        let lock = receiver::<Inner>(object);
        let plain = count == 0 && names.is_null();
        if plain && lock.try_acquire(Python::assume_attached()) {
            return new_reference(ffi::Py_True());
        }
        guarded(|py| {
            let timeout = lock_arguments(py, arguments, count, names)?;
            Ok(boolean(lock.acquire(py, timeout)?))
        })
    }
}

unsafe extern "C" fn enter(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: no arguments is a valid argument list.
    unsafe { acquire(object, ptr::null(), 0, ptr::null_mut()) }
}

unsafe extern "C" fn release(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `acquire`.
    unsafe {
        let lock = receiver::<Inner>(object);
        let py = Python::assume_attached();
        if lock.try_release(py) {
            return new_reference(ffi::Py_None());
        }
        guarded(|py| lock.release(py).map(|()| new_reference(ffi::Py_None())))
    }
}

unsafe extern "C" fn exit(
    object: *mut PyObject,
    _: *const *mut PyObject,
    _: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: `release` takes no arguments.
    unsafe { release(object, ptr::null_mut()) }
}

unsafe extern "C" fn locked(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: as in `acquire`.
    unsafe { boolean(receiver::<Inner>(object).locked(Python::assume_attached())) }
}

unsafe extern "C" fn at_fork_reinit(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: as in `acquire`.
        let lock = unsafe { receiver::<Inner>(object) };
        drop(lock.state.with(py, LockState::reset));
        // SAFETY: a singleton.
        Ok(unsafe { new_reference(ffi::Py_None()) })
    })
}

/// `_ticket(loop, task)`: the wait of a task for this lock.
unsafe extern "C" fn ticket(
    object: *mut PyObject,
    arguments: *const *mut PyObject,
    count: Py_ssize_t,
    _: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        if count != 2 {
            return Err(PyTypeError::new_err("_ticket() takes the event loop and the task"));
        }
        // SAFETY: two arguments were just counted; the receiver is an instance of the type.
        let [event_loop, task, lock] = unsafe {
            [*arguments, *arguments.add(1), object]
                .map(|o| Bound::from_borrowed_ptr(py, o).unbind())
        };
        let handle = TaskHandle::new(event_loop, py.None(), task);
        let identity = Waiter::task(handle.owner(), 0, handle);
        let place = LockPlace::<Inner>::new(lock, identity.clone());
        let source = Acquire(Who::task_of(identity));
        let finish = |py: Python<'_>, _: &_, ()| Ok(truth(py));
        let ticket = Ticket::new(Pending { place, wait: Wait::new(source), finish });
        Ok(Py::new(py, ticket)?.into_any().into_ptr())
    })
}

unsafe extern "C" fn init(object: *mut PyObject, args: *mut PyObject, kw: *mut PyObject) -> c_int {
    // SAFETY: CPython passes a tuple and null or a dict.
    let given = unsafe {
        ffi::PyTuple_GET_SIZE(args) + if kw.is_null() { 0 } else { ffi::PyDict_Size(kw) }
    };
    if given == 0 {
        return constructed(object);
    }
    guarded(|_| Err(PyTypeError::new_err("Lock() takes no arguments")))
}

unsafe extern "C" fn repr(object: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: as in `acquire`.
        let lock = unsafe { receiver::<Inner>(object) };
        let state = if lock.locked(py) { "locked" } else { "unlocked" };
        let text = format!("<{state} counterpoint.threading.Lock object at {object:p}>");
        Ok(text.into_pyobject(py)?.into_any().into_ptr())
    })
}

/// Adds `Lock` to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let mut spec = spec::<Inner>(c"counterpoint._core.Lock", repr);
    spec.slots.push(slot(ffi::Py_tp_init, init as *mut c_void));
    spec.methods = vec![
        method(c"acquire", acquire, ACQUIRE_DOC),
        method(c"acquire_lock", acquire, ACQUIRE_DOC),
        noargs(c"release", release, RELEASE_DOC),
        noargs(c"release_lock", release, RELEASE_DOC),
        noargs(c"locked", locked, LOCKED_DOC),
        noargs(c"locked_lock", locked, LOCKED_DOC),
        noargs(c"__enter__", enter, c"__enter__($self)\n--\n\nAcquires the lock."),
        method(c"__exit__", exit, c"__exit__($self, *exc_info)\n--\n\nReleases the lock."),
        noargs(c"_at_fork_reinit", at_fork_reinit, c"_at_fork_reinit($self)\n--\n\n"),
        method(c"_ticket", ticket, c"_ticket($self, loop, task, /)\n--\n\n"),
        waits_of::<Inner>(),
    ];
    spec.attributes = describe_owner::<Inner>();
    module.add("Lock", raw_type(module.py(), spec, None)?)
}

const ACQUIRE_DOC: &std::ffi::CStr =
    c"acquire($self, blocking=True, timeout=-1)\n--\n\nAcquires the \
lock; True if it was acquired, False if it was not within `timeout` seconds.";
const RELEASE_DOC: &std::ffi::CStr = c"release($self)\n--\n\nFrees the lock, whoever acquired it.";
const LOCKED_DOC: &std::ffi::CStr = c"locked($self)\n--\n\nWhether anybody holds the lock.";
