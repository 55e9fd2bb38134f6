//! A worker's loop: attached while there are tasks, detached only to sleep.

use super::measures::Measures;
use super::native::Pool;
use super::task::{RETRIED, Task};
use super::working::Working;
use crate::boundary::{
    PATIENCE, TaskHandle, await_claim, await_interpreter, detached, halts_at_exit, nothing_else,
    still_halts_at_exit, thread_owner,
};
use crate::executor::future::{
    Ending, FutureObject, Refused, complete, log_critical, restart, start,
};
use crate::executor::reference::Ref;
use crate::executor::timer::{Limit, set_limit};
use crate::executor::token::CancellationToken;
use counterpoint_sync::Arc;
use counterpoint_sync::clock;
use counterpoint_sync::executor::future::Start;
use counterpoint_sync::executor::pool::{Member, Next, Outcome};
use counterpoint_sync::wait::deliver;
use counterpoint_sync::waiter::{Parked, Waiter, Wakes};
use pyo3::ffi;
use pyo3::prelude::*;

/// An extra worker that slept this long (one second) leaves.
const EXTRA_SLEEP: u64 = 1_000_000_000;

/// A worker looks whether others want to attach after this long (one millisecond): tasks in C
/// never pass the interpreter's own check.
const TURN: u64 = 1_000_000;

/// One worker's own data.
struct Worker<'a, 'py> {
    py: Python<'py>,
    pool: &'a Pool,
    working: &'a Working,
    member: Member,
    /// Threads that wait for a future that this worker ended. They are woken when the worker
    /// goes to sleep, after it detached: then they find the interpreter free. With another task
    /// at hand they are woken first.
    wakes: Wakes<TaskHandle>,
    /// Whether the pool counts this worker as arriving. It does from a wake to the next question,
    /// between which nothing runs that others wrote.
    arriving: bool,
    /// The latest reading of the clock.
    now: u64,
    /// What was measured and not yet recorded.
    measures: Measures,
    /// When it last let others attach.
    turn: u64,
    /// A function of Python that does nothing.
    nothing: Bound<'py, PyAny>,
}

/// Runs tasks in this thread, whose start had that number, until the pool lets it go.
pub fn work(pool: &Bound<'_, Pool>, number: u64) -> PyResult<()> {
    let py = pool.py();
    halts_at_exit();
    let nothing = py.eval(c"lambda: None", None, None)?;
    let arrived = pool.get().state.with(py, |state| state.arrive(number));
    let Some(member) = arrived else { return Ok(()) };
    Working::scope(pool, member, |working| {
        let (pool, now, arriving) = (pool.get(), clock::now(), true);
        let (wakes, measures, turn) = (Wakes::default(), Measures::new(now), now);
        Worker { py, pool, working, member, wakes, arriving, now, measures, turn, nothing }.serve()
    })
}

impl Worker<'_, '_> {
    fn serve(&mut self) -> PyResult<()> {
        let mut waiter = Waiter::thread(thread_owner(), 0);
        loop {
            let next = self.next(&waiter);
            match next {
                Next::Run(task, call) => {
                    self.deliver();
                    self.pool.carry_out(self.py, call)?;
                    self.run(task);
                }
                Next::Sleep => {
                    self.record();
                    if !self.sleep(&waiter) {
                        return Ok(());
                    }
                    waiter = Waiter::thread(thread_owner(), 0);
                }
                Next::Leave(call) => {
                    self.record();
                    self.wakes.wake_all();
                    return self.pool.carry_out(self.py, call);
                }
            }
        }
    }

    #[inline(always)]
    fn next(&mut self, waiter: &Arc<Waiter<TaskHandle>>) -> Next<Task, TaskHandle> {
        let (member, arriving) = (self.member, std::mem::take(&mut self.arriving));
        let (wakes, now) = (&mut self.wakes, self.now);
        self.pool.state.with(self.py, |state| state.next(member, arriving, now, waiter, wakes))
    }

    /// Wakes whom this worker claimed. Room that was meant for a task whose event loop is closed
    /// goes to the next who waits for it.
    #[inline(always)]
    fn deliver(&mut self) {
        if !self.wakes.is_empty() {
            deliver(&self.pool.state.held(self.py), std::mem::take(&mut self.wakes));
        }
    }

