//! The changes of a future's phase: started, finished, cancelled, sent back.

use super::callbacks::{News, add, invoke, remove, share, take, tell};
use super::{FutureObject, layout::Fields, remote, stdlib};
use crate::boundary::{TaskHandle, halts_at_exit};
use crate::executor::pool::end_guesses;
use crate::executor::reference::Ref;
use counterpoint_sync::executor::future::{Cancel, FutureState, Phase, Start};
use counterpoint_sync::waiter::Wakes;
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;

type State = FutureState<TaskHandle>;

/// How a future ends.
pub enum Ending {
    /// With this result.
    Result(Ref),
    /// With this exception.
    Exception(Ref),
}

/// Why a future could not be ended.
pub enum Refused {
    /// It was over, in this phase.
    Over(Phase),
    /// Python raised on the way.
    Raised(PyErr),
}

impl From<PyErr> for Refused {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// The future's `_condition`, acquired; released on drop.
pub struct Acquired<'py>(Bound<'py, PyAny>);

impl<'py> Acquired<'py> {
    fn new(condition: Bound<'py, PyAny>) -> PyResult<Self> {
        halts_at_exit();
        condition.call_method0(intern!(condition.py(), "acquire"))?;
        Ok(Self(condition))
    }

    fn notify_all(&self) -> PyResult<()> {
        self.0.call_method0(intern!(self.0.py(), "notify_all")).map(drop)
    }
}

impl Drop for Acquired<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.call_method0(intern!(self.0.py(), "release")) {
            error.write_unraisable(self.0.py(), Some(&self.0));
        }
    }
}

/// Acquires the condition if there is one.
pub fn acquire<'py>(py: Python<'py>, future: FutureObject) -> PyResult<Option<Acquired<'py>>> {
    // SAFETY: under the lock.
    let condition = future.with(py, |_, fields| unsafe { share(fields.condition) });
    condition.map(|condition| Acquired::new(condition.bind(py).clone())).transpose()
}

/// Changes state and fields, holding the condition if there is one. `change` hears whether it
/// does, as [`FutureObject::with`] does not call Python.
fn change<'py, R>(
    py: Python<'py>,
    future: FutureObject,
    mut change: impl FnMut(&mut State, &mut Fields, bool) -> R,
) -> PyResult<(R, Option<Acquired<'py>>)> {
    let quick = future
        .with(py, |state, fields| fields.condition.is_null().then(|| change(state, fields, false)));
    if let Some(result) = quick {
        return Ok((result, None));
    }
    let acquired = acquire(py, future)?;
    let result = future.with(py, |state, fields| change(state, fields, acquired.is_some()));
    Ok((result, acquired))
}

/// Tells everybody of an end that is in the future already, and that nobody was told of.
pub fn announce(py: Python<'_>, future: FutureObject) -> PyResult<()> {
    let ((news, told), acquired) = change(py, future, |state, fields, held| {
        future.mark_told();
        let news = match (state.phase().is_cancelled(), fields.exception.is_null()) {
            (true, _) => News::Cancelled,
            (_, true) => News::Result,
            (_, false) => News::Exception,
        };
        // SAFETY: under the lock.
        let told = unsafe {
            let observers = observers(fields, held);
            let (callbacks, watchers) = (share(fields.callbacks), take(&mut fields.watchers));
            Told { _old: None, observers, callbacks, watchers }
        };
        (news, told)
    })?;
    let mut told: Told = told;
    if let Some(watchers) = told.watchers.take() {
        end_guesses(py, watchers);
    }
    if let Some(observers) = &told.observers {
        tell(py, future, observers, news)?;
    }
    if let Some(acquired) = acquired {
        acquired.notify_all()?;
    }
    invoke(py, future, told.callbacks)
}

/// Whom an end concerns. The old value of the field is dropped with it, outside the lock.
struct Told {
    _old: Option<Ref>,
    observers: Option<Ref>,
    callbacks: Option<Ref>,
    watchers: Option<Ref>,
}

