//! `counterpoint._core.Pool`: the queue and the workers' state.

use super::context::Recent;
use super::task::{Options, Task};
use crate::boundary::{
    Buckets, Counts as Numbers, Meter, Pending, Place, Protected, TaskHandle, Ticket, Waits,
    buckets, halts_at_exit, observe, seconds, traverse_waiters, truth, wake,
};
use crate::executor::future::{fail, start};
use crate::executor::reference::Ref;
use counterpoint_sync::clock;
use counterpoint_sync::executor::future::Start;
use counterpoint_sync::executor::pool::{Counts, Opening, PoolState};
use counterpoint_sync::wait::{Shared, Wait};
use pyo3::exceptions::PyRuntimeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A pool's state as the core sees it.
pub type State = PoolState<Task, TaskHandle>;

/// What `Pool.counts` returns.
type Told = (usize, u64, u64, u64, Waits, Waits, f64, Buckets, Buckets);

/// What an executor and its workers share. Internal: use `counterpoint.futures`.
#[pyclass(frozen, weakref, module = "counterpoint._core")]
pub struct Pool {
    pub(super) state: Protected<State>,
    /// Called with whether the worker is an extra one and its number; starts its thread.
    pub(super) start: Py<PyAny>,
    /// When it was made.
    born: u64,
    limit: usize,
    /// The context of the latest submission.
    pub(super) recent: Recent,
    /// When its shutdown was complete; 0 before.
    ended: AtomicU64,
    /// How many tasks failed because their time was over.
    pub(super) expired: Arc<AtomicU64>,
    /// What an observer sees of it, even after its death.
    meter: Protected<Option<(Py<Meter>, Arc<Numbers>)>>,
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some((_, counts)) = self.meter.get_mut().take() {
            let capacity = self.capacity(clock::now());
            let expired = self.expired.load(Ordering::Relaxed);
            write_counts(self.state.get_mut(), &counts, capacity, self.limit, expired);
        }
    }
}

/// Brings the numbers of an observed pool up to date.
fn write_counts(state: &State, counts: &Numbers, capacity: u64, limit: usize, expired: u64) {
    let (now, tasks) = (clock::now(), &state.counts);
    counts.set([
        ("done", tasks.done),
        ("failed", tasks.failed + expired),
        ("cancelled", tasks.cancelled),
        ("max_workers", limit as u64),
        ("busy_ns", state.busy(now)),
        ("capacity_ns", capacity),
    ]);
}

impl Pool {
    /// Nanoseconds that its workers could have run tasks so far.
    fn capacity(&self, now: u64) -> u64 {
        let ended = self.ended.load(Ordering::Relaxed);
        let until = if ended == 0 { now } else { ended };
        until.saturating_sub(self.born).saturating_mul(self.limit as u64)
    }

    /// The name by which futures know it.
    #[inline(always)]
    pub fn home(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }
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
    /// `start(extra, number)` starts a thread that calls `work(number)`.
    #[new]
    #[pyo3(signature = (start, limit, max_pending=None))]
    fn new(start: Py<PyAny>, limit: usize, max_pending: Option<usize>) -> Self {
        let state = State::new(limit, max_pending.unwrap_or(usize::MAX));
        let (born, ended, meter) = (clock::now(), AtomicU64::new(0), Protected::new(None));
        let (state, recent, expired) = (Protected::new(state), Recent::default(), Arc::default());
        Self { state, start, born, limit, recent, ended, expired, meter }
    }

    /// Runs tasks in this thread until there is nothing left to do for it.
    fn work(slf: &Bound<'_, Self>, number: u64) -> PyResult<()> {
        super::worker::work(slf, number)
    }

    /// The thread of that start has begun: it will arrive, whatever is raised in the thread that
    /// started it.
    fn started(&self, py: Python<'_>, number: u64) {
        self.state.with(py, |state| state.started(number));
    }

