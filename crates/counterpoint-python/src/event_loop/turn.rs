//! The turns of a loop: ask the kernel, see which timers are due, run what is ready.

use super::MEMORIES;
use super::context;
use super::handle::{CANCELLED, Call, GUARDED, HandleObject, KEEPS, guard};
use super::native::{
    ADOPTED, DEBUG, HOLDING, Loop, MEASURED, OWN_CLOCK, STOPPING, State, WATCHED, unschedule,
};
use super::operation;
use super::queue::Due;
use super::system::System;
use crate::boundary::{halts_at_exit, os_error, still_halts_at_exit};
use crate::executor::reference::Ref;
use counterpoint_reactor::clock;
use counterpoint_reactor::pace::Pace;
use counterpoint_reactor::poller::{Events, Poller};
use pyo3::exceptions::{PyBaseException, PyKeyboardInterrupt, PySystemExit};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

impl Loop {
    /// Turns until `stop()`; an error is one that ends a program (Ctrl-C, exit), and leaves the loop
    /// as it is: it can be run again.
    pub fn spin(&self, py: Python<'_>, owner: &Bound<'_, PyAny>) -> PyResult<()> {
        halts_at_exit();
        let done = self.turn_until_stopped(py, owner);
        self.disown(py);
        context::drop_spare(py);
        operation::release(py);
        done
    }

    fn turn_until_stopped(&self, py: Python<'_>, owner: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut system = self.system(py)?;
        let mut pace = Pace::default();
        // Whatever a loop is run for, the kernel has news first.
        self.turn(py, owner, &system, &mut pace, true)?;
        while !self.is(STOPPING) {
            if system.is_parents() {
                system = self.system(py)?;
            }
            self.turn(py, owner, &system, &mut pace, false)?;
        }
        Ok(())
    }

    /// One turn.
    #[inline(always)]
    pub fn turn(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        system: &System,
        pace: &mut Pace,
        poll: bool,
    ) -> PyResult<()> {
        self.counters.turns.add(1);
        operation::release(py);
        if self.is(MEASURED | ADOPTED) {
            self.disown(py);
            if self.is(MEASURED) {
                return self.turn_measured(py, owner, system, pace, poll);
            }
        }
        let idle = self.state.with(py, |state| state.ready.is_empty());
        if poll || idle || pace.must_poll(clock::now) {
            let has_told = self.poll(py, owner, system)?;
            polled(py, pace, clock::now(), has_told);
        }
        self.fire(py, owner)?;
        let ran = self.run_ready(py, owner)?;
        pace.ran(ran);
        Ok(())
    }

    /// Asks the kernel what has happened, and sleeps there if there is nothing else to do; whether something
    /// has.
    pub fn poll(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        system: &System,
    ) -> PyResult<bool> {
        self.counters.polls.add(1);
        self.end_turn(py, owner)?; // of which this is a part, if a callback has the loop turn
        self.drop_cancelled(py);
        let own = if self.is(OWN_CLOCK) { Some(own_time(owner)?.1) } else { None };
        let timeout = self.state.with(py, |state| self.may_sleep(state, own));
        let mut events = Events::new();
        let found = if timeout == Some(0) {
            system.poller.wait(&mut events, timeout)
        } else {
            let events = &mut events;
            still_halts_at_exit();
            let found = py.detach(|| system.poller.wait(events, timeout));
            self.state.with(py, |state| state.ready.unpark());
            found
        };
        match found {
            Ok(events) => {
                self.dispatch(py, system, events);
                Ok(!events.is_empty())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                py.check_signals().map(|()| false)
            }
            Err(error) => Err(os_error(&error)),
        }
    }

    /// How long to sleep, in nanoseconds; `None`: until something happens.
    fn may_sleep(&self, state: &mut State, own: Option<u64>) -> Option<u64> {
        if self.is(STOPPING) || !state.ready.park() {
            return Some(0);
        }
        let timeout = state.timers.first()?.saturating_sub(own.unwrap_or_else(clock::now));
        if timeout == 0 {
            state.ready.unpark();
        }
        Some(timeout)
    }

