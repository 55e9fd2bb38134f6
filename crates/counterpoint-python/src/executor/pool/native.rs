//! `counterpoint._core.Pool`: the queue and the workers' state.

use super::blocked::Blocked;
use super::task::{Context, Options, Task};
use crate::boundary::{
    Counts as Numbers, Meter, Pending, Place, Protected, TaskHandle, Ticket, Waits, block_on,
    observe, seconds, traverse_waiters, truth, wake,
};
use crate::executor::future::{fail, new_future, start};
use crate::executor::reference::Ref;
use counterpoint_sync::clock;
use counterpoint_sync::executor::future::Start;
use counterpoint_sync::executor::pool::{Call, Counts, PoolState, Refusal, Room};
use counterpoint_sync::wait::{Shared, Wait};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A pool's state as the core sees it.
pub type State = PoolState<Task, TaskHandle>;

/// Set when the interpreter begins to end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Refuses every further submission, of any pool.
#[pyfunction]
pub fn _close_pools() {
    ENDING.store(true, Ordering::Relaxed);
}

/// What an executor and its workers share. Internal: use `counterpoint.futures`.
#[pyclass(frozen, weakref, module = "counterpoint._core")]
pub struct Pool {
    pub(super) state: Protected<State>,
    /// Called with the pool and whether the worker is an extra one; starts its thread.
    start: Py<PyAny>,
    /// When it was made.
    born: u64,
    limit: usize,
    /// When its shutdown was complete; 0 before.
    ended: AtomicU64,
    /// What an observer sees of it, even after its death.
    meter: Protected<Option<(Py<Meter>, Arc<Numbers>)>>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some((_, counts)) = self.meter.get_mut().take() {
            let capacity = self.capacity(clock::now());
            write_counts(self.state.get_mut(), &counts, capacity, self.limit);
        }
    }
}

/// Brings the numbers of an observed pool up to date.
fn write_counts(state: &State, counts: &Numbers, capacity: u64, limit: usize) {
    let (now, tasks) = (clock::now(), &state.counts);
    counts.set([
        ("done", tasks.done),
        ("failed", tasks.failed),
        ("cancelled", tasks.cancelled),
        ("max_workers", limit as u64),
        ("busy_ns", state.busy(now)),
        ("capacity_ns", capacity),
    ]);
}

/// Why a call was not queued.
pub enum Rejected {
    /// The interpreter ends.
    Ending,
    /// The pool says no; the task comes back, to be dropped outside the lock.
    Refused(Refusal),
    /// Python raised.
    Raised(PyErr),
}

impl Pool {
    /// Nanoseconds that its workers could have run tasks so far.
    fn capacity(&self, now: u64) -> u64 {
        let ended = self.ended.load(Ordering::Relaxed);
        let until = if ended == 0 { now } else { ended };
        until.saturating_sub(self.born).saturating_mul(self.limit as u64)
    }

    /// Queues a task and calls whoever is needed for it.
    #[inline(always)]
    pub fn push(&self, py: Python<'_>, task: Task, priority: i64) -> Result<(), Rejected> {
        if ENDING.load(Ordering::Relaxed) {
            return Err(Rejected::Ending);
        }
        let mut task = Some(task);
        let call = self.state.with(py, |state| {
            if state.is_foreign() {
                return Ok(None);
            }
            if let Some(refusal) = state.refusal() {
                return Err(refusal);
            }
            Ok(task.take().map(|mut task| {
                task.submitted = state.stamp(clock::now);
                state.push(task, priority)
            }))
        });
        match (call, task) {
            (Ok(Some(Call::Nobody)), _) => Ok(()),
            (Ok(Some(call)), _) => self.carry_out(py, call).map_err(Rejected::Raised),
            (Err(refusal), _) => Err(Rejected::Refused(refusal)),
            (Ok(None), Some(task)) => self.push_in_child(py, task, priority),
            (Ok(None), None) => Ok(()),
        }
    }

