//! [`Limit`]: the soft time limit of the task that a worker runs.
//!
//! A timer of this process signals its main thread; the signal's Python handler asks [`_limit_is_over`]
//! and raises. The limit is an absolute time, set right before the call and taken away right after
//! it, in native code, where no handler can run. So a signal that comes late finds no limit, or that
//! of a later task, which is not over yet: a task is only ever interrupted by its own.

use counterpoint_shm::clock;
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

/// When the time of the current task is over; 0: it has no limit.
static OVER: AtomicU64 = AtomicU64::new(0);
/// How much time it was, in nanoseconds.
static LIMIT: AtomicU64 = AtomicU64::new(0);

/// Called by the signal's handler: the seconds of a limit that is over, once for each.
#[pyfunction]
pub fn _limit_is_over() -> Option<f64> {
    let over = OVER.load(Ordering::Relaxed);
    if over == 0 || clock::now() < over {
        return None;
    }
    OVER.store(0, Ordering::Relaxed);
    Some(LIMIT.load(Ordering::Relaxed) as f64 / 1e9)
}

/// A worker's timer, which it makes when it first needs one.
#[derive(Default)]
pub struct Limit(Option<Timer>);

impl Limit {
    /// Limits what the main thread does from now on.
    pub fn set(&mut self, py: Python<'_>, limit: u64) -> PyResult<()> {
        let timer = match self.0.take() {
            Some(timer) => timer,
            None => Timer::new(py)?,
        };
        let over = clock::now().saturating_add(limit.max(1)).min(i64::MAX as u64);
        LIMIT.store(limit, Ordering::Relaxed);
        OVER.store(over, Ordering::Relaxed);
        let set = timer.set(over);
        self.0 = Some(timer);
        set
    }

    /// Takes the limit away.
    pub fn clear(&self) {
        OVER.store(0, Ordering::Relaxed);
        if let Some(timer) = &self.0 {
            // It can only fail for a timer that is none.
            let _ = timer.set(0);
        }
    }
}

struct Timer(libc::timer_t);

// SAFETY: the number of a timer; every thread may use it.
unsafe impl Send for Timer {}

impl Timer {
    fn new(py: Python<'_>) -> PyResult<Self> {
        let signal = py.import("counterpoint._process.limits")?.call_method0("signal_number")?;
        // SAFETY: all zeros is a valid event; it lives through the call, which fills in the timer.
        unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = signal.extract()?;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = std::mem::zeroed();
            check(libc::timer_create(libc::CLOCK_MONOTONIC, &mut event, &mut timer))?;
            Ok(Self(timer))
        }
    }

    /// To an absolute time; 0: never.
    fn set(&self, at: u64) -> PyResult<()> {
        let none = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        let it_value = libc::timespec {
            tv_sec: (at / 1_000_000_000) as libc::time_t,
            tv_nsec: (at % 1_000_000_000) as libc::c_long,
        };
        let time = libc::itimerspec { it_interval: none, it_value };
        // SAFETY: a timer of this process; the time lives through the call.
        check(unsafe {
            libc::timer_settime(self.0, libc::TIMER_ABSTIME, &time, std::ptr::null_mut())
        })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and used by nobody else.
        unsafe { libc::timer_delete(self.0) };
    }
}

fn check(result: i32) -> PyResult<()> {
    match result {
        0 => Ok(()),
        _ => Err(PyOSError::new_err(format!(
            "no timer for a task's limit: {}",
            io::Error::last_os_error()
        ))),
    }
}
