//! Handles of `call_soon_threadsafe`, from Python 3.14 on: who cancels one in another thread, or asks
//! whether it is cancelled, waits while its callback runs.
//!
//! A callback that begins, and who cancels it, each change the handle's flags in one step: the one
//! sees the other's mark.

use super::layout::{AWAITED, CANCELLED, GUARDED, HandleObject, RUNNING};
use crate::boundary::PerProcess;
use crate::event_loop::turn::run_plain;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// So often one who waits looks for signals.
const SIGNALS: Duration = Duration::from_millis(50);

/// Rung when a callback has ended that somebody waits for; one for all handles.
#[derive(Default)]
struct Gate {
    lock: Mutex<()>,
    bell: Condvar,
}

static GATE: PerProcess<Gate> = PerProcess::new();

thread_local! {
    /// What this thread runs; a loop may be run inside a callback.
    static RUNS: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// Calls it, unless it is cancelled, as [`run_handle`](crate::event_loop::turn::run_handle) does.
#[cold]
pub fn run(py: Python<'_>, handle: HandleObject) -> PyResult<()> {
    let mut done = Ok(());
    if handle.change(RUNNING, 0) & CANCELLED == 0 {
        RUNS.with_borrow_mut(|runs| runs.push(handle.as_ptr() as usize));
        done = run_plain(py, handle);
        RUNS.with_borrow_mut(|runs| runs.pop());
    }
    if handle.change(0, RUNNING | AWAITED) & AWAITED != 0 {
        let Gate { lock, bell } = GATE.get();
        let _gate = lock.lock().unwrap_or_else(PoisonError::into_inner);
        bell.notify_all();
    }
    done
}

/// Waits until its callback does not run any more, but for the thread that runs it.
pub fn await_end(py: Python<'_>, handle: HandleObject) -> PyResult<()> {
    if !handle.is(GUARDED) || handle.change(0, 0) & RUNNING == 0 {
        return Ok(());
    }
    if RUNS.with_borrow(|runs| runs.contains(&(handle.as_ptr() as usize))) {
        return Ok(());
    }
    while handle.change(AWAITED, 0) & RUNNING != 0 {
        let flags = &handle.tail().flags;
        py.detach(|| {
            let Gate { lock, bell } = GATE.get();
            let gate = lock.lock().unwrap_or_else(PoisonError::into_inner);
            if flags.load(Ordering::Relaxed) & RUNNING != 0 {
                drop(bell.wait_timeout(gate, SIGNALS));
            }
        });
        py.check_signals()?;
    }
    handle.change(0, AWAITED);
    Ok(())
}