    /// Queues what events are news for.
    fn dispatch(&self, py: Python<'_>, system: &System, events: &[libc::epoll_event]) {
        if events.is_empty() {
            return;
        }
        let alarm = system.alarm.as_fd().as_raw_fd();
        let rung = self.state.with(py, |state| {
            let mut rung = false;
            let cut_short = mem::take(&mut state.is_cut_short);
            let State { ready, registry, .. } = state;
            for event in events.iter().map(Poller::read) {
                rung |= event.fd == alarm;
                registry.dispatch(&system.poller, event, |due| {
                    if !(cut_short && ready.has(&due)) {
                        let _is_awake = ready.push(due);
                    }
                });
            }
            rung
        });
        if rung {
            system.alarm.silence();
        }
    }

    /// Queues the timers that are due.
    #[inline(always)]
    pub fn fire(&self, py: Python<'_>, owner: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.state.with(py, |state| state.timers.is_empty()) {
            return Ok(());
        }
        let now = if self.is(OWN_CLOCK) { own_time(owner)?.1 } else { clock::now() };
        while let Some(timer) = self.state.with(py, |state| state.timers.pop_due(now)) {
            unschedule(&timer);
            self.state.with(py, |state| {
                let cancelled =
                    HandleObject::check(timer.as_ptr()).is_some_and(|t| t.is(CANCELLED));
                if cancelled {
                    state.timers.forget_cancelled();
                    return Some(timer);
                }
                let _is_awake = state.ready.push(Due::Call(timer));
                self.counters.fired.add(1);
                None
            });
        }
        Ok(())
    }

    /// Runs what is ready now, and not what becomes ready meanwhile; how many that were.
    #[inline(always)]
    fn run_ready(&self, py: Python<'_>, owner: &Bound<'_, PyAny>) -> PyResult<usize> {
        let count = self.state.with(py, |state| state.ready.len());
        for ran in 0..count {
            let Some(due) = self.next_due(py, count) else { break };
            if let Err(error) = self.run_numbered(py, owner, &due, ran) {
                self.counters.callbacks.add(ran as u64 + 1);
                return self.noted(py, Err(error));
            }
            due.done();
        }
        self.counters.callbacks.add(count as u64);
        let done = self.end_turn(py, owner);
        self.noted(py, done.map(|()| count))
    }

    /// Notes whether the run is cut short by how a turn has ended.
    #[inline(always)]
    pub fn noted<T>(&self, py: Python<'_>, done: PyResult<T>) -> PyResult<T> {
        if done.is_err() {
            self.state.with(py, |state| state.is_cut_short = true);
        }
        done
    }

    /// All callbacks of the turn have run: what they have held back is sent.
    #[inline(always)]
    pub fn end_turn(&self, py: Python<'_>, owner: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.is(HOLDING) { self.send_all_held(py, owner, Ok(())) } else { Ok(()) }
    }

    /// Runs a callback of this turn, in which so many ran before, and sees to what is held back.
    #[inline(always)]
    pub fn run_numbered(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        due: &Due,
        ran: usize,
    ) -> PyResult<()> {
        let before = self.counters.callbacks.get() + ran as u64;
        self.runs((before + 1) as u32, due.is_scheduled());
        let done = self.run(py, owner, due);
        self.runs_nothing();
        if self.is(HOLDING) { self.after_holding(py, owner, due, done) } else { done }
    }

    #[inline(always)]
    fn run(&self, py: Python<'_>, owner: &Bound<'_, PyAny>, due: &Due) -> PyResult<()> {
        if self.is(DEBUG | WATCHED) {
            return self.run_closely(py, owner, due);
        }
        self.run_due(py, owner, due)
    }

    #[cold]
    fn run_closely(&self, py: Python<'_>, owner: &Bound<'_, PyAny>, due: &Due) -> PyResult<()> {
        if self.is(WATCHED) {
            return self.run_watched(py, owner, due);
        }
        self.run_debugged(py, owner, due)
    }

    #[inline(always)]
    pub fn run_due(&self, py: Python<'_>, owner: &Bound<'_, PyAny>, due: &Due) -> PyResult<()> {
        match due {
            Due::Call(handle) => match HandleObject::check(handle.as_ptr()) {
                Some(handle) => run_handle(py, handle),
                None => run_other(&handle.bind(py)),
            },
            Due::Bare(bare) => bare.run(py, owner),
            Due::Read(transport) => {
                let done = super::stream::read(py, self, transport.as_ptr());
                done.or_else(|error| transport_failed(owner, transport, error))
            }
            Due::Write(transport) => {
                let done = super::stream::write_more(py, self, transport.as_ptr());
                done.or_else(|error| transport_failed(owner, transport, error))
            }
            Due::Operation(operation) => operation::ready(py, self, operation),
        }
    }

    /// The same in debug mode: says which handle runs, and logs what takes long.
    #[cold]
    pub fn run_debugged(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        due: &Due,
    ) -> PyResult<()> {
        if let Due::Call(handle) = due {
            if HandleObject::check(handle.as_ptr()).is_some_and(|handle| handle.is(CANCELLED)) {
                return Ok(());
            }
            self.set_current(py, Some(handle.share()));
        }
        let begun = clock::now();
        let done = self.run_due(py, owner, due);
        let took = clock::seconds(clock::now() - begun);
        self.set_current(py, None);
        done?;
        let limit: f64 = owner.getattr(intern!(py, "slow_callback_duration"))?.extract()?;
        if took >= limit {
            let shown = due.shown(py, owner)?;
            owner.call_method1(intern!(py, "_callback_was_slow"), (shown.bind(py), took))?;
        }
        Ok(())
    }

    fn set_current(&self, py: Python<'_>, handle: Option<Ref>) {
        let before = self.state.with(py, |state| std::mem::replace(&mut state.current, handle));
        drop(before);
    }
}

