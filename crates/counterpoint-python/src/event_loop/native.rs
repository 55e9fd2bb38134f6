//! `counterpoint._core.event_loop.Loop`: a loop's state, behind the Python object that is the loop.

use super::base::BASE;
use super::handle::{CANCELLED, HandleObject, SCHEDULED};
use super::measure::{Counters, Measured, Metered};
use super::queue::{Due, Queue};
use super::registry::{Registry, Watcher, Watchers};
use super::stall::Pulse;
use super::stream::Spare;
use super::system::System;
use super::tasks::Named;
use super::watchdog;
use crate::boundary::{Meter, Protected, halts_at_exit, is_observed, observe, os_error};
use crate::executor::reference::Ref;
use counterpoint_reactor::habit::Writer;
use counterpoint_reactor::timers::Timers;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::PyObject;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// How much a transport reads at once, at most.
const BUFFER: usize = 256 * 1024;

/// `stop()` was called.
pub const STOPPING: u8 = 1;
/// Debug mode.
pub const DEBUG: u8 = 2;
/// `close()` was called.
pub const CLOSED: u8 = 4;
/// Its turns are measured.
pub const MEASURED: u8 = 8;
/// The watchdog watches it.
pub const WATCHED: u8 = 16;
/// So is the callback that runs, which has begun before.
pub const ADOPTED: u8 = 32;
/// Something that was written in this turn is held back.
pub const HOLDING: u8 = 64;
/// Its class has a `time()` of its own, which the times of its timers are compared with.
pub const OWN_CLOCK: u8 = 128;

/// In the number of a callback: it was scheduled.
const IS_SCHEDULED: u32 = 1;

/// What a loop has to do.
#[derive(Default)]
pub struct State {
    pub ready: Queue,
    pub timers: Timers<Ref>,
    pub registry: Registry,
    /// The handle that runs, in debug mode.
    pub current: Option<Ref>,
    /// asyncio's dict of other transports by descriptor, once it is needed.
    pub transports: Option<Ref>,
    /// A future that is done, once it is needed.
    pub settled: Option<Ref>,
    /// What names it to a task or future that is to be made, once it is needed.
    pub named: Named,
    /// None once the loop is closed.
    pub system: Option<Arc<System>>,
    /// What was received last, if nobody has it any more.
    pub spare: Spare,
    /// The transports that hold something back, and since when the first does.
    pub held: Vec<Ref>,
    pub held_since: u64,
    /// One of them until the callback that writes has ended.
    pub held_briefly: bool,
    /// The last run was cut short: what is ready may be told of again.
    pub is_cut_short: bool,
    /// An empty context for the next transport that needs one.
    pub context: Option<Ref>,
    /// Where transports read, when none of them does.
    buffer: Vec<u8>,
}

/// The native part of one event loop.
#[pyclass(frozen, module = "counterpoint._core.event_loop")]
pub struct Loop {
    pub state: Protected<State>,
    flags: AtomicU8,
    /// The thread that runs it, as Python names threads; 0: none.
    thread: AtomicU64,
    /// The number of the callback that runs; 0: none.
    callback: AtomicU32,
    pub counters: Counters,
    pub measured: Protected<Measured>,
    pub metered: Metered,
    pub pulse: Arc<Pulse>,
}

impl Drop for Loop {
    fn drop(&mut self) {
        // SAFETY: Python objects die in attached threads.
        let py = unsafe { Python::assume_attached() };
        self.write_counts(py);
        self.unwatched(py);
    }
}