    /// Sleeps until called; `false` if nobody called an extra worker for long and it may leave.
    fn sleep(&mut self, waiter: &Arc<Waiter<TaskHandle>>) -> bool {
        let deadline = self.member.is_extra().then(|| clock::now() + EXTRA_SLEEP);
        let wakes = &mut self.wakes;
        still_halts_at_exit();
        let parked = self.py.detach(|| {
            detached();
            wakes.wake_all();
            if await_claim(waiter, deadline, PATIENCE, nothing_else) {
                return Parked::Woken;
            }
            loop {
                match waiter.park(deadline) {
                    // Signals are handled by the main thread.
                    Parked::Interrupted => {}
                    parked => {
                        // Whoever woke this worker is about to let go of the interpreter: to wait
                        // for the result. Asking for it too soon would cost both a sleep more.
                        await_interpreter(waiter, PATIENCE);
                        return parked;
                    }
                }
            }
        });
        self.now = clock::now();
        self.turn = self.now;
        if parked == Parked::TimedOut {
            let (member, wakes) = (self.member, &mut self.wakes);
            let left = self.pool.state.with(self.py, |s| s.give_up(waiter, member, wakes));
            if left {
                return false;
            }
        }
        self.arriving = true;
        true
    }

    fn run(&mut self, mut task: Task) {
        let future = task.future();
        match start(self.py, future) {
            Ok(Start::Run) => {}
            started => return self.skip(future, started),
        }
        let attempt = task.options().is_some().then(|| self.begin_attempt(&mut task));
        let result = task.call();
        self.working.set_token(None);
        self.working.forget_guesses(self.py);
        self.end(task, future, result, attempt);
        if self.now - self.turn > TURN {
            self.give_way();
            self.turn = clock::now();
        }
    }

    /// Lets others attach who asked for it: the interpreter looks for that where a function of
    /// Python begins, which tasks written in C never do. Merely detaching and attaching would win
    /// against those who wait, and start their patience anew.
    #[cold]
    fn give_way(&self) {
        if let Err(raised) = self.nothing.call0() {
            // Sent to this thread from outside; no task is running that it could be for.
            raised.write_unraisable(self.py, None);
        }
    }

    /// The number of this attempt of a task with options, whose time limit is set.
    #[cold]
    fn begin_attempt(&mut self, task: &mut Task) -> u32 {
        let attempt = task.future().with(self.py, |state, _| state.attempt());
        if let Some(seconds) = task.options().and_then(|options| options.timeout)
            && let Err(error) = self.limit(task, attempt, seconds)
        {
            log_critical(self.py, "Exception in worker", error);
        }
        attempt
    }

    /// Sets a time limit, and the token that hears of it.
    fn limit(&mut self, task: &Task, attempt: u32, seconds: f64) -> PyResult<()> {
        let token = Py::new(self.py, CancellationToken::default())?;
        self.working.set_token(Some(token.clone_ref(self.py)));
        let Some(at) = clock::deadline_in(seconds) else { return Ok(()) };
        let (future, expired) = (task.share_future(), self.pool.expired.clone());
        set_limit(self.py, at, Limit { future, attempt, token, seconds, expired })
    }