    /// The first submission in a forked child: the workers and the tasks stayed with the parent.
    #[cold]
    fn push_in_child(&self, py: Python<'_>, task: Task, priority: i64) -> Result<(), Rejected> {
        let tasks = wake(py, &self.state, |state, wakes| state.adopt(wakes));
        drop(tasks);
        self.push(py, task, priority)
    }

    /// Wakes or starts a worker.
    #[inline(always)]
    pub fn carry_out(&self, py: Python<'_>, call: Call<TaskHandle>) -> PyResult<()> {
        match call {
            Call::Nobody => Ok(()),
            Call::Wake(waiter) => {
                let _ = waiter.wake();
                Ok(())
            }
            Call::Start { extra } => self.start_worker(py, extra),
        }
    }

    #[cold]
    fn start_worker(&self, py: Python<'_>, extra: bool) -> PyResult<()> {
        let started = Python::attach(|py| self.start.call1(py, (extra,)));
        started.map(drop).inspect_err(|_| self.state.with(py, |state| state.not_started(extra)))
    }

    /// Queues a call and returns its future. `arguments` as for [`Task::new`].
    ///
    /// # Safety
    /// As for [`Task::new`].
    #[inline(always)]
    pub unsafe fn submit(
        &self,
        py: Python<'_>,
        function: *mut PyObject,
        arguments: *const *mut PyObject,
        positional: usize,
        names: *mut PyObject,
    ) -> Result<Ref, Rejected> {
        // SAFETY: both calls return a new reference or null; the rest is the caller's promise.
        unsafe {
            let (task, future) = Self::prepare(py, function, arguments, positional, names)
                .map_err(Rejected::Raised)?;
            self.push(py, task, 0).map(|()| future)
        }
    }

    /// Queues `function(*tuple)`, waiting for room if need be.
    fn submit_tuple<'py>(
        &self,
        executor: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        tuple: &Bound<'py, PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = executor.py();
        loop {
            // SAFETY: the items of a tuple that is alive during the call.
            let submitted = unsafe {
                let names = std::ptr::null_mut();
                self.submit(py, function.as_ptr(), items(tuple), tuple.len(), names)
            };
            match submitted {
                Ok(future) => return Ok(future.bind(py)),
                Err(rejected) => resolve_rejection(executor, rejected)?,
            }
        }
    }

    /// A task and its future.
    ///
    /// # Safety
    /// As for [`Task::new`].
    #[inline(always)]
    unsafe fn prepare(
        py: Python<'_>,
        function: *mut PyObject,
        arguments: *const *mut PyObject,
        positional: usize,
        names: *mut PyObject,
    ) -> PyResult<(Task, Ref)> {
        // SAFETY: both calls return a new reference or null; the rest is the caller's promise.
        unsafe {
            let made = (Ref::owned(new_future()), Context::copy_current(py));
            let (Some(future), Some(context)) = made else {
                return Err(Python::attach(PyErr::fetch));
            };
            let returned = future.share();
            let task = Task::new(future, context, function, arguments, positional, names);
            Ok((task, returned))
        }
    }
}

/// Raises for a call that was not queued, or returns when it is worth trying again.
#[cold]
pub fn resolve_rejection(executor: &Bound<'_, PyAny>, rejected: Rejected) -> PyResult<()> {
    let name = match rejected {
        Rejected::Ending => {
            return Err(PyRuntimeError::new_err(
                "cannot schedule new futures after interpreter shutdown",
            ));
        }
        Rejected::Refused(Refusal::Closed) => intern!(executor.py(), "_refuse_closed"),
        Rejected::Refused(Refusal::Full) => intern!(executor.py(), "_refuse_full"),
        Rejected::Raised(error) => return Err(error),
    };
    executor.call_method0(name).map(drop)
}

