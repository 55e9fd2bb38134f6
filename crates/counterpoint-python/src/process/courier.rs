//! The threads of a pool in the user's process: the dispatcher, which never attaches, the courier,
//! which does what needs an interpreter, and the [`listener`](super::listener).
//!
//! The courier holds its thread state for as long as it lives, and is detached while it waits. It
//! ends when the pool is over, which the interpreter's exit sees to.

use super::codec::{decode_exception, describe_call};
use super::listener::listen;
use super::pool::{Core, Retry};
use crate::boundary::{TaskHandle, halts_at_exit};
use crate::executor::future::remote::{RemoteJob, settle};
use crate::executor::future::{Ending, FutureObject, announce, log_critical};
use counterpoint_pool::{Content, News, Outcome, StationReport, Word, run};
use counterpoint_shm::clock;
use counterpoint_sync::wait::deliver;
use counterpoint_sync::waiter::turn;
use pyo3::exceptions::PyException;
use pyo3::intern;
use pyo3::prelude::*;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

/// So many workers in a row that die before they are set up break the pool.
const MOST_STILLBORN: usize = 3;

/// Those that were killed need not be to blame: so many do if for so long, in nanoseconds, no worker
/// was set up at all.
const MOST_KILLED: (usize, u64) = (3, 10_000_000_000);

type Tidings = News<TaskHandle, Py<PyAny>>;

/// Starts the threads.
pub fn start(core: Arc<Core>) -> io::Result<()> {
    let _masked = Masked::all();
    let (shared, heard) = (core.shared.clone(), core.clone());
    let ears = named("counterpoint-listener").spawn(move || listen(&heard))?;
    let served = shared.clone();
    let started = named("counterpoint-dispatcher").spawn(move || {
        turn::stand_outside();
        run(&*served);
    });
    let started = started.and_then(|_| named("counterpoint-courier").spawn(|| serve(core, ears)));
    if started.is_err() {
        shared.speech.send(Word::Over);
    }
    started.map(drop)
}

fn named(name: &str) -> thread::Builder {
    thread::Builder::new().name(name.into())
}

/// No signal is delivered to a thread that is started meanwhile: they are the main thread's.
pub struct Masked(libc::sigset_t);

impl Masked {
    /// All signals, until it is dropped.
    pub fn all() -> Self {
        // SAFETY: both sets are initialised by the calls before they are read.
        unsafe {
            let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            Self(before)
        }
    }
}

impl Drop for Masked {
    fn drop(&mut self) {
        // SAFETY: the set is what the call above returned.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, std::ptr::null_mut()) };
    }
}

fn serve(core: Arc<Core>, listener: JoinHandle<()>) {
    // None once the interpreter is gone: then nobody waits for anything any more.
    let _ = core.courier.set(thread::current().id());
    halts_at_exit();
    Python::try_attach(|py| {
        let mut over = false;
        while !over {
            let all = py.detach(|| core.shared.mailbox.wait());
            for news in all {
                over |= matches!(news, News::Over);
                if let Err(error) = act(py, &core, news) {
                    log_critical(py, "Exception in the pool's courier", error);
                }
            }
        }
        // Everything that was said is dealt with before the pool is over.
        let _ = py.detach(|| listener.join());
        if let Err(error) = core.hooks.call_method0(py, intern!(py, "over")) {
            log_critical(py, "Exception in the pool's courier", error);
        }
        core.measured.end(&core.shared);
        core.ended.happened();
    });
}

fn act(py: Python<'_>, core: &Core, news: Tidings) -> PyResult<()> {
    match news {
        News::Ended(job) => ended(py, &job),
        News::Judge(job, outcome) => judge(py, core, job, outcome),
        News::Died(report, jobs) => died(py, core, report, jobs),
        News::Unfit(error) => unfit(py, core, &error),
        News::Wanted => wanted(py, core),
        News::Begun(id) => begun(py, core, id),
        News::Wakes(wakes) => {
            deliver(&*core.shared, wakes);
            Ok(())
        }
        News::Over => Ok(()),
    }
}

fn wanted(py: Python<'_>, core: &Core) -> PyResult<()> {
    if core.shared.with(|pool| pool.wants_nobody()) {
        core.shared.with(|pool| pool.not_launched());
        core.shared.poke();
        return Ok(());
    }
    launched(py, core, core.launch(py))
}

/// As in `submit`: where others are at work it is no harm if one cannot be launched.
fn begun(py: Python<'_>, core: &Core, id: u32) -> PyResult<()> {
    let engaged = core.begun(py, id);
    let stranded = || core.shared.with(|pool| pool.is_stranded());
    match engaged {
        Err(error) if error.is_instance_of::<PyException>(py) && !stranded() => {
            core.shared.poke();
            Ok(())
        }
        engaged => launched(py, core, engaged),
    }
}

/// A worker was launched that nobody submitting waits for. If it could not be, and is the only hope of
/// what waits, the pool is broken; else that is tried again in a while.
fn launched(py: Python<'_>, core: &Core, launched: PyResult<()>) -> PyResult<()> {
    let Err(error) = launched else { return Ok(()) };
    if core.shared.with(|pool| pool.is_stranded()) {
        core.break_up(py, error.value(py))?;
    }
    // It will have to look at the clock.
    core.shared.poke();
    Err(error)
}

