//! [`ProcessPool`]: what an executor, its futures and its threads share in the user's process.

use super::codec::Interner;
use super::courier;
use super::hiring::Coming;
use super::measured::Measured;
use crate::boundary::{
    Meter, Pending, Place, TaskHandle, Ticket, Waits, block_on_shared, nothing_else, observe,
    seconds,
};
use counterpoint_pool::{Limits, Options, Outcome, PoolState, Room, Shared, Station, forks};
use counterpoint_shm::arena::Arena;
use counterpoint_sync::executor::future::{Done, FutureState};
use counterpoint_sync::wait::Wait;
use counterpoint_sync::waiter::Wakes;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{self, ThreadId};

/// How many bytes of addresses an arena has; memory is taken as it is written.
pub(super) const ARENA: usize = 64 << 30;

/// A pool as its crate sees it.
pub type Inner = Shared<TaskHandle, Py<PyAny>>;

/// The end of a pool, to be waited for.
#[derive(Default)]
pub struct Ended(Mutex<FutureState<TaskHandle>>);

impl counterpoint_sync::wait::Shared for Ended {
    type State = FutureState<TaskHandle>;

    fn with<R>(&self, f: impl FnOnce(&mut FutureState<TaskHandle>) -> R) -> R {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ended {
    /// Wakes whoever waits for it.
    pub fn happened(&self) {
        let mut wakes = Wakes::default();
        counterpoint_sync::wait::Shared::with(self, |state| {
            let _ = state.finish(&mut wakes);
        });
        wakes.wake_all();
    }
}

/// Everything of one pool but the Python object.
pub struct Core {
    /// The pool.
    pub shared: Arc<Inner>,
    /// Its end.
    pub ended: Ended,
    /// What an observer sees of it.
    pub measured: Measured,
    /// Python's half: launches workers, makes errors.
    pub hooks: Py<PyAny>,
    /// The functions that were sent once.
    pub interner: Arc<Interner>,
    pub(super) capture: bool,
    /// The thread that runs callbacks, and so cannot wait for the end.
    pub courier: OnceLock<ThreadId>,
    /// The thread that runs log handlers, and cannot either.
    pub listener: OnceLock<ThreadId>,
    arena: OnceLock<Arc<Mutex<Arena>>>,
    started: AtomicBool,
    pub(super) stations: AtomicU32,
    pub(super) coming: Mutex<Vec<Coming>>,
}

impl Core {
    /// Refuses in a fork: the workers are the parent's, and another thread of the parent may have
    /// held any of the locks.
    pub fn check_ours(&self) -> PyResult<()> {
        if self.shared.is_ours() {
            return Ok(());
        }
        Err(PyRuntimeError::new_err(
            "this pool was made before a fork, and its workers are the parent's: make another in \
             this process",
        ))
    }

    /// Whether the calling thread is one of the pool's own.
    fn serves_here(&self) -> bool {
        self.is_courier() || Some(thread::current().id()) == self.listener.get().copied()
    }

    /// Whether the calling thread is the one that runs callbacks.
    pub(super) fn is_courier(&self) -> bool {
        Some(thread::current().id()) == self.courier.get().copied()
    }

    /// The arena for arguments, made when it is first needed.
    pub fn arena(&self) -> PyResult<Arc<Mutex<Arena>>> {
        if let Some(arena) = self.arena.get() {
            return Ok(arena.clone());
        }
        let made = Arena::create(c"counterpoint-arguments", ARENA).map_err(no_memory)?;
        Ok(self.arena.get_or_init(|| Arc::new(Mutex::new(made))).clone())
    }

    /// Starts the threads that serve the pool, once.
    pub fn ensure_served(self: &Arc<Self>) -> PyResult<()> {
        if self.started.load(Ordering::Relaxed) || self.started.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        courier::start(self.clone()).map_err(|error| {
            self.started.store(false, Ordering::Relaxed);
            PyOSError::new_err(format!("the pool's threads cannot be started: {error}"))
        })
    }

    /// Breaks the pool: every job fails with what `hooks.broken(cause)` makes.
    pub fn break_up(&self, py: Python<'_>, cause: &Bound<'_, PyAny>) -> PyResult<()> {
        let jobs = self.shared.with(|pool| pool.break_up());
        let withdrawn = self.withdraw_all(py);
        for job in jobs {
            let error = self.hooks.call_method1(py, intern!(py, "broken"), (cause,));
            let error = error.unwrap_or_else(|error| error.into_value(py).into_any());
            self.shared.with(|pool| pool.decide(job, Outcome::Failed(Arc::new(error))));
        }
        self.shared.poke();
        withdrawn
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).min(9e18) as u64
}

pub(super) fn no_memory(error: std::io::Error) -> PyErr {
    PyOSError::new_err(format!("a worker's shared memory cannot be set up: {error}"))
}

/// A pool of processes, below the executor. Internal: use `counterpoint.futures`.
#[pyclass(frozen, weakref, module = "counterpoint._core")]
pub struct ProcessPool {
    core: Arc<Core>,
    /// The functions that were sent once.
    pub interner: Arc<Interner>,
}

impl ProcessPool {
    /// What its threads share.
    pub fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

/// Number, pid, tasks, nanoseconds in them, bytes in, bytes out.
type WorkerRow = (u32, i32, u64, u64, u64, u64);
/// A strong reference to a pool, for a wait that outlives the call.
struct Home(Py<ProcessPool>);

impl Place for Home {
    type State = PoolState<TaskHandle, Py<PyAny>>;

    fn shared<'a>(
        &'a self,
        _: Python<'a>,
    ) -> impl counterpoint_sync::wait::Shared<State = Self::State> + 'a {
        Lent(&self.0.get().core.shared)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// The pool's own lock, which the dispatcher takes as well.
struct Lent<'a>(&'a Inner);

impl counterpoint_sync::wait::Shared for Lent<'_> {
    type State = PoolState<TaskHandle, Py<PyAny>>;

    fn with<R>(&self, f: impl FnOnce(&mut Self::State) -> R) -> R {
        counterpoint_sync::wait::Shared::with(self.0, f)
    }
}

/// Judges failures: how often a task is tried again, and for which exceptions.
pub struct Retry {
    /// How many more times.
    pub left: AtomicU32,
    /// A class or a tuple of classes.
    pub on: Py<PyAny>,
}

#[pymethods]
impl ProcessPool {
    #[new]
    #[allow(clippy::too_many_arguments)] // one for each option, from one caller
    #[pyo3(signature = (hooks, workers, pending=None, tasks_per_worker=None, isolate=true, capture=false, least=0, idle=None, memory=None))]
    fn new(
        hooks: Py<PyAny>,
        workers: usize,
        pending: Option<usize>,
        tasks_per_worker: Option<u64>,
        isolate: bool,
        capture: bool,
        least: usize,
        idle: Option<f64>,
        memory: Option<u64>,
    ) -> PyResult<Self> {
        let interner = Arc::new(Interner::default());
        let known = interner.clone();
        let limits = Limits {
            workers,
            least,
            idle: idle.map(nanoseconds),
            memory,
            pending: pending.unwrap_or(usize::MAX),
            tasks_per_worker: tasks_per_worker.unwrap_or(u64::MAX),
            isolate,
        };
        let state = PoolState::new(limits, Box::new(move |id| known.definition(id)));
        let core = Core {
            shared: Arc::new(Shared::new(state).map_err(no_memory)?),
            ended: Ended::default(),
            measured: Measured::default(),
            hooks,
            interner: interner.clone(),
            capture,
            courier: OnceLock::new(),
            listener: OnceLock::new(),
            arena: OnceLock::new(),
            started: AtomicBool::new(false),
            stations: AtomicU32::new(0),
            coming: Mutex::default(),
        };
        forks::watch(&core.shared);
        Ok(Self { core: Arc::new(core), interner })
    }

