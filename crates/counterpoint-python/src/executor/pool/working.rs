//! [`Working`]: whose worker a thread is, and what its task waits for.

use super::native::Pool;
use crate::boundary::{Protected, is_loop_running};
use crate::executor::future::{FutureObject, take};
use crate::executor::reference::Ref;
use crate::executor::token::CancellationToken;
use counterpoint_sync::executor::pool::Member;
use pyo3::exceptions::PyException;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::cell::Cell;
use std::ptr;
use std::sync::Arc;

thread_local! {
    static CURRENT: Cell<*const Working> = const { Cell::new(ptr::null()) };
}

/// A worker's mark on its thread, for as long as its loop runs.
pub struct Working {
    pool: Py<Pool>,
    member: Member,
    token: Cell<Option<Py<CancellationToken>>>,
    waits: Arc<Waits>,
    /// Whether the task waits for something in a way that is only guessed.
    guessed: Cell<bool>,
}

/// For how many things a worker's task waits which its own pool must do.
#[derive(Default)]
struct Waits(Protected<Depth>);

#[derive(Default)]
struct Depth {
    count: usize,
    /// Which of the worker's tasks this is about.
    task: u64,
}

impl Working {
    /// Runs `f` as a worker of `pool`.
    pub fn scope<R>(pool: &Bound<'_, Pool>, member: Member, f: impl FnOnce(&Working) -> R) -> R {
        struct Restore(*const Working);
        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0);
            }
        }
        let (token, guessed) = (Cell::new(None), Cell::new(false));
        let working =
            Working { pool: pool.clone().unbind(), member, token, waits: Arc::default(), guessed };
        let _restore = Restore(CURRENT.replace(&raw const working));
        f(&working)
    }

    /// The mark on this thread, if it is a worker's. In a child that its task forked it is not.
    pub fn current<'a>(_: Python<'a>) -> Option<&'a Working> {
        // SAFETY: `scope` is on this thread's stack below, whose frame owns the mark.
        let working = unsafe { CURRENT.get().as_ref() }?;
        working.member.is_here().then_some(working)
    }

    /// The same, if it is a worker of the pool that is to end `future`.
    fn of_home<'a>(py: Python<'a>, future: FutureObject) -> Option<&'a Working> {
        let home = future.home();
        Self::current(py).filter(|working| home != 0 && working.home() == home)
    }

    /// Its pool as futures name it.
    pub fn home(&self) -> usize {
        self.pool.get().home()
    }

    /// The token of the task that begins now; none if `None`.
    #[inline(always)]
    pub fn set_token(&self, token: Option<Py<CancellationToken>>) {
        drop(self.token.replace(token));
    }

    /// The token of the current task.
    pub fn token(&self, py: Python<'_>) -> PyResult<Py<CancellationToken>> {
        let token = match self.token.take() {
            Some(token) => token,
            None => Py::new(py, CancellationToken::default())?,
        };
        self.token.set(Some(token.clone_ref(py)));
        Ok(token)
    }

    /// The task begins to wait for something that its own pool must do. Another worker in its place
    /// is a help and no condition: where no thread can be started, it waits for the others.
    pub fn begin(&self, py: Python<'_>) -> PyResult<()> {
        let first = self.waits.0.with(py, |depth| {
            depth.count += 1;
            depth.count == 1
        });
        if !first {
            return Ok(());
        }
        let pool = self.pool.get();
        let call = pool.state.with(py, |state| state.block(self.member));
        match pool.carry_out(py, call) {
            Err(error) if !error.is_instance_of::<PyException>(py) => {
                self.end(py);
                Err(error)
            }
            _ => Ok(()),
        }
    }

    /// That wait is over.
    pub fn end(&self, py: Python<'_>) {
        let task = self.waits.0.with(py, |depth| depth.task);
        self.waits.over(py, task, self.pool.get(), self.member);
    }

    /// The task is over: it waits for nothing any more.
    #[inline(always)]
    pub fn forget_guesses(&self, py: Python<'_>) {
        if self.guessed.get() {
            self.forget(py);
        }
    }

    #[cold]
    fn forget(&self, py: Python<'_>) {
        self.guessed.set(false);
        let waited = self.waits.0.with(py, |depth| {
            depth.task += 1;
            std::mem::take(&mut depth.count) > 0
        });
        if waited {
            self.pool.get().state.with(py, |state| state.unblock(self.member));
        }
    }
}