    /// A worker that was started will not work: its initializer raised.
    fn not_started(&self, py: Python<'_>, number: u64) -> PyResult<()> {
        let call = self.state.with(py, |state| state.not_started(number, false));
        self.carry_out(py, call)
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

    /// Takes every queued task out and fails their futures. They are in no queue any more, so each
    /// ends here, whatever is raised on the way; that is raised again in the end.
    fn fail_all(&self, py: Python<'_>, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut raised = Ok(());
        for task in self.state.with(py, State::drain) {
            let started = start(py, task.future());
            // Collectors wait to hear of one that was cancelled.
            if matches!(started, Ok(Start::Cancelled)) {
                continue;
            }
            let made = error.call0().map_or_else(
                |error| (error.clone_ref(py), Err(error)),
                |error| (PyErr::from_value(error), Ok(())),
            );
            fail(py, task.future(), made.0);
            raised = raised.and(started.map(drop)).and(made.1);
        }
        raised
    }

    /// (queued, workers, idle).
    fn sizes(&self, py: Python<'_>) -> (usize, usize, usize) {
        self.state.with(py, |state| (state.queued(), state.workers(), state.idle()))
    }

    /// (running, done, failed, cancelled, queue delay, run time, utilisation, and the histograms of
    /// the two times), all of one moment.
    fn counts(&self, py: Python<'_>) -> Told {
        let now = clock::now();
        let (counts, times, busy) = self.state.with(py, |state| {
            let times = [&state.queue_delay, &state.run_time].map(|d| (d.summary(), buckets(d)));
            (state.counts, times, state.busy(now))
        });
        let used = (busy as f64 / self.capacity(now).max(1) as f64).min(1.0);
        let Counts { running, done, failed, cancelled } = counts;
        let failed = failed + self.expired.load(Ordering::Relaxed);
        let [(delay, delays), (run, runs)] = times;
        (running, done, failed, cancelled, seconds(delay), seconds(run), used, delays, runs)
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
            let (limit, expired) = (self.limit, self.expired.load(Ordering::Relaxed));
            self.state.with(py, |state| write_counts(state, &counts, capacity, limit, expired));
        }
    }

    /// Counts tasks that were cancelled when the pool was closed.
    fn count_cancelled(&self, py: Python<'_>, tasks: u64) {
        self.state.with(py, |state| state.counts.cancelled += tasks);
    }

    /// How a task of an event loop waits until a submission would not be refused for want of room.
    /// Whoever does not submit then, for whatever reason, calls `pass_room_on`.
    fn room_ticket(slf: Py<Self>) -> Ticket {
        let wait = Wait::new(Opening::default());
        Ticket::new(Pending { place: Home(slf), wait, finish: |py, _, ()| Ok(truth(py)) })
    }

    /// Tells the next who waits for room, if there is some.
    fn pass_room_on(&self, py: Python<'_>) {
        wake(py, &self.state, |state, wakes| state.pass_room_on(wakes));
    }

    /// Submits a call with options.
    #[pyo3(signature = (executor, call, arguments, names, priority, timeout, retries, retry_on, name=None))]
    #[allow(clippy::too_many_arguments)] // one for each option, from one caller
    fn submit_with<'py>(
        &self,
        executor: &Bound<'py, PyAny>,
        call: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
        names: Option<&Bound<'py, PyTuple>>,
        priority: i64,
        timeout: Option<f64>,
        retries: u32,
        retry_on: Bound<'py, PyAny>,
        name: Option<&Bound<'py, PyString>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let options = Options { priority, timeout, retries, retry_on: Ref::from(retry_on) };
        let future = self.submit_chosen(executor, call, arguments, names, options, name)?;
        Ok(future.bind(executor.py()))
    }

    /// Submits `function(*arguments)` for each tuple of an iterator, for at most `limit` of them.
    fn submit_each<'py>(
        &self,
        executor: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyAny>,
        limit: Option<usize>,
    ) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let py = executor.py();
        let mut futures = Vec::new();
        halts_at_exit();
        for tuple in arguments.try_iter()?.take(limit.unwrap_or(usize::MAX)) {
            let tuple = tuple?;
            let tuple = tuple.cast::<PyTuple>()?;
            futures.push(self.submit_tuple(executor, function, tuple)?.bind(py));
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