    /// Starts the workers that there are always.
    fn start(&self) -> PyResult<()> {
        self.core.ensure_served()?;
        self.core.shared.with(|pool| pool.launch_least());
        Ok(())
    }

    /// Accepts no more tasks; with `cancel`, cancels those that were not begun.
    fn close(&self, cancel: bool) {
        if !self.core.shared.is_ours() {
            return;
        }
        self.core.shared.with(|pool| pool.close(cancel));
        self.core.shared.poke();
        if !self.core.started.swap(true, Ordering::Relaxed) {
            self.core.measured.end(&self.core.shared);
            self.core.ended.happened();
        }
    }

    /// Whether it was closed.
    fn is_closed(&self) -> bool {
        !self.core.shared.is_ours() || self.core.shared.with(|pool| pool.is_closed())
    }

    /// Whether it broke, for good.
    fn is_broken(&self) -> bool {
        self.core.shared.is_ours() && self.core.shared.with(|pool| pool.is_broken())
    }

    /// Whether everything is over, or was never begun.
    fn is_over(&self) -> bool {
        use counterpoint_sync::wait::Shared;
        !self.core.shared.is_ours() || self.core.ended.with(|state| state.phase().is_done())
    }

    /// Waits until everything is over; False if `timeout` seconds pass first.
    #[pyo3(signature = (timeout=None))]
    fn wait_for_end(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        if self.is_over() {
            return Ok(true);
        }
        if self.core.serves_here() {
            // As `Thread.join` says in the stdlib's pool; a callback would wait for itself.
            return Err(PyRuntimeError::new_err("cannot join current thread"));
        }
        let deadline = timeout.and_then(counterpoint_sync::clock::deadline_in);
        let wait = &mut Wait::new(Done::default());
        let ended = block_on_shared(py, &self.core.ended, wait, deadline, nothing_else);
        Ok(ended?.is_some())
    }