impl Waits {
    /// One of the waits of that task is over.
    fn over(&self, py: Python<'_>, task: u64, pool: &Pool, member: Member) {
        let last = self.0.with(py, |depth| {
            let counts = depth.task == task && depth.count > 0;
            depth.count -= usize::from(counts);
            counts && depth.count == 0
        });
        if last {
            pool.state.with(py, |state| state.unblock(member));
        }
    }
}

/// In a future: a worker of its own pool waits for it in a way that nobody sees. Its thread touched
/// what the stdlib's `wait` waits with, or runs an event loop in which a callback was added.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Watch {
    pool: Py<Pool>,
    member: Member,
    waits: Arc<Waits>,
    task: u64,
    /// The next worker that waits for the same future.
    next: Protected<Option<Ref>>,
}

#[pymethods]
impl Watch {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.pool)?;
        // SAFETY: called by the collector.
        unsafe { self.next.peek() }.as_ref().map_or(Ok(()), |next| next.visit(&visit))
    }
}

/// This thread is about to wait for `future`, it seems. If it is a worker of the future's pool, it
/// counts as blocked until the future or its own task is over.
pub fn guess_wait(py: Python<'_>, future: FutureObject) -> PyResult<()> {
    let Some(working) = Working::of_home(py, future) else { return Ok(()) };
    let task = working.waits.0.with(py, |depth| depth.task);
    let known = future.with(py, |state, fields| {
        state.phase().is_done() || is_watched(py, fields.watchers, &working.waits, task)
    });
    if known {
        return Ok(());
    }
    let (pool, waits) = (working.pool.clone_ref(py), working.waits.clone());
    let next = Protected::new(None);
    let watch = Py::new(py, Watch { pool, member: working.member, waits, task, next })?;
    working.guessed.set(true);
    working.begin(py)?;
    let mut added = Some(Ref::from(watch.bind(py).clone().into_any()));
    future.with(py, |state, fields| {
        if !state.phase().is_done()
            && let Some(added) = added.take()
        {
            // SAFETY: the field is null or owns what it points to.
            let next = unsafe { take(&mut fields.watchers) };
            // Nobody else knows the watch yet: this lock is free.
            watch.get().next.with(py, |place| *place = next);
            fields.watchers = added.into_ptr();
        }
    });
    if added.is_some() {
        working.end(py);
    }
    Ok(())
}

/// The same where a callback is added: it is how a task of an event loop waits, and a thread that
/// runs a loop does nothing else. Elsewhere a callback is no sign of waiting.
pub fn guess_wait_in_loop(py: Python<'_>, future: FutureObject) -> PyResult<()> {
    if Working::of_home(py, future).is_some() && is_loop_running(py)? {
        return guess_wait(py, future);
    }
    Ok(())
}

/// Whether one of the watches is this task's. Under the future's lock.
fn is_watched(
    py: Python<'_>,
    watchers: *mut pyo3::ffi::PyObject,
    waits: &Arc<Waits>,
    task: u64,
) -> bool {
    // SAFETY: null or a live object of ours, by the future's lock.
    let Some(first) = (unsafe { Bound::from_borrowed_ptr_or_opt(py, watchers) }) else {
        return false;
    };
    let is_own = |watch: &Watch| Arc::ptr_eq(&watch.waits, waits) && watch.task == task;
    first.cast_exact::<Watch>().is_ok_and(|watch| is_own(watch.get()))
}

/// The future is over: whoever waited for it unseen does not any more.
#[cold]
pub fn end_guesses(py: Python<'_>, watchers: Ref) {
    let mut watcher = Some(watchers);
    while let Some(watch) = watcher {
        let bound = watch.bind(py);
        let Ok(watch) = bound.cast_exact::<Watch>() else { return };
        let watch = watch.get();
        watch.waits.over(py, watch.task, watch.pool.get(), watch.member);
        watcher = watch.next.with(py, Option::take);
    }
}