/// What the `time()` of the loop's class says, and the same as timers have it.
#[cold]
pub fn own_time(owner: &Bound<'_, PyAny>) -> PyResult<(f64, u64)> {
    let now = owner.call_method0(intern!(owner.py(), "time"))?.extract()?;
    Ok((now, clock::deadline(now)))
}

/// The kernel was asked just now.
#[inline(always)]
pub fn polled(py: Python<'_>, pace: &mut Pace, now: u64, has_told: bool) {
    pace.polled(now, has_told);
    MEMORIES.iter().for_each(|memory| memory.age(py, now));
}

/// Calls Python as an `except` clause does: the exception is what `sys.exc_info()` gives, and the context
/// of what is raised meanwhile.
pub fn handling<'py>(
    error: PyErr,
    py: Python<'py>,
    call: impl FnOnce(Bound<'py, PyBaseException>) -> PyResult<Bound<'py, PyAny>>,
) -> PyResult<()> {
    let error = error.into_value(py).into_bound(py);
    // SAFETY: an exception, or null for none.
    unsafe {
        let before = Ref::owned(ffi::PyErr_GetHandledException());
        ffi::PyErr_SetHandledException(error.as_ptr());
        let done = call(error);
        ffi::PyErr_SetHandledException(before.map_or(ptr::null_mut(), |error| error.as_ptr()));
        done.map(drop)
    }
}

/// What a transport did not deal with itself goes to the exception handler, unless it is to end the
/// program.
#[cold]
pub fn transport_failed(owner: &Bound<'_, PyAny>, transport: &Ref, error: PyErr) -> PyResult<()> {
    let py = owner.py();
    if is_fatal(py, &error) {
        return Err(error);
    }
    let name = intern!(py, "_transport_failed");
    handling(error, py, |error| owner.call_method1(name, (transport.bind(py), error)))
}

/// The transport is at its end, for that reason, which goes to the exception handler.
#[cold]
pub fn fatal_error(transport: &Bound<'_, PyAny>, error: PyErr, message: &str) -> PyResult<()> {
    let py = transport.py();
    let name = intern!(py, "_fatal_error");
    handling(error, py, |error| transport.call_method1(name, (error, message)))
}

