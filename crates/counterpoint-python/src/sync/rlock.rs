//! `counterpoint._core.RLock`: the lock that its owner may take again.

use super::raw_lock::{
    LockLike, LockPlace, RawLock, constructed, describe_owner, receiver, spec, waits_of,
};
use crate::boundary::{
    Pending, TaskHandle, Ticket, Timeout, block_for_sure, block_on, boolean, current_owner,
    guarded, is_task, lock_arguments, method, new_reference, noargs, none, one, raw_type,
    refuse_deadlock, slot, thread_owner, truth, wake,
};
use counterpoint_sync::clock;
use counterpoint_sync::lock::Who;
use counterpoint_sync::lock::mutex::{Acquire, LockState, NOBODY};
use counterpoint_sync::lock::reentrant::{AcquireReentrant, ReentrantState};
use counterpoint_sync::wait::{Wait, deliver};
use counterpoint_sync::waiter::{Waiter, Wakes};
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::ptr;

/// The state of an RLock.
type Inner = ReentrantState<TaskHandle>;

/// The memory of an RLock object.
pub type RLockObject = RawLock<Inner>;

impl LockLike for Inner {
    fn inner(&self) -> &LockState<TaskHandle> {
        &self.lock
    }

    fn inner_mut(&mut self) -> &mut LockState<TaskHandle> {
        &mut self.lock
    }
}

impl RLockObject {
    #[inline(always)]
    fn try_acquire(&self, py: Python<'_>) -> bool {
        self.state.with(py, |lock| lock.try_acquire(thread_owner()))
    }

    #[inline(always)]
    fn try_release(&self, py: Python<'_>) -> bool {
        self.state.with(py, |lock| lock.count_of(thread_owner()) > 0 && lock.try_release())
    }

    /// Who this code is to the lock: the thread, or the current task if that is the holder.
    fn me(&self, py: Python<'_>) -> PyResult<usize> {
        let owner = self.state.with(py, |lock| lock.lock.owner());
        if is_task(owner) && current_owner(py)? == Some(owner) {
            return Ok(owner);
        }
        Ok(thread_owner())
    }

    /// Takes the lock once more, or waits for it; `false` when the time is over.
    pub fn acquire(&self, py: Python<'_>, timeout: Timeout) -> PyResult<bool> {
        let me = self.me(py)?;
        if self.state.with(py, |lock| lock.try_acquire(me)) {
            return Ok(true);
        }
        match timeout {
            Timeout::Now => return Ok(false),
            Timeout::Never => refuse_deadlock(py, self.holder(py))?,
            Timeout::Until(_) => {}
        }
        let mut wait = Wait::new(AcquireReentrant(Acquire(Who::thread(me))));
        Ok(block_on(py, &self.state, &mut wait, timeout.deadline())?.is_some())
    }

    /// Undoes one acquisition by this thread or task.
    pub fn release(&self, py: Python<'_>) -> PyResult<()> {
        if self.try_release(py) {
            return Ok(());
        }
        self.check_owned(py)?;
        wake(py, &self.state, |lock, wakes| lock.release(clock::now, wakes));
        Ok(())
    }

    /// Takes the lock for this thread, for ever if need be.
    #[inline]
    pub fn enter(&self, py: Python<'_>) -> PyResult<()> {
        if self.try_acquire(py) {
            return Ok(());
        }
        self.acquire(py, Timeout::Never).map(drop)
    }

    fn check_owned(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_owned(py)? {
            return Ok(());
        }
        Err(PyRuntimeError::new_err("cannot release un-acquired lock"))
    }

    /// Whether this thread or task holds it.
    pub fn is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        let me = self.me(py)?;
        Ok(self.state.with(py, |lock| lock.count_of(me)) > 0)
    }

    /// Frees it however often it is held, and returns how often that was; whom to wake for it
    /// goes to `wakes`.
    pub fn release_all(&self, py: Python<'_>, wakes: &mut Wakes<TaskHandle>) -> PyResult<usize> {
        self.check_owned(py)?;
        Ok(self.state.with(py, |lock| lock.release_all(clock::now, wakes)))
    }

    /// Takes it as often as it was held, whatever signal handlers raise until then.
    pub fn acquire_again(&self, py: Python<'_>, count: usize) -> PyResult<()> {
        let me = self.me(py)?;
        let mut raised = Ok(());
        if !self.state.with(py, |lock| lock.try_acquire(me)) {
            refuse_deadlock(py, self.holder(py))?;
            let mut wait = Wait::new(AcquireReentrant(Acquire(Who::thread(me))));
            raised = block_for_sure(py, &self.state, &mut wait).1;
        }
        self.state.with(py, |lock| lock.set_count(count));
        raised
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
        if lock.try_release(Python::assume_attached()) {
            return new_reference(ffi::Py_None());
        }
        guarded(|py| lock.release(py).map(|()| none()))
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

/// A method without arguments, as a Rust closure's worth of work.
macro_rules! simple {
    ($name:ident, |$py:ident, $lock:ident| $body:expr) => {
        unsafe extern "C" fn $name(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
            guarded(|$py| {
                // SAFETY: CPython calls methods with an instance of the type.
                let $lock = unsafe { receiver::<Inner>(object) };
                $body
            })
        }
    };
}

simple!(locked, |py, lock| Ok(boolean(lock.state.with(py, |lock| lock.lock.owner()) != NOBODY)));
simple!(is_owned, |py, lock| Ok(boolean(lock.is_owned(py)?)));
simple!(recursion_count, |py, lock| {
    let me = lock.me(py)?;
    let count = lock.state.with(py, |lock| lock.count_of(me));
    Ok(count.into_pyobject(py)?.into_any().into_ptr())
});
simple!(release_save, |py, lock| {
    let me = lock.me(py)?;
    let mut wakes = Wakes::default();
    let count = lock.release_all(py, &mut wakes)?;
    deliver(&lock.state.held(py), wakes);
    Ok((count, me).into_pyobject(py)?.into_any().into_ptr())
});
simple!(at_fork_reinit, |py, lock| {
    let old = lock.state.with(py, |lock| {
        lock.set_count(0);
        lock.lock.reset()
    });
    drop(old);
    Ok(none())
});

/// `_acquire_restore(saved)`, `saved` from `_release_save`.
unsafe extern "C" fn acquire_restore(object: *mut PyObject, saved: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: METH_O passes one live object; the receiver is an instance of the type.
        let (lock, saved) =
            unsafe { (receiver::<Inner>(object), Bound::from_borrowed_ptr(py, saved)) };
        let (count, _owner): (usize, usize) = saved.extract()?;
        lock.acquire_again(py, count)?;
        Ok(none())
    })
}