/// Ends a future: stores the outcome, tells collectors, runs callbacks. The threads that wait for
/// it are claimed into `wakes`, which the caller delivers.
pub fn complete(
    py: Python<'_>,
    future: FutureObject,
    ending: Ending,
    wakes: &mut Wakes<TaskHandle>,
) -> Result<(), Refused> {
    complete_if(py, future, ending, wakes, |_| true)
}

/// The same, if the state is as it should be; otherwise the future counts as over.
#[inline(always)]
fn complete_if(
    py: Python<'_>,
    future: FutureObject,
    ending: Ending,
    wakes: &mut Wakes<TaskHandle>,
    mut condition: impl FnMut(&mut State) -> bool,
) -> Result<(), Refused> {
    let news = match ending {
        Ending::Result(_) => News::Result,
        Ending::Exception(_) => News::Exception,
    };
    let mut ending = Some(ending);
    let (told, acquired) = change(py, future, |state, fields, held| {
        if !condition(state) {
            return Err(state.phase());
        }
        state.finish(wakes)?;
        future.mark_told();
        // SAFETY: under the lock.
        unsafe { Ok(store(fields, ending.take(), held)) }
    })?;
    let mut told: Told = told.map_err(Refused::Over)?;
    if let Some(watchers) = told.watchers.take() {
        end_guesses(py, watchers);
    }
    if let Some(observers) = &told.observers {
        tell(py, future, observers, news)?;
    }
    if let Some(acquired) = acquired {
        acquired.notify_all()?;
    }
    if told.callbacks.is_some() || !future.is_exact() {
        // A callback may take long, or wait for what one of these does next.
        wakes.wake_all();
        invoke(py, future, told.callbacks)?;
    }
    if future.is_remote() {
        remote::release(future);
    }
    Ok(())
}

/// # Safety
/// The caller holds the future's lock.
#[inline(always)]
unsafe fn store(fields: &mut Fields, ending: Option<Ending>, held: bool) -> Told {
    let (field, value) = match ending {
        Some(Ending::Result(value)) => (&mut fields.result, value.into_ptr()),
        Some(Ending::Exception(value)) => (&mut fields.exception, value.into_ptr()),
        None => unreachable!("an ending is stored once"),
    };
    // SAFETY: the fields are null or own what they point to.
    unsafe {
        let old = Ref::owned(std::mem::replace(field, value));
        let observers = observers(fields, held);
        let (callbacks, watchers) = (share(fields.callbacks), take(&mut fields.watchers));
        Told { _old: old, observers, callbacks, watchers }
    }
}

/// Those to be told. A collector of ours is told once and forgotten; with a condition the
/// stdlib's protocol applies, in which observers take themselves off the list.
///
/// # Safety
/// The caller holds the future's lock.
unsafe fn observers(fields: &mut Fields, held: bool) -> Option<Ref> {
    // SAFETY: the caller's promise.
    unsafe { if held { share(fields.observers) } else { take(&mut fields.observers) } }
}

/// A worker takes the future on; collectors hear if it had been cancelled.
pub fn start(py: Python<'_>, future: FutureObject) -> PyResult<Start> {
    let ((start, told), acquired) = change(py, future, |state, fields, held| {
        let start = state.start();
        if start == Start::Cancelled {
            future.mark_told();
        }
        // SAFETY: under the lock.
        let told = (start == Start::Cancelled).then(|| unsafe { observers(fields, held) });
        (start, told.flatten())
    })?;
    if let Some(observers) = told {
        tell(py, future, &observers, News::Cancelled)?;
    }
    drop(acquired);
    Ok(start)
}

/// Sends a running future back to its queue.
pub fn restart(py: Python<'_>, future: FutureObject) -> PyResult<bool> {
    change(py, future, |state, _, _| state.retry()).map(|(done, _)| done)
}

