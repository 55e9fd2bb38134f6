//! Holding back: what a callback writes piece by piece leaves in one system call, and one packet.
//!
//! Who has written several pieces in each of the last few callbacks, as a server does that writes a
//! head and a body, is expected to do so again: the first piece is kept then until the callback has
//! ended, or there is much. Everybody else's is sent at once. To the program it is as good as sent,
//! and the buffer empty.

use super::TRANSPORT;
use super::connection::{AWAITED, CLOSING, Connection, EOF, HELD};
use super::writing::{flush, watch};
use crate::boundary::{os_error, thread_owner};
use crate::event_loop::context;
use crate::event_loop::native::{HOLDING, Loop};
use crate::event_loop::turn::transport_failed;
use crate::executor::reference::Ref;
use counterpoint_sync::waiter::fork;
use pyo3::ffi::PyObject;
use pyo3::intern;
use pyo3::prelude::*;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// After so many callbacks in a row with several pieces each, several are expected.
const STREAK: u8 = 3;

/// No more bytes than so many are held back.
pub const MOST: usize = 16 * 1024;

/// How a connection is written to.
#[derive(Default)]
pub struct Habit {
    /// The number of the callback that has written last.
    callback: AtomicU32,
    /// It has written several pieces.
    several: AtomicBool,
    /// So many before it, in a row, have.
    streak: AtomicU8,
}

impl Habit {
    /// A piece is written by the callback of that number (0: by none); whether more are expected from
    /// it.
    #[inline(always)]
    pub fn expects_more(&self, callback: u32) -> bool {
        if callback == 0 {
            return false;
        }
        if self.callback.load(Ordering::Relaxed) == callback {
            self.several.store(true, Ordering::Relaxed);
            return false;
        }
        let before = self.streak.load(Ordering::Relaxed);
        let several = self.several.load(Ordering::Relaxed);
        let streak = if several { (before + 1).min(STREAK) } else { 0 };
        self.callback.store(callback, Ordering::Relaxed);
        self.several.store(false, Ordering::Relaxed);
        self.streak.store(streak, Ordering::Relaxed);
        streak == STREAK
    }
}

/// The transports that hold something back.
#[derive(Default)]
pub struct Held {
    transports: Vec<Ref>,
    /// Of which process they are.
    generation: u32,
}

/// Whether so many bytes are to be held back, with nothing queued before them: more are expected, and
/// the callback that writes them is the one that the loop runs.
#[inline(always)]
pub fn is_to_hold(connection: &Connection, size: usize) -> bool {
    let native = connection.native.get();
    connection.habit.expects_more(native.callback())
        && size <= MOST
        && native.thread() == thread_owner() as u64
}

/// What was queued is held back until the callback has ended.
#[cold]
pub fn hold(py: Python<'_>, connection: &Connection, transport: &Bound<'_, PyAny>) {
    let native = connection.native.get();
    connection.flag(HELD, true);
    native.state.with(py, |state| {
        state.held.transports.push(transport.clone().into());
        state.held.generation = fork::generation();
    });
    native.flag(HOLDING, true);
}

/// Sends what is held back.
pub fn send_held(
    py: Python<'_>,
    connection: &Connection,
    transport: &Bound<'_, PyAny>,
) -> PyResult<()> {
    connection.flag(HELD, false);
    let sent = flush(py, connection);
    if matches!(sent, Ok(true)) && !connection.is(CLOSING | EOF | AWAITED) {
        return Ok(());
    }
    let context = connection.inside.with(py, |inside| inside.context.as_ref().map(Ref::share));
    connection.within(py, context, |context| {
        context::enter(py, context, || has_sent(py, connection, transport, sent))
    })
}

/// Nothing more may be written, or somebody waits for all to be sent: what is held back is sent before
/// that is noted. If the kernel does not take it, it is queued.
#[inline(always)]
pub fn end_holding(
    py: Python<'_>,
    connection: &Connection,
    transport: &Bound<'_, PyAny>,
) -> PyResult<()> {
    if !connection.is(HELD) {
        return Ok(());
    }
    connection.flag(HELD, false);
    // An error is met again, and told of, when the loop tries.
    if matches!(flush(py, connection), Ok(true)) {
        return Ok(());
    }
    watch(py, connection, transport)
}

#[cold]
fn has_sent(
    py: Python<'_>,
    connection: &Connection,
    transport: &Bound<'_, PyAny>,
    sent: io::Result<bool>,
) -> PyResult<()> {
    match sent {
        Ok(true) => transport.call_method0(intern!(py, "_all_sent"))?,
        Ok(false) => {
            watch(py, connection, transport)?;
            transport.call_method0(intern!(py, "_maybe_pause_protocol"))?
        }
        Err(error) => {
            drop(connection.inside.with(py, |inside| inside.outgoing.clear()));
            let error = os_error(&error).into_value(py);
            transport.call_method1(intern!(py, "_write_failed"), (error,))?
        }
    };
    Ok(())
}

impl Loop {
    /// The callback has ended, in that way: what it has held back is sent.
    #[cold]
    pub fn send_all_held(
        &self,
        py: Python<'_>,
        owner: &Bound<'_, PyAny>,
        mut done: PyResult<()>,
    ) -> PyResult<()> {
        self.flag(HOLDING, false);
        let held = self.state.with(py, |state| mem::take(&mut state.held));
        // A child that was forked meanwhile leaves it to its parent.
        let is_ours = held.generation == fork::generation();
        for transport in &held.transports {
            let sent = leave_or_send(py, transport.as_ptr(), is_ours);
            let sent = sent.or_else(|error| transport_failed(owner, transport, error));
            done = done.and(sent);
        }
        done
    }
}

fn leave_or_send(py: Python<'_>, transport: *mut PyObject, is_ours: bool) -> PyResult<()> {
    // SAFETY: a transport of ours, which the caller holds.
    let connection = unsafe { TRANSPORT.get(py, transport) };
    let Some(connection) = connection.filter(|connection| connection.is(HELD)) else {
        return Ok(());
    };
    if !is_ours {
        connection.flag(HELD, false);
        drop(connection.inside.with(py, |inside| inside.outgoing.clear()));
        return Ok(());
    }
    // SAFETY: as above.
    send_held(py, connection, &unsafe { Bound::from_borrowed_ptr(py, transport) })
}

#[cfg(test)]
mod tests {
    use super::Habit;

    /// Whether the first piece of each callback, with so many pieces, is held back.
    fn held(pieces: &[usize]) -> Vec<bool> {
        let habit = Habit::default();
        let numbered = (1..).zip(pieces);
        numbered
            .map(|(callback, pieces)| {
                let first = habit.expects_more(callback);
                assert!((1..*pieces).all(|_| !habit.expects_more(callback)));
                first
            })
            .collect()
    }

    #[test]
    fn who_writes_several_pieces_each_time_is_expected_to() {
        assert_eq!(held(&[2, 3, 2, 2, 2]), [false, false, false, true, true]);
    }

    #[test]
    fn who_writes_one_is_not() {
        assert_eq!(held(&[1, 1, 1, 1, 1]), [false; 5]);
        assert_eq!(held(&[2, 2, 2, 1, 2, 2, 2, 2])[3..], [true, false, false, false, true]);
    }

    #[test]
    fn outside_of_a_callback_nothing_is_expected() {
        let habit = Habit::default();
        assert!((0..10).all(|_| !habit.expects_more(0)));
    }
}