impl Loop {
    /// The native part of `event_loop`, an instance of our base class; `None` if it has none.
    ///
    /// # Safety
    /// `event_loop` is an instance of the base class, and outlives the borrow.
    #[inline(always)]
    pub unsafe fn of<'a>(py: Python<'a>, event_loop: *mut PyObject) -> Option<&'a Self> {
        // SAFETY: the caller's promise.
        unsafe { BASE.get(py, event_loop) }
    }

    /// Whether it has one of these flags.
    #[inline(always)]
    pub fn is(&self, flags: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flags != 0
    }

    /// Whether it is in debug mode.
    pub fn is_debugging(&self) -> bool {
        self.is(DEBUG)
    }

    /// Sets a flag, or takes it away.
    pub fn flag(&self, flag: u8, value: bool) {
        if value {
            self.flags.fetch_or(flag, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!flag, Ordering::Relaxed);
        }
    }

    /// The thread that runs it, as Python names threads; 0: none.
    pub fn thread(&self) -> u64 {
        self.thread.load(Ordering::Relaxed)
    }

    /// Which callback runs.
    #[inline(always)]
    pub fn writer(&self) -> Writer {
        match self.callback.load(Ordering::Relaxed) {
            0 => Writer::Nobody,
            number if number & IS_SCHEDULED != 0 => Writer::Scheduled(number),
            number => Writer::Event(number),
        }
    }

    /// Says which callback runs: of that number, and whether it was scheduled.
    #[inline(always)]
    pub fn runs(&self, number: u32, is_scheduled: bool) {
        let scheduled = if is_scheduled { IS_SCHEDULED } else { 0 };
        self.callback.store(number << 1 | scheduled, Ordering::Relaxed);
    }

    /// None does.
    #[inline(always)]
    pub fn runs_nothing(&self) {
        self.callback.store(0, Ordering::Relaxed);
    }

    /// Says which thread runs it.
    pub fn run_by(&self, thread: u64) {
        self.thread.store(thread, Ordering::Relaxed);
        self.pulse.thread.store(thread, Ordering::Relaxed);
    }

    /// Queues what is due, and wakes the loop if it sleeps.
    #[inline(always)]
    pub fn push(&self, py: Python<'_>, due: Due) {
        if self.state.with(py, |state| state.ready.push(due)) {
            self.state.with(py, |state| state.ring());
        }
    }

    /// Its descriptors, for as long as it runs.
    pub fn system(&self, py: Python<'_>) -> PyResult<Arc<System>> {
        let system = self.state.with(py, |state| {
            state.renew()?;
            Ok::<_, io::Error>(state.system.clone())
        });
        let system = system.map_err(|error| os_error(&error))?;
        system.ok_or_else(|| PyRuntimeError::new_err("Event loop is closed"))
    }

    /// The buffer into which transports read; to be given back.
    #[inline(always)]
    pub fn take_buffer(&self, py: Python<'_>) -> Vec<u8> {
        let mut buffer = self.state.with(py, |state| mem::take(&mut state.buffer));
        if buffer.is_empty() {
            buffer.resize(BUFFER, 0);
        }
        buffer
    }

    /// Gives the buffer back.
    #[inline(always)]
    pub fn give_buffer(&self, py: Python<'_>, buffer: Vec<u8>) {
        let before = self.state.with(py, |state| mem::replace(&mut state.buffer, buffer));
        drop(before);
    }

    /// One of the timers in the heap was cancelled.
    pub fn timer_cancelled(&self, py: Python<'_>) {
        let dead = self.state.with(py, |state| {
            let many = state.timers.note_cancelled();
            many.then(|| state.timers.drop_cancelled(is_cancelled))
        });
        for timer in dead.iter().flatten() {
            unschedule(timer);
        }
    }

    /// Takes out the cancelled timers that would be slept for.
    #[inline(always)]
    pub fn drop_cancelled(&self, py: Python<'_>) {
        while let Some(timer) =
            self.state.with(py, |state| state.timers.pop_cancelled(is_cancelled))
        {
            unschedule(&timer);
        }
    }
}

impl State {
    #[cold]
    fn ring(&mut self) {
        if self.renew().is_ok()
            && let Some(system) = &self.system
        {
            system.alarm.ring();
        }
    }

