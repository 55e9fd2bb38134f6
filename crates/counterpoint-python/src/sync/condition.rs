//! `counterpoint._core.Condition`: waiting, with a lock given up meanwhile, to be told.

use super::raw_lock::receiver;
use super::{LockObject, RLockObject};
use crate::boundary::{
    Meter, Pending, Place, Protected, TaskHandle, Ticket, Timeout, Waits, block_on_waking,
    halts_at_exit, observe, optional_timeout, seconds, thread_owner, traverse_waiters, truth,
};
use counterpoint_sync::lock::condition::{AwaitSignal, SignalState};
use counterpoint_sync::lock::mutex::LockState;
use counterpoint_sync::wait::{Attempt, Shared, Wait, deliver};
use counterpoint_sync::waiter::{Waiter, Wakes};
use counterpoint_sync::{Arc, clock};
use counterpoint_trace::Durations;
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use std::sync::OnceLock;

/// Which lock a condition uses, and thereby whether Python has to be asked.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Lock,
    RLock,
    /// Anything with `acquire` and `release`, a subclass of ours included.
    Foreign,
}

struct Guard {
    lock: Py<PyAny>,
    kind: Kind,
}

/// The arguments of `__exit__`.
type ExcInfo<'py> =
    (Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>, Option<Bound<'py, PyAny>>);

/// What `release_save` returned, to be given to `restore`.
enum Saved {
    Plain,
    Times(usize),
    Opaque(Py<PyAny>),
}

impl Guard {
    fn plain(&self) -> &LockObject {
        // SAFETY: `Kind::Lock` says that the object has this layout; we own a reference.
        unsafe { &*std::ptr::from_ref(receiver(self.lock.as_ptr())) }
    }

    fn reentrant(&self) -> &RLockObject {
        // SAFETY: the same for `Kind::RLock`.
        unsafe { &*std::ptr::from_ref(receiver(self.lock.as_ptr())) }
    }

    fn call(&self, py: Python<'_>, method: &str) -> PyResult<Py<PyAny>> {
        halts_at_exit();
        self.lock.call_method0(py, method)
    }

    #[inline]
    fn enter(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.kind {
            Kind::Lock => self.plain().acquire(py, Timeout::Never).map(|_| truth(py)),
            Kind::RLock => self.reentrant().enter(py).map(|()| truth(py)),
            Kind::Foreign => self.call(py, "__enter__"),
        }
    }

    fn exit(&self, py: Python<'_>, exc_info: ExcInfo<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.kind {
            Kind::Lock => self.plain().release(py).map(|()| None),
            Kind::RLock => self.reentrant().release(py).map(|()| None),
            Kind::Foreign => {
                self.lock.call_method1(py, intern!(py, "__exit__"), exc_info).map(Some)
            }
        }
    }

    fn is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        match self.kind {
            Kind::Lock => Ok(self.plain().locked(py)),
            Kind::RLock => self.reentrant().is_owned(py),
            Kind::Foreign => self.foreign_is_owned(py),
        }
    }

    fn foreign_is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        let lock = self.lock.bind(py);
        if lock.hasattr("_is_owned")? {
            return lock.call_method0("_is_owned")?.is_truthy();
        }
        let free = lock.call_method1("acquire", (false,))?.is_truthy()?;
        if free {
            lock.call_method0("release")?;
        }
        Ok(!free)
    }

    /// Gives the lock up; whom to wake for that goes to `wakes`.
    fn release_save(&self, py: Python<'_>, wakes: &mut Wakes<TaskHandle>) -> PyResult<Saved> {
        match self.kind {
            Kind::Lock => self.plain().release_into(py, wakes).map(|()| Saved::Plain),
            Kind::RLock => self.reentrant().release_all(py, wakes).map(Saved::Times),
            Kind::Foreign if self.lock.bind(py).hasattr("_release_save")? => {
                self.call(py, "_release_save").map(Saved::Opaque)
            }
            Kind::Foreign => self.call(py, "release").map(|_| Saved::Plain),
        }
    }

    /// Wakes those whom giving up the lock claimed.
    fn deliver(&self, py: Python<'_>, wakes: Wakes<TaskHandle>) {
        match self.kind {
            Kind::Lock => deliver(&self.plain().state.held(py), wakes),
            Kind::RLock => deliver(&self.reentrant().state.held(py), wakes),
            Kind::Foreign => {}
        }
    }

    /// Those told could do nothing before the lock is free: its release wakes them. A foreign
    /// lock would not, so with one they stay in `wakes`.
    fn wake_on_release(&self, py: Python<'_>, wakes: &mut Wakes<TaskHandle>) {
        let mut put_off = |lock: &mut LockState<TaskHandle>| {
            let threads = wakes.take_threads();
            lock.wake_on_release(threads, wakes);
        };
        match self.kind {
            Kind::Lock => self.plain().state.with(py, put_off),
            Kind::RLock => self.reentrant().state.with(py, |state| put_off(&mut state.lock)),
            Kind::Foreign => {}
        }
    }

    fn restore(&self, py: Python<'_>, saved: Saved) -> PyResult<()> {
        match (self.kind, saved) {
            (Kind::Lock, _) => self.plain().acquire_again(py),
            (Kind::RLock, Saved::Times(count)) => self.reentrant().acquire_again(py, count),
            (_, Saved::Opaque(saved)) => {
                self.lock.call_method1(py, "_acquire_restore", (saved,)).map(drop)
            }
            (_, _) => self.call(py, "acquire").map(drop),
        }
    }
}

/// A condition variable.
#[pyclass(frozen, subclass, module = "counterpoint._core")]
pub struct Condition {
    guard: OnceLock<Guard>,
    state: Protected<SignalState<TaskHandle>>,
}