/// Tells those who wanted to hear of a future's end.
fn ended(py: Python<'_>, job: &RemoteJob) -> PyResult<()> {
    let Some(future) = job.lock().keeper.take() else { return Ok(()) };
    // SAFETY: only futures are keepers, and this one is alive.
    let object = unsafe { FutureObject::from_ptr(future.as_ptr()) };
    // If decoding is cut short, whoever asks for the result tries again; they must hear of it.
    let settled = settle(py, object);
    announce(py, object)?;
    settled
}

/// A failure that may be worth another try.
fn judge(py: Python<'_>, core: &Core, job: Arc<RemoteJob>, outcome: Outcome) -> PyResult<()> {
    let (wanted, outcome) = wants_retry(py, &job, outcome).unwrap_or_else(|error| {
        // Whatever raises while it is judged has the last word: the job must end.
        (false, Outcome::Failed(Arc::new(error.into_value(py).into_any())))
    });
    core.shared.with(|pool| match wanted {
        true => pool.push_again(job, outcome),
        false => pool.decide(job, outcome),
    });
    core.shared.poke();
    Ok(())
}

fn wants_retry(py: Python<'_>, job: &RemoteJob, outcome: Outcome) -> PyResult<(bool, Outcome)> {
    let judge = job.options.as_ref().and_then(|options| options.judge.clone());
    let Some(retry) = judge.as_ref().and_then(|judge| judge.downcast_ref::<Retry>()) else {
        return Ok((false, outcome));
    };
    let Ending::Exception(exception) = super::outcome::decode(py, job, &outcome)? else {
        return Ok((false, outcome));
    };
    let exception = exception.bind(py);
    let matches = exception.is_instance(retry.on.bind(py))?;
    let left = retry.left.load(Ordering::Relaxed);
    if matches && left > 0 {
        retry.left.store(left - 1, Ordering::Relaxed);
    }
    // Decoded once is enough.
    Ok((matches && left > 0, Outcome::Failed(Arc::new(exception.clone().unbind()))))
}

/// A worker is gone: the hook says of what, and each task it had begun fails with that.
fn died(
    py: Python<'_>,
    core: &Core,
    report: StationReport,
    jobs: Vec<Arc<RemoteJob>>,
) -> PyResult<()> {
    let StationReport { id, was_ready, expected, tasks: _, used } = report;
    let running: Vec<_> = jobs.iter().map(|job| describe(py, core, job)).collect();
    let arguments = (id, was_ready, expected, used, running);
    let error = match core.hooks.call_method1(py, intern!(py, "died"), arguments) {
        Ok(error) => error,
        // The jobs must end, and nobody knows better of what.
        Err(error) => error.into_value(py).into_any(),
    };
    for job in jobs {
        let outcome = Outcome::Failed(Arc::new(error.clone_ref(py)));
        if job.is_judged() {
            judge(py, core, job, outcome)?;
        } else {
            core.shared.with(|pool| pool.decide(job, outcome));
        }
    }
    if !expected && breaks(py, core, was_ready, error.bind(py)) {
        core.break_up(py, error.bind(py))?;
    }
    core.shared.poke();
    Ok(())
}

/// What a job is, in words.
fn describe(py: Python<'_>, core: &Core, job: &RemoteJob) -> String {
    let bytes: Option<Box<[u8]>> = match &job.lock().content {
        Content::Payload(payload) if !payload.apart => Some(payload.bytes.clone()),
        _ => None,
    };
    let call = bytes.and_then(|bytes| describe_call(py, &bytes, &core.interner));
    let call = call.unwrap_or_else(|| "a call that is too large to be shown".into());
    match job.options.as_ref().and_then(|options| options.name.as_ref()) {
        Some(name) => format!("{name:?}, {call}"),
        None => call,
    }
}

/// Whether an unexpected death is the pool's end.
fn breaks(py: Python<'_>, core: &Core, was_ready: bool, error: &Bound<'_, PyAny>) -> bool {
    if !core.shared.with(|pool| pool.isolates()) {
        return true;
    }
    if was_ready {
        return false;
    }
    let status = error.getattr(intern!(py, "exitcode")).and_then(|code| code.extract::<i32>());
    let killed = status.is_ok_and(|status| status == -libc::SIGKILL);
    let stillborn = core.shared.with(|pool| pool.count_stillborn(killed));
    let lasts = stillborn.since.map_or(0, |since| clock::now().saturating_sub(since));
    let (most, long) = MOST_KILLED;
    stillborn.failed >= MOST_STILLBORN || (stillborn.killed >= most && lasts >= long)
}

/// An initializer raised: as in the stdlib, that breaks the pool.
fn unfit(py: Python<'_>, core: &Core, record: &[u8]) -> PyResult<()> {
    let decoded = decode_exception(py, record, &mut |_| {
        Err(super::codec::damaged(py, "a buffer that did not come with it"))
    });
    let error = decoded.unwrap_or_else(|error| error.into_value(py).into_bound(py).into_any());
    core.break_up(py, &error)
}