/// The items of a tuple.
fn items(tuple: &Bound<'_, PyTuple>) -> *const *mut PyObject {
    // SAFETY: a live tuple; only an address inside it is computed.
    unsafe { (&raw const (*tuple.as_ptr().cast::<ffi::PyTupleObject>()).ob_item).cast() }
}

/// A strong reference to a pool, for a wait that outlives the call.
struct Home(Py<Pool>);

impl Place for Home {
    type State = State;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = State> + 'a {
        self.0.get().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

#[pymethods]
impl Pool {
    /// `start(extra)` starts a thread that calls `work(extra)`.
    #[new]
    #[pyo3(signature = (start, limit, max_pending=None))]
    fn new(start: Py<PyAny>, limit: usize, max_pending: Option<usize>) -> Self {
        let state = State::new(limit, max_pending.unwrap_or(usize::MAX));
        let (born, ended, meter) = (clock::now(), AtomicU64::new(0), Protected::new(None));
        Self { state: Protected::new(state), start, born, limit, ended, meter }
    }

    /// Runs tasks in this thread until there is nothing left to do for it.
    fn work(slf: &Bound<'_, Self>, extra: bool) -> PyResult<()> {
        super::worker::work(slf, extra)
    }

    /// A worker that was started will not work: its initializer raised.
    fn not_started(&self, py: Python<'_>, extra: bool) {
        self.state.with(py, |state| state.not_started(extra));
    }