/// `_restore_count(count)`: what `_release_save` told, after a task acquired the lock again.
unsafe extern "C" fn restore_count(object: *mut PyObject, count: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: as in `acquire_restore`.
        let (lock, count) =
            unsafe { (receiver::<Inner>(object), Bound::from_borrowed_ptr(py, count)) };
        let count = count.extract()?;
        lock.check_owned(py)?;
        lock.state.with(py, |lock| lock.set_count(count));
        Ok(none())
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
        let source = AcquireReentrant(Acquire(Who::task_of(identity)));
        let finish = |py: Python<'_>, _: &_, ()| Ok(truth(py));
        let ticket = Ticket::new(Pending { place, wait: Wait::new(source), finish });
        Ok(Py::new(py, ticket)?.into_any().into_ptr())
    })
}

/// Arguments mean nothing; the stdlib takes them in silence, warns (3.14) and refuses (3.15).
unsafe extern "C" fn init(object: *mut PyObject, args: *mut PyObject, kw: *mut PyObject) -> c_int {
    // SAFETY: CPython passes a tuple and null or a dict.
    let given = unsafe {
        ffi::PyTuple_GET_SIZE(args) + if kw.is_null() { 0 } else { ffi::PyDict_Size(kw) }
    };
    if given == 0 {
        return constructed(object);
    }
    guarded(|py| {
        if cfg!(Py_3_15) {
            return Err(PyTypeError::new_err("RLock() takes no arguments"));
        }
        let category = py.get_type::<pyo3::exceptions::PyDeprecationWarning>();
        PyErr::warn(py, &category, c"RLock() takes no arguments", 1)?;
        Ok(constructed(object))
    })
}

unsafe extern "C" fn repr(object: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: as in `acquire`.
        let lock = unsafe { receiver::<Inner>(object) };
        let (number, count, holder) = lock.state.with(py, |lock| {
            let holder = lock.lock.contended().and_then(|contended| contended.holder.clone());
            (lock.lock.owner(), lock.count(), holder)
        });
        let state = if number == NOBODY { "unlocked" } else { "locked" };
        let owner = match holder.as_ref().and_then(|waiter| waiter.notify()) {
            Some(task) => task.name(py)?,
            None => number.to_string(),
        };
        let text = format!(
            "<{state} counterpoint.threading.RLock object owner={owner} count={count} at {object:p}>"
        );
        Ok(text.into_pyobject(py)?.into_any().into_ptr())
    })
}

/// Adds `RLock` to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let mut spec = spec::<Inner>(c"counterpoint._core.RLock", repr);
    spec.slots.push(slot(ffi::Py_tp_init, init as *mut c_void));
    spec.methods = vec![
        method(c"acquire", acquire, ACQUIRE_DOC),
        noargs(c"release", release, c"release($self)\n--\n\nUndoes one acquisition by its owner."),
        noargs(c"locked", locked, c"locked($self)\n--\n\nWhether anybody holds the lock."),
        noargs(c"__enter__", enter, c"__enter__($self)\n--\n\nAcquires the lock."),
        method(c"__exit__", exit, c"__exit__($self, *exc_info)\n--\n\nReleases the lock."),
        noargs(c"_is_owned", is_owned, c"_is_owned($self)\n--\n\n"),
        noargs(c"_recursion_count", recursion_count, c"_recursion_count($self)\n--\n\n"),
        noargs(c"_release_save", release_save, c"_release_save($self)\n--\n\n"),
        one(c"_acquire_restore", acquire_restore, c"_acquire_restore($self, saved, /)\n--\n\n"),
        one(c"_restore_count", restore_count, c"_restore_count($self, count, /)\n--\n\n"),
        noargs(c"_at_fork_reinit", at_fork_reinit, c"_at_fork_reinit($self)\n--\n\n"),
        method(c"_ticket", ticket, c"_ticket($self, loop, task, /)\n--\n\n"),
        waits_of::<Inner>(),
    ];
    spec.attributes = describe_owner::<Inner>();
    module.add("RLock", raw_type(module.py(), spec, None)?)
}

const ACQUIRE_DOC: &std::ffi::CStr = c"acquire($self, blocking=True, timeout=-1)\n--\n\nAcquires the \
lock, once more if this thread or task holds it already; False if that took over `timeout` seconds.";
