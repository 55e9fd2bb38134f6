//! The threads of a pool in the user's process: the dispatcher, which never attaches, and the
//! courier, which does what needs an interpreter.
//!
//! The courier holds its thread state for as long as it lives, and is detached while it waits. It
//! ends when the pool is over, which the interpreter's exit sees to.

use super::codec::decode_exception;
use super::pool::{Core, Retry};
use crate::boundary::TaskHandle;
use crate::executor::future::remote::{RemoteJob, settle};
use crate::executor::future::{Ending, FutureObject, announce, log_critical};
use counterpoint_pool::{News, Outcome, StationReport, run};
use counterpoint_sync::wait::deliver;
use pyo3::intern;
use pyo3::prelude::*;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

/// So many workers in a row that die before they are set up break the pool.
const MOST_STILLBORN: usize = 3;

type Tidings = News<TaskHandle, Py<PyAny>>;

/// Starts both threads.
pub fn start(core: Arc<Core>) -> io::Result<()> {
    let _masked = Masked::all();
    let shared = core.shared.clone();
    thread::Builder::new().name("counterpoint-dispatcher".into()).spawn(move || run(&*shared))?;
    let name = "counterpoint-courier";
    thread::Builder::new().name(name.into()).spawn(move || serve(core)).map(drop)
}

/// No signal is delivered to a thread that is started meanwhile: they are the main thread's.
struct Masked(libc::sigset_t);

impl Masked {
    fn all() -> Self {
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

fn serve(core: Arc<Core>) {
    // None once the interpreter is gone: then nobody waits for anything any more.
    Python::try_attach(|py| {
        loop {
            let all = py.detach(|| core.shared.mailbox.wait());
            for news in all {
                if matches!(news, News::Over) {
                    return core.ended.happened();
                }
                if let Err(error) = act(py, &core, news) {
                    log_critical(py, "Exception in the pool's courier", error);
                }
            }
        }
    });
}

fn act(py: Python<'_>, core: &Core, news: Tidings) -> PyResult<()> {
    match news {
        News::Ended(job) => ended(py, &job),
        News::Judge(job, outcome) => judge(py, core, job, outcome),
        News::Died(report, jobs) => died(py, core, report, jobs),
        News::Unfit(error) => unfit(py, core, &error),
        News::Wanted => core.launch(py),
        News::Message(station, bytes) => {
            core.hooks.call_method1(py, intern!(py, "message"), (station, &*bytes)).map(drop)
        }
        News::Wakes(wakes) => {
            deliver(&*core.shared, wakes);
            Ok(())
        }
        News::Over => Ok(()),
    }
}

/// Tells those who wanted to hear of a future's end.
fn ended(py: Python<'_>, job: &RemoteJob) -> PyResult<()> {
    let Some(future) = job.lock().keeper.take() else { return Ok(()) };
    // SAFETY: only futures are keepers, and this one is alive.
    let object = unsafe { FutureObject::from_ptr(future.as_ptr()) };
    settle(py, object)?;
    announce(py, object)
}

/// A failure that may be worth another try.
fn judge(py: Python<'_>, core: &Core, job: Arc<RemoteJob>, outcome: Outcome) -> PyResult<()> {
    let (wanted, outcome) = wants_retry(py, &job, outcome)?;
    core.shared.with(|pool| match wanted {
        true => pool.push_again(job),
        false => pool.finish(job, outcome),
    });
    core.shared.poke();
    Ok(())
}

fn wants_retry(py: Python<'_>, job: &RemoteJob, outcome: Outcome) -> PyResult<(bool, Outcome)> {
    let judge = job.options.as_ref().and_then(|options| options.judge.clone());
    let Some(retry) = judge.as_ref().and_then(|judge| judge.downcast_ref::<Retry>()) else {
        return Ok((false, outcome));
    };
    let Ending::Exception(exception) = super::outcome::decode(py, &outcome) else {
        return Ok((false, outcome));
    };
    let exception = exception.bind(py);
    let matches = exception.is_instance(retry.on.bind(py))?;
    let left = retry.left.load(Ordering::Relaxed);
    if matches && left > 0 {
        retry.left.store(left - 1, Ordering::Relaxed);
        return Ok((true, outcome));
    }
    // Decoded once is enough.
    Ok((false, Outcome::Failed(Arc::new(exception.unbind()))))
}

/// A worker is gone: the hook says of what, and each task it had begun fails with that.
fn died(
    py: Python<'_>,
    core: &Core,
    report: StationReport,
    jobs: Vec<Arc<RemoteJob>>,
) -> PyResult<()> {
    let StationReport { id, was_ready, expected, tasks } = report;
    let arguments = (id, was_ready, expected, tasks, jobs.len());
    let error = core.hooks.call_method1(py, intern!(py, "died"), arguments)?;
    for job in jobs {
        let outcome = Outcome::Failed(Arc::new(error.clone_ref(py)));
        if job.is_judged() {
            judge(py, core, job, outcome)?;
        } else {
            core.shared.with(|pool| pool.finish(job, outcome));
        }
    }
    let (isolate, stillborn) = core.shared.with(|pool| (pool.isolates(), pool.stillborn()));
    let breaks = !expected && (!isolate || stillborn >= MOST_STILLBORN);
    if breaks {
        core.break_up(py, error.bind(py))?;
    }
    core.shared.poke();
    Ok(())
}

/// An initializer raised: as in the stdlib, that breaks the pool.
fn unfit(py: Python<'_>, core: &Core, record: &[u8]) -> PyResult<()> {
    let error = decode_exception(py, record, &mut |_| {
        Err(super::codec::damaged(py, "a buffer that did not come with it"))
    })?;
    core.break_up(py, &error)
}