    /// Accepts no more tasks; workers leave when they have run those that are queued, or at once
    /// if these are to be cancelled: their futures are returned then.
    #[pyo3(signature = (cancel=false))]
    fn close<'py>(&self, py: Python<'py>, cancel: bool) -> Vec<Bound<'py, PyAny>> {
        let tasks = wake(py, &self.state, |state, wakes| {
            state.close(wakes);
            if cancel { state.drain() } else { Vec::new() }
        });
        tasks.iter().map(|task| task.future().bind(py)).collect()
    }

    /// Whether it was closed.
    fn is_closed(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.is_closed())
    }

    /// Takes every queued task out and fails their futures.
    fn fail_all(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        for task in self.state.with(py, State::drain) {
            // Collectors wait to hear of one that was cancelled.
            if start(py, task.future())? != Start::Cancelled {
                fail(py, task.future(), PyErr::from_value(error.call0()?));
            }
        }
        Ok(())
    }

    /// (queued, workers, idle).
    fn sizes(&self, py: Python<'_>) -> (usize, usize, usize) {
        self.state.with(py, |state| (state.queued(), state.workers(), state.idle()))
    }

    /// (running, done, failed, cancelled, queue delay, run time, utilisation).
    fn counts(&self, py: Python<'_>) -> (usize, u64, u64, u64, Waits, Waits, f64) {
        let now = clock::now();
        let (counts, delay, run, busy) = self.state.with(py, |state| {
            let (delay, run) = (state.queue_delay.summary(), state.run_time.summary());
            (state.counts, delay, run, state.busy(now))
        });
        let used = (busy as f64 / self.capacity(now).max(1) as f64).min(1.0);
        let Counts { running, done, failed, cancelled } = counts;
        (running, done, failed, cancelled, seconds(delay), seconds(run), used)
    }

    /// What was measured of it, under this name; the same object each time.
    fn meter(&self, py: Python<'_>, name: Option<String>) -> PyResult<Py<Meter>> {
        let (delay, run) =
            self.state.with(py, |state| (state.queue_delay.share(), state.run_time.share()));
        let fresh = Arc::<Numbers>::default();
        let waits = vec![("queue_delay", delay), ("run_time", run)];
        let made = (Py::new(py, Meter::new(name, fresh.clone(), waits))?, fresh);
        let mut made = Some(made);
        let there = self.meter.with(py, |meter| {
            if meter.is_none() {
                *meter = made.take();
            }
            meter.as_ref().map(|(meter, _)| meter.clone_ref(py))
        });
        self.update_meter(py);
        there.ok_or_else(|| PyRuntimeError::new_err("a meter was just made"))
    }

    /// Its shutdown is complete: it grows no older.
    fn end(&self, py: Python<'_>) {
        let _ = self.ended.compare_exchange(0, clock::now(), Ordering::Relaxed, Ordering::Relaxed);
        self.update_meter(py);
    }

    /// Shows the executor to the observer of new objects, if there is one.
    #[staticmethod]
    fn observe(executor: &Bound<'_, PyAny>) -> PyResult<()> {
        observe(executor)
    }

    /// Brings the meter up to date, if there is one.
    fn update_meter(&self, py: Python<'_>) {
        let counts = self.meter.with(py, |meter| meter.as_ref().map(|(_, counts)| counts.clone()));
        if let Some(counts) = counts {
            let capacity = self.capacity(clock::now());
            self.state.with(py, |state| write_counts(state, &counts, capacity, self.limit));
        }
    }

    /// Counts tasks that were cancelled when the pool was closed.
    fn count_cancelled(&self, py: Python<'_>, tasks: u64) {
        self.state.with(py, |state| state.counts.cancelled += tasks);
    }

    /// Waits until a submission would not be refused for want of room.
    fn wait_for_room(&self, py: Python<'_>) -> PyResult<()> {
        let _blocked = Blocked::enter(py)?;
        block_on(py, &self.state, &mut Wait::new(Room::default()), None).map(drop)
    }

    /// The same wait for a task.
    fn room_ticket(slf: Py<Self>) -> Ticket {
        let wait = Wait::new(Room::default());
        Ticket::new(Pending { place: Home(slf), wait, finish: |py, _, ()| Ok(truth(py)) })
    }

    /// Submits a call with options.
    #[pyo3(signature = (executor, call, arguments, names, priority, timeout, retries, retry_on))]
    #[allow(clippy::too_many_arguments)] // one for each option, from one caller
    fn submit_with<'py>(
        slf: &Bound<'py, Self>,
        executor: &Bound<'py, PyAny>,
        call: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
        names: Option<&Bound<'py, PyTuple>>,
        priority: i64,
        timeout: Option<f64>,
        retries: u32,
        retry_on: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, pool) = (slf.py(), slf.get());
        let names = names.filter(|names| !names.is_empty());
        let positional = arguments.len() - names.map_or(0, |names| names.len());
        let retry_on = Ref::from(retry_on);
        loop {
            // SAFETY: live objects, and a tuple's items of which the last are for the names.
            let (mut task, future) = unsafe {
                let names = names.map_or(std::ptr::null_mut(), Bound::as_ptr);
                Self::prepare(py, call.as_ptr(), items(arguments), positional, names)?
            };
            let retry_on = retry_on.share();
            task.options = Some(Box::new(Options { priority, timeout, retries, retry_on }));
            match pool.push(py, task, priority) {
                Ok(()) => return Ok(future.bind(py)),
                Err(rejected) => resolve_rejection(executor, rejected)?,
            }
        }
    }

    /// Submits `function(*arguments)` for each tuple of an iterator, for at most `limit` of them.
    fn submit_each<'py>(
        slf: &Bound<'py, Self>,
        executor: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyAny>,
        limit: Option<usize>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let (py, pool) = (slf.py(), slf.get());
        let mut futures = Vec::new();
        for tuple in arguments.try_iter()?.take(limit.unwrap_or(usize::MAX)) {
            let tuple = tuple?;
            let tuple = tuple.cast::<PyTuple>()?;
            futures.push(pool.submit_tuple(executor, function, tuple)?);
            if futures.len().is_multiple_of(4096) {
                py.check_signals()?;
                py.detach(|| ());
            }
        }
        Ok(futures)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.start)?;
        // SAFETY: called by the collector.
        let state = unsafe { self.state.peek() };
        state.tasks().try_for_each(|task| task.visit(&visit))?;
        traverse_waiters(state.room(), &visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        drop(self.state.with(py, State::drain));
    }
}
