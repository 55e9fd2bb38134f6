//! [`block_on`]: how a thread waits. The one place that parks.

use super::spin::{COURTESY, PATIENCE, await_claim, detached, nothing_else};
use super::task::{first_of_own_loop, runs_signal_handlers};
use super::{Protected, TaskHandle, still_halts_at_exit, thread_owner};
use counterpoint_sync::wait::{Attempt, Deadline, Shared, Source, State, Wait, deliver};
use counterpoint_sync::waiter::{Parked, Waiter, Wakes};
use counterpoint_sync::{Arc, clock};
use pyo3::prelude::*;

/// How long, in nanoseconds, the thread that runs signal handlers sleeps without looking for one.
///
/// A signal that arrives before the futex is entered, or in another thread, interrupts nothing:
/// its handler only leaves a note for this thread. The kernel has no call that would look at the
/// note and sleep in one step, so the note is looked at from time to time.
pub(super) const GLANCE: u64 = 50_000_000;

/// Drives `wait` to its end in this thread: attached while it tries, detached while it sleeps.
///
/// `None`: the deadline passed. An error: a signal handler raised (Ctrl-C), and whatever had
/// been claimed for this thread was passed on.
pub fn block_on<O>(
    py: Python<'_>,
    state: &Protected<O::State>,
    wait: &mut Wait<O>,
    deadline: Option<u64>,
) -> PyResult<Option<O::Output>>
where
    O: Source,
    O::State: State<Notify = TaskHandle> + Send,
{
    block_on_waking(py, state, wait, deadline, Vec::new())
}

/// The same, waking `threads` once this thread is detached: they find the GIL free.
pub fn block_on_waking<O>(
    py: Python<'_>,
    state: &Protected<O::State>,
    wait: &mut Wait<O>,
    deadline: Option<u64>,
    threads: Vec<Arc<Waiter<TaskHandle>>>,
) -> PyResult<Option<O::Output>>
where
    O: Source,
    O::State: State<Notify = TaskHandle> + Send,
{
    drive(py, &state.held(py), wait, deadline, threads, nothing_else)
}

/// [`block_on`] for a state with a lock of its own, which threads take that are not attached. What
/// `look_out` returns may bring the claim about.
pub fn block_on_shared<O, L: FnMut()>(
    py: Python<'_>,
    shared: &impl Shared<State = O::State>,
    wait: &mut Wait<O>,
    deadline: Option<u64>,
    look_out: impl Fn() -> Option<L> + Sync,
) -> PyResult<Option<O::Output>>
where
    O: Source,
    O::State: State<Notify = TaskHandle> + Send,
{
    drive(py, shared, wait, deadline, Vec::new(), look_out)
}

fn drive<O, L: FnMut()>(
    py: Python<'_>,
    held: &impl Shared<State = O::State>,
    wait: &mut Wait<O>,
    deadline: Option<u64>,
    threads: Vec<Arc<Waiter<TaskHandle>>>,
    look_out: impl Fn() -> Option<L> + Sync,
) -> PyResult<Option<O::Output>>
where
    O: Source,
    O::State: State<Notify = TaskHandle> + Send,
{
    still_halts_at_exit();
    let mut threads = Reminded(threads);
    let glances = runs_signal_handlers();
    let mut deadline = Deadline::new(deadline);
    if !O::STAYS_IN_LINE
        && let Some(task) = first_of_own_loop(py, held, wait)?
    {
        wait.precede(task.since());
    }
    loop {
        let make = |since| Waiter::thread(thread_owner(), since);
        let waiter = match wait.attempt(held, clock::now, make) {
            Attempt::Done(output) => return Ok(Some(output)),
            Attempt::Pending(waiter) => waiter,
        };
        let end = deadline.of(wait, clock::now);
        let until = alarm(end, glances, waiter.since(), wait.source.doze());
        let park = || {
            detached();
            threads.wake();
            let patience = if O::IS_FROM_WORKER { PATIENCE } else { COURTESY };
            let seen = await_claim(&waiter, until, patience, &look_out);
            if seen { Parked::Woken } else { waiter.park(until) }
        };
        match py.detach(park) {
            Parked::Woken => {}
            Parked::TimedOut if until == end => {
                let output = wait.expire(held, clock::now);
                if output.is_some() || !wait.is_queued() {
                    return Ok(output);
                }
            }
            // Claimed in the same moment: the interpreter runs the handlers soon after.
            _ if !waiter.is_waiting() => {}
            Parked::TimedOut | Parked::Interrupted => handle_signals(py, held, wait)?,
        }
    }
}

/// When to wake up if nobody does it: at the deadline, to look for a signal, or because whoever
/// claimed this waiter may have left it to itself. Attached until it parks, so that no claimer can
/// read the clock before this does.
fn alarm(deadline: Option<u64>, glances: bool, since: u64, doze: u64) -> Option<u64> {
    if !glances && doze == 0 {
        return deadline;
    }
    let now = clock::now();
    let glance = glances.then_some(now + GLANCE);
    let doze = Some(since + doze).filter(|end| now < *end);
    [deadline, glance, doze].into_iter().flatten().min()
}

/// Drives `wait` to its end however often a signal handler raises; what the first one raised is
/// beside the output, to be raised once the caller is in order again.
pub fn block_for_sure<O>(
    py: Python<'_>,
    state: &Protected<O::State>,
    wait: &mut Wait<O>,
) -> (O::Output, PyResult<()>)
where
    O: Source,
    O::State: State<Notify = TaskHandle> + Send,
{
    let mut raised = Ok(());
    loop {
        match block_on(py, state, wait, None) {
            Ok(Some(output)) => return (output, raised),
            Ok(None) => {}
            Err(error) => raised = raised.and(Err(error)),
        }
    }
}

/// Threads that are owed a wake-up, which they get at the latest when this is dropped.
struct Reminded(Vec<Arc<Waiter<TaskHandle>>>);

impl Reminded {
    fn wake(&mut self) {
        // They were alive when they were taken from the wakes, in this process: all are reached.
        self.0.drain(..).for_each(|thread| {
            let _ = thread.wake();
        });
    }
}

impl Drop for Reminded {
    fn drop(&mut self) {
        self.wake();
    }
}

/// Runs the Python signal handlers, which may use the very object that is waited for.
fn handle_signals<O, H>(py: Python<'_>, held: &H, wait: &mut Wait<O>) -> PyResult<()>
where
    O: Source,
    H: Shared<State = O::State>,
{
    wait.step_aside(held);
    py.check_signals().inspect_err(|_| wait.abandon(held, clock::now))
}

/// Changes a state and wakes, after the lock is gone, whom the change claimed.
pub fn wake<S, R>(
    py: Python<'_>,
    state: &Protected<S>,
    change: impl FnOnce(&mut S, &mut Wakes<TaskHandle>) -> R,
) -> R
where
    S: State<Notify = TaskHandle>,
{
    let held = state.held(py);
    let mut wakes = Wakes::default();
    let result = state.with(py, |state| change(state, &mut wakes));
    deliver(&held, wakes);
    result
}