    /// Waits until a submission would not be refused for want of room.
    fn wait_for_room(&self, py: Python<'_>) -> PyResult<()> {
        self.core.check_ours()?;
        if self.core.serves_here() {
            // Room needs workers, which wait for what this very thread does.
            return Err(PyRuntimeError::new_err(
                "a done callback or log handler cannot wait for room in its own pool: submit from \
                 another thread, or with on_full='raise'",
            ));
        }
        let wait = &mut Wait::new(Room::default());
        block_on_shared(py, &*self.core.shared, wait, None, nothing_else).map(drop)
    }

    /// The same wait for a task.
    fn room_ticket(slf: Py<Self>) -> PyResult<Ticket> {
        slf.get().core.check_ours()?;
        let wait = Wait::new(Room::default());
        Ok(Ticket::new(Pending { place: Home(slf), wait, finish: |py, _, ()| Ok(py.None()) }))
    }

    /// Fails every task that is not over, and kills the workers.
    fn break_up(&self, py: Python<'_>, cause: &Bound<'_, PyAny>) -> PyResult<()> {
        self.core.check_ours()?;
        self.core.break_up(py, cause)
    }

    /// Sends a signal to every worker of this process's.
    fn signal_workers(&self, signal: i32) {
        if self.core.shared.is_ours() {
            self.core.shared.with(|pool| pool.signal_workers(signal));
        }
    }

    /// Shows the executor to the observer of new objects, if there is one.
    #[staticmethod]
    fn observe(executor: &Bound<'_, PyAny>) -> PyResult<()> {
        observe(executor)
    }

    /// What was measured of it; the same object each time.
    fn meter(&self, py: Python<'_>) -> PyResult<Py<Meter>> {
        self.core.check_ours()?;
        self.core.measured.meter(py, &self.core.shared)
    }

    /// (pending, running, workers, done, failed, cancelled, crashes, queue delay, run time, busy
    /// nanoseconds, restarts).
    #[allow(clippy::type_complexity)] // one tuple for one record
    fn counts(
        &self,
    ) -> PyResult<(usize, usize, usize, u64, u64, u64, u64, Waits, Waits, u64, u64)> {
        self.core.check_ours()?;
        Ok(self.core.shared.with(|pool| {
            let (delay, run) = (pool.queue_delay.summary(), pool.run_time.summary());
            let counts = pool.counts;
            (
                pool.pending(),
                pool.running(),
                pool.stations().len(),
                counts.done,
                counts.failed,
                counts.cancelled,
                counts.crashes,
                seconds(delay),
                seconds(run),
                counts.busy,
                counts.restarts,
            )
        }))
    }

    /// Of queueing delays and of run times: bounds in seconds, and counts.
    fn histograms(&self) -> PyResult<[Vec<(f64, u64)>; 2]> {
        self.core.check_ours()?;
        let buckets =
            self.core.shared.with(|pool| [pool.queue_delay.buckets(), pool.run_time.buckets()]);
        let seconds = |(bound, n)| (bound as f64 / 1e9, n);
        Ok(buckets.map(|all| all.into_iter().map(seconds).collect()))
    }

    /// For each worker: number, pid, tasks, nanoseconds in them, bytes in, bytes out.
    fn workers(&self) -> PyResult<Vec<WorkerRow>> {
        self.core.check_ours()?;
        Ok(self.core.shared.with(|pool| {
            let row = |station: &Station<_, _>| {
                let [tasks, busy, bytes_in, bytes_out] = station.counters();
                (station.id(), station.pid(), tasks, busy, bytes_in, bytes_out)
            };
            pool.stations().iter().map(row).collect()
        }))
    }

    /// The numbers of workers that have not run their last task; `None`: the pool is closed.
    fn staying(&self) -> Option<Vec<u32>> {
        if !self.core.shared.is_ours() {
            return None;
        }
        self.core.shared.with(|pool| {
            let stay = pool.stations().iter().filter(|station| !station.is_leaving());
            (!pool.is_closed()).then(|| stay.map(Station::id).collect())
        })
    }

    /// Submits a call with options.
    #[pyo3(signature = (executor, function, arguments, names, priority, timeout, soft_timeout, retries, retry_on, name=None))]
    #[allow(clippy::too_many_arguments)] // one for each option, from one caller
    fn submit_with<'py>(
        slf: &Bound<'py, Self>,
        executor: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        arguments: Vec<Bound<'py, PyAny>>,
        names: Option<Bound<'py, pyo3::types::PyTuple>>,
        priority: i64,
        timeout: Option<f64>,
        soft_timeout: Option<f64>,
        retries: u32,
        retry_on: Py<PyAny>,
        name: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let retry = Retry { left: AtomicU32::new(retries), on: retry_on };
        let judge = (retries > 0).then(|| Arc::new(retry) as Arc<_>);
        let [timeout, soft_timeout] = [timeout, soft_timeout].map(|limit| limit.map(nanoseconds));
        let options =
            Box::new(Options { priority, timeout, soft_timeout, name: name.map(Box::from), judge });
        let names = names.filter(|names| !names.is_empty());
        super::submit::submit_slowly(slf, executor, function, &arguments, names, options)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.core.hooks)?;
        self.interner.visit(&visit)
    }
}