impl Condition {
    #[inline]
    fn guard(&self) -> PyResult<&Guard> {
        self.guard.get().ok_or_else(|| PyRuntimeError::new_err("Condition.__init__() not called"))
    }

    fn check_owned(&self, py: Python<'_>, verb: &str) -> PyResult<&Guard> {
        let guard = self.guard()?;
        if guard.is_owned(py)? {
            return Ok(guard);
        }
        Err(PyRuntimeError::new_err(format!("cannot {verb} on un-acquired lock")))
    }

    /// From now on its waits are counted among those of another object, whose condition it is.
    pub fn count_among(&self, py: Python<'_>, waits: Durations) {
        drop(self.state.with(py, |state| std::mem::replace(&mut state.waits, waits)));
    }

    /// Sleeps with the lock given up, the waiter being queued already.
    fn sleep(
        &self,
        py: Python<'_>,
        wait: &mut Wait<AwaitSignal<TaskHandle>>,
        timeout: Timeout,
        threads: Vec<Arc<Waiter<TaskHandle>>>,
    ) -> PyResult<bool> {
        // No time to wait is a deadline that has passed: the lock is given up nevertheless.
        let deadline = if timeout == Timeout::Now { Some(0) } else { timeout.deadline() };
        Ok(block_on_waking(py, &self.state, wait, deadline, threads)?.is_some())
    }
}

#[pymethods]
impl Condition {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { guard: OnceLock::new(), state: Protected::new(SignalState::default()) }
    }

    /// Sets the lock; `kind` is 1 for exactly our Lock, 2 for exactly our RLock, else 0.
    fn _set(slf: &Bound<'_, Self>, lock: Py<PyAny>, kind: u8) -> PyResult<()> {
        slf.get()._set_inside(lock, kind);
        observe(slf)
    }

    /// The same for a condition inside another object, of which no observer hears.
    fn _set_inside(&self, lock: Py<PyAny>, kind: u8) {
        let kind = match kind {
            1 => Kind::Lock,
            2 => Kind::RLock,
            _ => Kind::Foreign,
        };
        // A second `__init__` changes nothing, as nobody may rely on swapping a lock.
        let _ = self.guard.set(Guard { lock, kind });
    }

    #[getter]
    fn _lock(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.guard()?.lock.clone_ref(py))
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.guard()?.enter(py)
    }

    #[pyo3(signature = (kind = None, error = None, traceback = None, /))]
    fn __exit__<'py>(
        &self,
        py: Python<'py>,
        kind: Option<Bound<'py, PyAny>>,
        error: Option<Bound<'py, PyAny>>,
        traceback: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Option<Py<PyAny>>> {
        self.guard()?.exit(py, (kind, error, traceback))
    }

    /// Gives up the lock, waits to be told, takes the lock again; False after `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let timeout = optional_timeout(timeout)?;
        let guard = self.check_owned(py, "wait")?;
        let held = self.state.held(py);
        let mut wait = Wait::new(AwaitSignal::default());
        let make = |since| Waiter::thread(thread_owner(), since);
        // Queued before the lock is free: a notification cannot fall in between.
        if let Attempt::Done(()) = wait.attempt(&held, clock::now, make) {
            return Ok(true);
        }
        let mut wakes = Wakes::default();
        let saved = match guard.release_save(py, &mut wakes) {
            Ok(saved) => saved,
            Err(error) => {
                wait.abandon(&held, clock::now);
                return Err(error);
            }
        };
        let threads = wakes.take_threads();
        guard.deliver(py, wakes);
        let told = self.sleep(py, &mut wait, timeout, threads);
        guard.restore(py, saved)?;
        told
    }

    /// Tells the `n` who waited longest.
    #[pyo3(signature = (n = 1))]
    fn notify(&self, py: Python<'_>, n: isize) -> PyResult<()> {
        let guard = self.check_owned(py, "notify")?;
        let mut wakes = Wakes::default();
        self.state.with(py, |state| state.notify(n.max(0) as usize, &mut wakes));
        guard.wake_on_release(py, &mut wakes);
        deliver(&self.state.held(py), wakes);
        Ok(())
    }

    /// Tells everyone who waits.
    fn notify_all(&self, py: Python<'_>) -> PyResult<()> {
        self.notify(py, isize::MAX)
    }

    fn _is_owned(&self, py: Python<'_>) -> PyResult<bool> {
        self.guard()?.is_owned(py)
    }

    fn _forget_waiters(&self, py: Python<'_>) {
        drop(self.state.with(py, SignalState::reset));
    }

    /// How many threads and tasks wait to be told.
    #[getter]
    fn waiters(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.waiters.len())
    }

    #[getter]
    fn _meter(&self, py: Python<'_>) -> Meter {
        Meter::of_lock(self.state.with(py, |state| state.waits.share()))
    }

    fn _waits(&self, py: Python<'_>) -> Waits {
        seconds(self.state.with(py, |state| state.waits.summary()))
    }

    fn _ticket(slf: &Bound<'_, Self>) -> Ticket {
        Ticket::new(Pending {
            place: ConditionPlace(slf.clone().unbind()),
            wait: Wait::new(AwaitSignal::default()),
            finish: |py, _, ()| Ok(truth(py)),
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(guard) = self.guard.get() {
            visit.call(&guard.lock)?;
        }
        // SAFETY: called by the collector.
        traverse_waiters(unsafe { &self.state.peek().waiters }, &visit)
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        drop(self.state.with(py, SignalState::reset));
    }
}

struct ConditionPlace(Py<Condition>);

impl Place for ConditionPlace {
    type State = SignalState<TaskHandle>;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = Self::State> + 'a {
        self.0.get().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