/// Cancels a future that has not started.
pub fn cancel(py: Python<'_>, future: FutureObject) -> PyResult<bool> {
    if remote::is_inherited(future) {
        // It goes on in the parent.
        return Ok(false);
    }
    let withdrawn = remote::withdraw(future);
    let cancelled = cancel_here(py, future)?;
    if withdrawn && cancelled {
        // Nobody else will: it is in no queue any more.
        let _ = start(py, future)?;
        remote::release(future);
    }
    Ok(cancelled)
}

fn cancel_here(py: Python<'_>, future: FutureObject) -> PyResult<bool> {
    let mut wakes = Wakes::default();
    let ((cancel, callbacks, watchers), acquired) = change(py, future, |state, fields, _| {
        let cancel = state.cancel(&mut wakes);
        let watchers = (cancel == Cancel::Now).then_some(&mut fields.watchers);
        // SAFETY: under the lock.
        unsafe { (cancel, share(fields.callbacks), watchers.and_then(|field| take(field))) }
    })?;
    if cancel != Cancel::Now {
        return Ok(cancel == Cancel::Before);
    }
    // First of all: what comes next may raise.
    wakes.wake_all();
    if let Some(watchers) = watchers {
        end_guesses(py, watchers);
    }
    if let Some(acquired) = acquired {
        acquired.notify_all()?;
    }
    invoke(py, future, callbacks)?;
    Ok(true)
}

/// Sets the phase as `_state = …` does.
pub fn force(py: Python<'_>, future: FutureObject, phase: Phase) {
    let mut wakes = Wakes::default();
    let watchers = future.with(py, |state, fields| {
        state.enter(phase, &mut wakes);
        // SAFETY: under the lock.
        phase.is_done().then(|| unsafe { take(&mut fields.watchers) }).flatten()
    });
    wakes.wake_all();
    if let Some(watchers) = watchers {
        end_guesses(py, watchers);
    }
}

/// Ends a future with an exception for whoever waits; nothing if it was over.
pub fn fail(py: Python<'_>, future: FutureObject, error: PyErr) {
    fail_if(py, future, error, |_| true);
}

/// The same, if this attempt runs; whether it did. `count` is called before anybody hears of it,
/// under the future's lock.
pub fn fail_attempt(
    py: Python<'_>,
    future: FutureObject,
    attempt: u32,
    error: PyErr,
    count: impl Fn(),
) -> bool {
    fail_if(py, future, error, |state| {
        let decided = !state.phase().is_done() && state.decide(attempt);
        if decided {
            count();
        }
        decided
    })
}

fn fail_if(
    py: Python<'_>,
    future: FutureObject,
    error: PyErr,
    condition: impl FnMut(&mut State) -> bool,
) -> bool {
    let mut wakes = Wakes::default();
    let exception = Ref::from(error.into_value(py).into_bound(py).into_any());
    let ended = complete_if(py, future, Ending::Exception(exception), &mut wakes, condition);
    wakes.wake_all();
    match ended {
        Ok(()) => true,
        Err(Refused::Over(_)) => false,
        Err(Refused::Raised(error)) => {
            stdlib::log_critical(py, "Exception in worker", error);
            future.with(py, |state, _| state.phase() == Phase::Finished)
        }
    }
}

/// `Some(failed)` if the future is settled; otherwise `observer` will be told.
pub fn settled_or_watch(
    py: Python<'_>,
    future: FutureObject,
    observer: *mut PyObject,
) -> PyResult<Option<bool>> {
    loop {
        remote::settle(py, future)?;
        let answer = add(
            py,
            future,
            |fields| &mut fields.observers,
            observer,
            |state, fields| {
                if remote::is_too_early(state, future) {
                    return Some(None);
                }
                state.phase().is_settled().then(|| Some(!fields.exception.is_null()))
            },
        )?;
        match answer {
            Some(None) => {}
            Some(settled) => return Ok(settled),
            None => return Ok(None),
        }
    }
}

/// Takes an observer off a future that it does not care for any more.
pub fn unwatch(py: Python<'_>, future: FutureObject, observer: &Bound<'_, PyAny>) -> PyResult<()> {
    remove(py, future, |fields| &mut fields.observers, observer)
}