    /// Counts the task and ends its future. A task with options brings the number of its attempt.
    #[inline(always)]
    fn end(
        &mut self,
        mut task: Task,
        future: FutureObject,
        result: Option<Ref>,
        attempt: Option<u32>,
    ) {
        let begun = self.now;
        if attempt.is_some()
            || !self.measures.may_skip()
            || self.pool.state.with(self.py, |state| state.queued() == 0)
        {
            self.now = clock::now();
        }
        let ending = match result {
            Some(result) => Ending::Result(result),
            None => {
                let exception = raised(self.py);
                if self.wants_retry(&mut task, future, &exception) {
                    drop(exception);
                    return self.retry(task, begun);
                }
                Ending::Exception(exception)
            }
        };
        let mut outcome =
            if matches!(ending, Ending::Result(_)) { Outcome::Done } else { Outcome::Failed };
        if attempt.is_some_and(|attempt| self.is_late(future, attempt)) {
            outcome = Outcome::Uncounted;
        }
        let full = if attempt.is_some() && task.submitted == RETRIED {
            self.measure_attempt(&mut task, begun);
            false
        } else {
            self.measures.add(begun.saturating_sub(task.submitted), begun, self.now)
        };
        // Counted before anybody hears of it.
        self.pool.state.with(self.py, |state| state.ended(self.member, outcome, begun));
        if full {
            self.record();
        }
        if let Err(Refused::Raised(error)) = complete(self.py, future, ending, &mut self.wakes) {
            log_critical(self.py, "Exception in worker", error);
        }
        if !self.wakes.is_empty() && task.is_last_owner() {
            // A destructor may take long, or wait for what one of these does next.
            self.wakes.wake_all();
        }
        drop(task);
    }

    /// Whether the attempt's time was over before it ended: then the future has failed, and the
    /// task is counted. Otherwise the limit is void from now on.
    #[cold]
    fn is_late(&self, future: FutureObject, attempt: u32) -> bool {
        !future.with(self.py, |state, _| state.decide(attempt))
    }

    /// Whether this failure is one of those for which the task is tried again.
    #[cold]
    fn wants_retry(&self, task: &mut Task, future: FutureObject, exception: &Ref) -> bool {
        let Some(options) = task.options().filter(|options| options.retries > 0) else {
            return false;
        };
        // SAFETY: live objects; `retry_on` was checked to be a class or a tuple of classes.
        let matches = unsafe {
            ffi::PyErr_GivenExceptionMatches(exception.as_ptr(), options.retry_on.as_ptr()) != 0
        };
        options.retries -= u32::from(matches);
        // A future whose time is over is not started again.
        matches && restart(self.py, future).unwrap_or(false)
    }

    #[cold]
    fn retry(&mut self, mut task: Task, begun: u64) {
        self.measure_attempt(&mut task, begun);
        let priority = task.options().map_or(0, |options| options.priority);
        let mut task = Some(task);
        let call = self.pool.state.with(self.py, |state| {
            state.ended(self.member, Outcome::Uncounted, begun);
            task.take().map(|task| state.push(task, priority))
        });
        if let Some(call) = call
            && let Err(error) = self.pool.carry_out(self.py, call)
        {
            log_critical(self.py, "Exception in worker", error);
        }
    }

    /// Records an attempt of a task that has several: the delay of the first, the time of each.
    #[cold]
    fn measure_attempt(&mut self, task: &mut Task, begun: u64) {
        self.record();
        let submitted = std::mem::replace(&mut task.submitted, RETRIED);
        let took = self.now.saturating_sub(begun);
        self.pool.state.with(self.py, |state| {
            if submitted != RETRIED {
                state.queue_delay.record(begun.saturating_sub(submitted));
            }
            state.run_time.record(took);
        });
    }

    /// Hands what was measured to the pool.
    #[inline(never)]
    fn record(&mut self) {
        let (measures, now) = (&mut self.measures, self.now);
        self.pool.state.with(self.py, |state| measures.record(state, now));
    }

    /// A task that is not to be run: cancelled, or started by somebody else.
    #[cold]
    fn skip(&mut self, future: FutureObject, started: PyResult<Start>) {
        let (member, now) = (self.member, self.now);
        self.pool.state.with(self.py, |state| state.ended(member, Outcome::Cancelled, now));
        let retried = future.with(self.py, |state, _| state.attempt() > 0);
        let error = match started {
            Ok(Start::Cancelled | Start::Run) => return,
            // It ended between two attempts.
            Ok(Start::Unexpected) if retried => return,
            Ok(Start::Unexpected) => crate::executor::future::unexpected(self.py, future),
            Err(error) => Ok(error),
        };
        log_critical(self.py, "Exception in worker", error.unwrap_or_else(|error| error));
    }
}

/// The exception that a task raised.
#[cold]
fn raised(py: Python<'_>) -> Ref {
    Ref::from(crate::boundary::fetch(py).into_value(py).into_bound(py).into_any())
}