    /// In a forked child: makes descriptors of its own, which watch what the parent's do.
    pub fn renew(&mut self) -> io::Result<()> {
        match &self.system {
            Some(system) if system.is_parents() => {
                let system = System::new()?;
                self.registry.watch_again(&system.poller);
                self.system = Some(system);
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a timer of the heap is cancelled.
fn is_cancelled(timer: &Ref) -> bool {
    HandleObject::check(timer.as_ptr()).is_some_and(|timer| timer.is(CANCELLED))
}

/// A timer left the heap.
pub fn unschedule(timer: &Ref) {
    if let Some(timer) = HandleObject::check(timer.as_ptr()) {
        timer.flag(SCHEDULED, false);
    }
}

/// A descriptor's reader and writer.
type Watched = (Option<Py<PyAny>>, Option<Py<PyAny>>);

#[pymethods]
impl Loop {
    #[new]
    fn new() -> PyResult<Self> {
        let system = System::new().map_err(|error| os_error(&error))?;
        let state = State { system: Some(system), ..State::default() };
        Ok(Self {
            state: Protected::new(state),
            flags: AtomicU8::new(0),
            thread: AtomicU64::new(0),
            callback: AtomicU32::new(0),
            counters: Counters::default(),
            measured: Protected::default(),
            metered: Metered::new(),
            pulse: Arc::default(),
        })
    }

    /// Shows a new loop to the observer, if there is one; it is measured then.
    #[staticmethod]
    fn observe(event_loop: &Bound<'_, PyAny>, native: &Bound<'_, Self>) -> PyResult<bool> {
        if is_observed() {
            native.get().flag(MEASURED, true);
        }
        observe(event_loop)?;
        Ok(is_observed())
    }

    /// Its class has a clock of its own.
    fn has_own_clock(&self) {
        self.flag(OWN_CLOCK, true);
    }

    /// Whether its turns are measured from now on.
    fn measure(&self, enabled: bool) {
        self.flag(MEASURED, enabled);
    }

    /// Has callbacks reported that take so many seconds or longer; `None`: no more. `owner` is a weak
    /// reference to the loop.
    fn watch_stalls(
        &self,
        py: Python<'_>,
        threshold: Option<f64>,
        logs: bool,
        hooks: Py<PyAny>,
        owner: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if threshold.is_none() || self.is(CLOSED) {
            self.unwatched(py);
            return Ok(());
        }
        let mut owner = Some(Ref::from(owner));
        self.pulse.owner.with(py, |place| std::mem::swap(place, &mut owner));
        self.set_watched(threshold, logs);
        watchdog::watch(py, &self.pulse, hooks).map_err(|error| os_error(&error))
    }

    /// Has the callback watched that runs in this thread, and is known as `subject`.
    fn watch_running(&self, py: Python<'_>, subject: &Bound<'_, PyAny>) {
        self.adopt(py, Ref::from(subject.clone()));
    }

    /// What it has counted and measured.
    #[pyo3(name = "meter")]
    fn its_meter(&self, py: Python<'_>) -> PyResult<Py<Meter>> {
        self.meter(py)
    }

    /// What there is now: open connections, callbacks that are ready, timers.
    fn gauges(&self, py: Python<'_>) -> (u64, usize, usize) {
        let queued = |state: &mut State| (state.ready.len(), state.timers.len());
        let (ready, timers) = self.state.with(py, queued);
        (self.counters.open.get(), ready, timers)
    }

    /// Each watched descriptor with its reader and writer.
    fn watched(&self, py: Python<'_>) -> Vec<(RawFd, Watched)> {
        let watched: Vec<_> = self.state.with(py, |state| {
            let watched = state.registry.watched();
            watched.map(|(fd, watchers)| (fd, objects(watchers))).collect()
        });
        let unbind = |watcher: Option<Ref>| watcher.map(|watcher| watcher.bind(py).unbind());
        watched.into_iter().map(|(fd, both)| (fd, both.map(unbind).into())).collect()
    }

    /// Who watches `fd`, as reader and as writer.
    fn watchers(&self, py: Python<'_>, fd: RawFd) -> Watched {
        let watchers = self.state.with(py, |state| state.registry.get(fd).map(objects));
        let unbind = |watcher: Option<Ref>| watcher.map(|watcher| watcher.bind(py).unbind());
        watchers.unwrap_or_default().map(unbind).into()
    }

    /// Whether a transport of ours has that descriptor, and is not closing.
    fn is_held(&self, py: Python<'_>, fd: RawFd) -> bool {
        self.state.with(py, |state| state.registry.is_held(fd))
    }

    /// Closes its descriptors.
    fn close(&self, py: Python<'_>) {
        self.unwatched(py);
        drop(self.state.with(py, |state| state.system.take()));
    }

    /// Drops everything that is to be called.
    fn clear(&self, py: Python<'_>) {
        halts_at_exit();
        let everything = self.state.with(py, |state| {
            let spare = mem::take(&mut state.spare);
            let more = [state.transports.take(), state.settled.take()];
            let more = (
                more,
                mem::take(&mut state.named),
                state.context.take(),
                spare,
                mem::take(&mut state.held),
            );
            (state.ready.clear(), state.timers.clear(), state.registry.clear(), more)
        });
        everything.1.iter().for_each(unschedule);
        let timers = everything.1.iter().filter_map(|timer| HandleObject::check(timer.as_ptr()));
        for handle in everything.0.handles().chain(timers) {
            // What the collector does not know is not to close a cycle.
            drop(handle.empty(py));
        }
        drop(everything);
    }

    /// The descriptor of its epoll instance.
    fn fileno(&self, py: Python<'_>) -> PyResult<RawFd> {
        Ok(self.system(py)?.poller.as_fd().as_raw_fd())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only the collector calls this.
        let state = unsafe { self.state.peek() };
        state.ready.visit(&visit)?;
        state.timers.iter().try_for_each(|timer| timer.visit(&visit))?;
        for (_, watchers) in state.registry.watched() {
            let watchers = [&watchers.reader, &watchers.writer];
            let held = watchers.into_iter().flatten();
            let held = held.flat_map(|watcher| [Some(watcher.object()), watcher.file()]);
            held.flatten().try_for_each(|object| object.visit(&visit))?;
        }
        // SAFETY: as above.
        let adopted = unsafe { self.pulse.adopted.peek() };
        let more = [&state.current, &state.transports, &state.settled, adopted];
        more.into_iter().chain(&state.named).flatten().try_for_each(|object| object.visit(&visit))
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        self.clear(unsafe { Python::assume_attached() });
    }
}

/// The reader and the writer.
fn objects(watchers: &Watchers) -> [Option<Ref>; 2] {
    let share = |watcher: &Option<Watcher>| watcher.as_ref().map(|w| w.object().share());
    [share(&watchers.reader), share(&watchers.writer)]
}
