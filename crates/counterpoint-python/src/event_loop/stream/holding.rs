//! Holding back: what a callback writes piece by piece leaves in one system call, and one packet; what
//! the callbacks of a turn write leaves when they have run.
//!
//! Of a callback that is expected to write several pieces, or to be one of many that write
//! ([`counterpoint_reactor::habit`]), the first piece is kept. It is sent when a callback that an event
//! runs has ended; of one that was scheduled, as a server's tasks are, when the turn has ended, or
//! [`PATIENCE`] is over, or there is much. The first that is sent wakes the client: who answers a request
//! at a time then runs against it for each that follows. Everybody else's is sent at once. To the program
//! it is as good as sent, and the buffer empty. That is done for connections that a server of the loop
//! has accepted: of others the program may have the socket itself.

use super::TRANSPORT;
use super::connection::Connection;
use super::writing::{failed, flush, watch};
use crate::boundary::{os_error, thread_owner};
use crate::event_loop::context;
use crate::event_loop::native::{HOLDING, Loop};
use crate::event_loop::queue::Due;
use crate::event_loop::turn::transport_failed;
use crate::executor::reference::Ref;
use counterpoint_reactor::clock;
use counterpoint_reactor::habit::Until;
use counterpoint_reactor::phase::Flag;
use counterpoint_reactor::poller::WRITE;
use counterpoint_sync::waiter::fork;
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use std::mem;

/// No more bytes than so many are held back.
pub const MOST: usize = 16 * 1024;

/// For so many nanoseconds, and until the callback that runs then has ended.
const PATIENCE: u64 = 500_000;

/// What was held back longer is not held back for a while: a callback takes long.
const LATE: u64 = 4 * PATIENCE;

/// The list of those who hold something back is kept with room for so many.
const KEPT: usize = 1024;

/// Whether so many bytes are to be held back, if nothing is queued before them: that is expected to be of
/// use, and the callback that writes them is the one that the loop runs.
#[inline(always)]
pub fn is_to_hold(
    py: Python<'_>,
    connection: &Connection,
    transport: *mut PyObject,
    size: usize,
) -> bool {
    let native = connection.native.get();
    connection.phase.is(Flag::Holds)
        && connection.habit.holds(native.writer()).is_some_and(|until| note(py, native, until))
        && (1..=MOST).contains(&size)
        && native.thread() == thread_owner() as u64
        && !is_watched(py, connection, transport)
}

/// Notes that something is to be sent when the callback ends, and with it all.
#[inline(always)]
fn note(py: Python<'_>, native: &Loop, until: Until) -> bool {
    if until == Until::CallbackEnds {
        native.state.with(py, |state| state.held_briefly = true);
    }
    true
}

/// Whether the loop is to tell when there is room, or has just told.
#[cold]
pub fn is_watched(py: Python<'_>, connection: &Connection, transport: *mut PyObject) -> bool {
    let state = &connection.native.get().state;
    state.with(py, |state| state.registry.is_told(connection.watched(), WRITE, transport))
}

/// What was queued is held back.
pub fn hold(py: Python<'_>, connection: &Connection, transport: &Bound<'_, PyAny>) {
    let native = connection.native.get();
    native.state.with(py, |state| {
        if state.held.is_empty() {
            state.held_since = clock::now();
        }
        state.held.push(transport.clone().into());
    });
    native.flag(HOLDING, true);
}

/// Nothing is held back any more; whether something was, which is to be sent. In a child that was
/// forked meanwhile it is its parent's, and is dropped.
pub fn end_holding(py: Python<'_>, connection: &Connection) -> bool {
    let (was_held, parents) = connection.inside.with(py, |inside| match inside.held.take() {
        Some(generation) if generation != fork::generation() => {
            (false, Some(inside.outgoing.clear()))
        }
        held => (held.is_some(), None),
    });
    drop(parents);
    was_held
}

/// Sends what is held back, and sees to what comes of that, in the context that is entered.
pub fn send_held(
    py: Python<'_>,
    connection: &Connection,
    transport: &Bound<'_, PyAny>,
) -> PyResult<()> {
    if !end_holding(py, connection) {
        return Ok(());
    }
    let error = match flush(py, connection) {
        Ok(true) => return all_sent(connection, transport),
        Ok(false) => match watch(py, connection, transport) {
            Ok(()) => {
                transport.call_method0(intern!(py, "_maybe_pause_protocol"))?;
                return Ok(());
            }
            Err(error) => error,
        },
        Err(error) => os_error(&error),
    };
    failed(connection, transport, error)
}

/// Nothing is left: whoever has waited for that goes on. Most have not, since what is held back is sent
/// before anybody begins to wait; but another thread, or a signal's handler, may write in between.
#[inline(always)]
fn all_sent(connection: &Connection, transport: &Bound<'_, PyAny>) -> PyResult<()> {
    if connection.phase.is_awaited_empty() {
        transport.call_method0(intern!(transport.py(), "_all_sent"))?;
    }
    Ok(())
}

/// Sends what is held back, as far as that goes. What the kernel does not take is sent, or is the
/// error that is told of, when the callback has ended.
pub fn try_to_send_held(py: Python<'_>, connection: &Connection) {
    let generation = fork::generation();
    if connection.inside.with(py, |inside| inside.held == Some(generation)) {
        let sent = flush(py, connection);
        if matches!(sent, Ok(true)) {
            connection.inside.with(py, |inside| {
                // The loop's thread may have written more meanwhile.
                inside.held = inside.held.filter(|_| !inside.outgoing.is_empty());
            });
        }
    }
}

impl Loop {
    /// A callback has ended, in that way: sends what is held back, unless more callbacks are to come that
    /// hold back too.
    #[inline(never)]
    pub fn after_holding(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        due: &Due,
        done: PyResult<()>,
    ) -> PyResult<()> {
        if done.is_ok() && due.is_scheduled() {
            let (since, briefly) =
                self.state.with(py, |state| (state.held_since, state.held_briefly));
            if !briefly && clock::now().saturating_sub(since) < PATIENCE {
                return Ok(());
            }
        }
        self.send_all_held(py, owner, done)
    }

    /// What was held back is sent.
    #[inline(never)]
    pub fn send_all_held(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        mut done: PyResult<()>,
    ) -> PyResult<()> {
        self.flag(HOLDING, false);
        let (mut held, since) = self.state.with(py, |state| {
            state.held_briefly = false;
            (mem::take(&mut state.held), state.held_since)
        });
        let is_late = clock::now().saturating_sub(since) >= LATE;
        for transport in held.drain(..) {
            let sent = send_in_context(py, &transport.bind(py), is_late);
            let sent = sent.or_else(|error| transport_failed(owner, &transport, error));
            done = done.and(sent);
        }
        if held.capacity() <= KEPT {
            self.state.with(py, |state| {
                if state.held.capacity() == 0 {
                    state.held = held;
                }
            });
        }
        done
    }
}

fn send_in_context(py: Python<'_>, transport: &Bound<'_, PyAny>, is_late: bool) -> PyResult<()> {
    // SAFETY: a transport of ours, which the caller holds.
    let Some(connection) = (unsafe { TRANSPORT.get(py, transport.as_ptr()) }) else {
        return Ok(());
    };
    if is_late {
        connection.habit.was_late();
    }
    let context = connection.inside.with(py, |inside| inside.context.as_ref().map(Ref::share));
    let sent = connection.within(py, context, |context| {
        context::enter(py, context, || send_held(py, connection, transport))
    });
    sent.or_else(|error| {
        // It may be that the context cannot be entered: nobody would send it any more.
        send_held(py, connection, transport)?;
        Err(error)
    })
}
