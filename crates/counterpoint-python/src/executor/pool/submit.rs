//! How a task gets into a pool's queue: at once, or once there is room.

use super::blocked::Blocked;
use super::context::Context;
use super::native::{Pool, State};
use super::task::{Options, Task};
use crate::boundary::{TaskHandle, block_on, halts_at_exit, wake};
use crate::executor::future::new_future_of;
use crate::executor::reference::Ref;
use counterpoint_sync::clock;
use counterpoint_sync::executor::pool::{Admission, Call, Refusal, Room, Start};
use counterpoint_sync::wait::Wait;
use pyo3::exceptions::{PyException, PyRuntimeError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when the interpreter begins to end.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Refuses every further submission, of any pool.
#[pyfunction]
pub fn _close_pools() {
    ENDING.store(true, Ordering::Relaxed);
}

/// Why a task is not in the queue yet.
#[derive(Clone, Copy)]
enum Obstacle {
    /// The interpreter ends.
    Ending,
    /// The pool says no.
    Refused(Refusal),
    /// This is a forked child: the workers and the tasks stayed with the parent.
    Foreign,
}

/// A submission that did not go through at once.
pub enum Unfinished {
    /// It may yet.
    Task(Box<Stuck>),
    /// Python raised.
    Raised(PyErr),
}

/// A task that is not in the queue yet.
pub struct Stuck {
    obstacle: Obstacle,
    task: Task,
    priority: i64,
}

/// Marks a task with the time at which it is queued.
#[inline(always)]
fn stamp(state: &mut State, task: &mut Task) {
    task.submitted = state.stamp(clock::now);
}

impl Pool {
    /// Queues a task and calls whoever is needed for it.
    fn push(&self, py: Python<'_>, task: Task, priority: i64) -> Result<(), Unfinished> {
        let mut task = Some(task);
        let pushed = self.state.with(py, |state| {
            let obstacle = obstacle(state);
            if obstacle.is_none()
                && let Some(mut task) = task.take()
            {
                stamp(state, &mut task);
                return Ok(state.push(task, priority));
            }
            Err(obstacle.unwrap_or(Obstacle::Ending))
        });
        match (pushed, task) {
            (Ok(call), _) => self.carry_out(py, call).map_err(Unfinished::Raised),
            (Err(obstacle), Some(task)) => Err(stuck(obstacle, task, priority)),
            (Err(_), None) => Ok(()),
        }
    }

    /// Wakes or starts a worker.
    #[inline(always)]
    pub fn carry_out(&self, py: Python<'_>, call: Call<TaskHandle>) -> PyResult<()> {
        match call {
            Call::Nobody => Ok(()),
            Call::Wake(waiter) => {
                let _ = waiter.wake();
                Ok(())
            }
            Call::Start(start) => self.start_worker(py, start),
        }
    }

    /// Starts a thread. An error may come before there is one or after; so the start is taken back,
    /// and a thread that arrives all the same is judged then.
    #[cold]
    fn start_worker(&self, py: Python<'_>, start: Start) -> PyResult<()> {
        let Start { number, extra } = start;
        halts_at_exit();
        let Err(error) = Python::attach(|py| self.start.call1(py, (extra, number))) else {
            return Ok(());
        };
        // An interruption (Ctrl-C) concerns this submission. Others that counted on the start do
        // not hear of it, so there is another.
        let again = !error.is_instance_of::<PyException>(py);
        match self.state.with(py, |state| state.start_raised(number, again)) {
            Call::Start(Start { number, extra }) => {
                if self.start.call1(py, (extra, number)).is_err() {
                    let call = self.state.with(py, |state| state.start_raised(number, false));
                    self.carry_out(py, call)?;
                }
            }
            call => self.carry_out(py, call)?,
        }
        Err(error)
    }

    /// Queues a call and returns its future. `arguments` as for [`Task::new`].
    ///
    /// # Safety
    /// As for [`Task::new`].
    #[inline(always)]
    pub unsafe fn submit(
        &self,
        py: Python<'_>,
        function: *mut PyObject,
        arguments: *const *mut PyObject,
        positional: usize,
        names: *mut PyObject,
    ) -> Result<Ref, Unfinished> {
        let (future, context) = self.prepare(py).map_err(Unfinished::Raised)?;
        let returned = future.share();
        // SAFETY: the caller's promise.
        let task = |future, context, submitted| unsafe {
            Task::new(future, context, function, arguments, positional, names, submitted)
        };
        let pushed = self.state.with(py, |state| match obstacle(state) {
            None => {
                let submitted = state.stamp(clock::now);
                // Made in its place: it fills a line of the cache, and copying it there costs more.
                Ok(state.push(task(future, context, submitted), 0))
            }
            Some(obstacle) => Err((obstacle, future, context)),
        });
        match pushed {
            Ok(call) => self.carry_out(py, call).map_err(Unfinished::Raised)?,
            Err((obstacle, future, context)) => {
                return Err(stuck(obstacle, task(future, context, 0), 0));
            }
        }
        Ok(returned)
    }

    /// A new future and the context of this submission.
    #[inline(always)]
    fn prepare(&self, py: Python<'_>) -> PyResult<(Ref, Context)> {
        // SAFETY: a new reference or null.
        let future = unsafe { Ref::owned(new_future_of(self.home())) };
        let made =
            future.and_then(|future| Some((future, Context::copy_current(py, &self.recent)?)));
        made.ok_or_else(|| Python::attach(PyErr::fetch))
    }

    /// Brings a submission to its end, waiting for room if need be; the future.
    #[cold]
    pub fn finish(&self, executor: &Bound<'_, PyAny>, unfinished: Unfinished) -> PyResult<Ref> {
        let py = executor.py();
        let Stuck { obstacle, task, priority } = match unfinished {
            Unfinished::Raised(error) => return Err(error),
            Unfinished::Task(stuck) => *stuck,
        };
        match obstacle {
            Obstacle::Ending => {
                return Err(PyRuntimeError::new_err(
                    "cannot schedule new futures after interpreter shutdown",
                ));
            }
            // These raise unless it is worth a wait.
            Obstacle::Refused(Refusal::Closed) => {
                executor.call_method0(intern!(py, "_refuse_closed"))?;
            }
            Obstacle::Refused(Refusal::Full) => {
                executor.call_method0(intern!(py, "_refuse_full"))?;
            }
            Obstacle::Foreign => self.adopt(py),
        }
        let future = task.share_future();
        self.push_into_room(executor, task, priority)?;
        Ok(future)
    }

    fn push_into_room(
        &self,
        executor: &Bound<'_, PyAny>,
        task: Task,
        priority: i64,
    ) -> PyResult<()> {
        let py = executor.py();
        let mut wait = Wait::new(Room::new(task, priority, stamp));
        loop {
            let admission = match wait.try_now(&self.state.held(py)) {
                Some(admission) => admission,
                None => {
                    let _blocked = Blocked::enter(py, |home| home == self.home())?;
                    let Some(admission) = block_on(py, &self.state, &mut wait, None)? else {
                        continue;
                    };
                    admission
                }
            };
            match admission {
                Admission::Queued(call) => return self.carry_out(py, call),
                Admission::Foreign => self.adopt(py),
                Admission::Closed => {
                    executor.call_method0(intern!(py, "_refuse_closed"))?;
                    let text = "cannot schedule new futures after shutdown";
                    return Err(PyRuntimeError::new_err(text));
                }
            }
        }
    }

    /// The first submission in a forked child: the workers and the tasks stayed with the parent.
    fn adopt(&self, py: Python<'_>) {
        let tasks =
            wake(
                py,
                &self.state,
                |state, wakes| {
                    if state.is_foreign() { state.adopt(wakes) } else { Vec::new() }
                },
            );
        drop(tasks);
    }

    /// Queues `function(*tuple)`, waiting for room if need be.
    pub fn submit_tuple<'py>(
        &self,
        executor: &Bound<'py, PyAny>,
        function: &Bound<'py, PyAny>,
        tuple: &Bound<'py, PyTuple>,
    ) -> PyResult<Ref> {
        // SAFETY: the items of a tuple that is alive during the call.
        let submitted = unsafe {
            let names = std::ptr::null_mut();
            self.submit(executor.py(), function.as_ptr(), items(tuple), tuple.len(), names)
        };
        submitted.or_else(|unfinished| self.finish(executor, unfinished))
    }

    /// Queues a call with options; the last of the arguments are for the names.
    pub fn submit_chosen(
        &self,
        executor: &Bound<'_, PyAny>,
        call: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyTuple>,
        names: Option<&Bound<'_, PyTuple>>,
        options: Options,
        name: Option<&Bound<'_, PyString>>,
    ) -> PyResult<Ref> {
        let py = executor.py();
        let names = names.filter(|names| !names.is_empty());
        let positional = arguments.len() - names.map_or(0, |names| names.len());
        let priority = options.priority;
        let (future, context) = self.prepare(py)?;
        if let Some(name) = name {
            // Before anybody runs it: the time may be over soon, and the error tells whose.
            future.share().bind(py).setattr(intern!(py, "name"), name)?;
        }
        let (returned, names) = (future.share(), names.map_or(std::ptr::null_mut(), Bound::as_ptr));
        let (call, arguments) = (call.as_ptr(), items(arguments));
        // SAFETY: live objects, and a tuple's items.
        let mut task = unsafe { Task::new(future, context, call, arguments, positional, names, 0) };
        task.set_options(options);
        match self.push(py, task, priority) {
            Ok(()) => Ok(returned),
            Err(unfinished) => self.finish(executor, unfinished),
        }
    }
}

#[inline(always)]
fn obstacle(state: &State) -> Option<Obstacle> {
    if ENDING.load(Ordering::Relaxed) {
        return Some(Obstacle::Ending);
    }
    if state.is_foreign() {
        return Some(Obstacle::Foreign);
    }
    state.refusal().map(Obstacle::Refused)
}

#[cold]
fn stuck(obstacle: Obstacle, task: Task, priority: i64) -> Unfinished {
    Unfinished::Task(Box::new(Stuck { obstacle, task, priority }))
}

/// The items of a tuple.
fn items(tuple: &Bound<'_, PyTuple>) -> *const *mut PyObject {
    // SAFETY: a live tuple; only an address inside it is computed.
    unsafe { (&raw const (*tuple.as_ptr().cast::<ffi::PyTupleObject>()).ob_item).cast() }
}