/// So it is with what a callback of its protocol has raised, unless that is to end the program.
#[cold]
pub fn callback_failed(transport: &Bound<'_, PyAny>, error: PyErr, message: &str) -> PyResult<()> {
    if is_fatal(transport.py(), &error) {
        return Err(error);
    }
    fatal_error(transport, error, message)
}

/// A handle of the stdlib's.
#[cold]
fn run_other(handle: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = handle.py();
    if !handle.getattr(intern!(py, "_cancelled"))?.is_truthy()? {
        handle.call_method0(intern!(py, "_run"))?;
    }
    Ok(())
}

/// Calls a handle's callback in its context. What it raises goes to the loop's exception handler,
/// unless it is to end the program.
#[inline(always)]
pub fn run_handle(py: Python<'_>, handle: HandleObject) -> PyResult<()> {
    if handle.is(GUARDED) {
        return guard::run(py, handle);
    }
    run_plain(py, handle)
}

/// The same of one that is not guarded.
#[inline(always)]
pub fn run_plain(py: Python<'_>, handle: HandleObject) -> PyResult<()> {
    match called(py, handle) {
        Some(call) => run_call(py, Some(handle), &call),
        None => Ok(()),
    }
}

/// What is to be called, unless it is cancelled; it is the caller's then, if the handle is done with.
#[inline(always)]
pub fn called(py: Python<'_>, handle: HandleObject) -> Option<Call> {
    if handle.is(KEEPS) { handle.call(py) } else { handle.take(py) }
}

/// Calls it in its context, as [`run_handle`] does, with or without a handle.
#[inline(always)]
pub fn run_call(py: Python<'_>, handle: Option<HandleObject>, call: &Call) -> PyResult<()> {
    if let Some(context) = &call.context {
        return run_in(py, handle, call, context);
    }
    let keeps = handle.filter(|handle| handle.is(KEEPS));
    let context = context::take_spare(py)?;
    let done = run_in(py, handle, call, &context);
    if context::is_untouched(&context) {
        context::give_spare(py, context);
    } else if let Some(handle) = keeps {
        // It is called again in the same context.
        drop(handle.set_context(py, context));
    }
    done
}

#[inline(always)]
fn run_in(
    py: Python<'_>,
    handle: Option<HandleObject>,
    call: &Call,
    context: &Ref,
) -> PyResult<()> {
    let done = call_in(py, context, || call.make());
    done.or_else(|raised| report(py, handle, call, context, raised))
}

/// Makes a call in a context: what returns a reference of its own, or null with an exception set.
#[inline(always)]
pub fn call_in(
    py: Python<'_>,
    context: &Ref,
    make: impl FnOnce() -> *mut PyObject,
) -> PyResult<()> {
    context::enter(py, context, || {
        // SAFETY: as is said above.
        match unsafe { Ref::owned(make()) } {
            Some(_) => Ok(()),
            None => Err(crate::boundary::fetch(py)),
        }
    })
}

/// Whether the exception is to end the program, and not the callback alone.
pub fn is_fatal(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}

#[cold]
pub fn report(
    py: Python<'_>,
    handle: Option<HandleObject>,
    call: &Call,
    context: &Ref,
    error: PyErr,
) -> PyResult<()> {
    if is_fatal(py, &error) {
        return Err(error);
    }
    let Some(owner) = call.owner.as_ref() else { return Ok(()) };
    let shown = match handle {
        // SAFETY: alive: whoever runs it holds it.
        Some(handle) => unsafe { Ref::new(handle.as_ptr()) },
        None => HandleObject::of(py, call, Some(context))?,
    };
    // SAFETY: a handle of ours, which is held.
    let handle = unsafe { HandleObject::from_ptr(shown.as_ptr()) };
    let keeps = handle.is(KEEPS);
    if keeps {
        drop(handle.set_context(py, context.share()));
    } else {
        handle.put_back(py, call, context);
    }
    let name = intern!(py, "_callback_failed");
    let tell = |error| owner.bind(py).call_method1(name, (shown.bind(py), error));
    let reported = handling(error, py, tell);
    if !keeps {
        drop(handle.empty(py));
    }
    reported
}
