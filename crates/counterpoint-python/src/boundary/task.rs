//! [`TaskHandle`]: how an asyncio task is told to go on; and who the current owner is.
//!
//! An owner is a number: a thread's identifier, which is an aligned address, or a task's address
//! with the lowest bit set.

use super::halts_at_exit;
use super::raw::attached;
use counterpoint_sync::Arc;
use counterpoint_sync::wait::{Shared, Source, State, Wait};
use counterpoint_sync::waiter::{Notify, Waiter};
use pyo3::exceptions::{PyImportError, PyRecursionError, PyRuntimeError};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicBool, Ordering};

/// How often a task is told, at most, while signal handlers raise in the middle.
const ATTEMPTS: usize = 100;

/// Whether any task has ever waited for anything or owned it: a program without tasks is not to
/// look for the current one.
static TASKS_SEEN: AtomicBool = AtomicBool::new(false);

/// Marks an owner that is a task.
const TASK_BIT: usize = 1;

/// One waiting task: its event loop, the future it awaits, and itself.
pub struct TaskHandle {
    event_loop: Py<PyAny>,
    future: Py<PyAny>,
    task: Py<PyAny>,
}

impl TaskHandle {
    /// `future` is the one that the task of `event_loop` awaits, `None` for an identity only.
    pub fn new(event_loop: Py<PyAny>, future: Py<PyAny>, task: Py<PyAny>) -> Self {
        if !TASKS_SEEN.load(Ordering::Relaxed) {
            TASKS_SEEN.store(true, Ordering::Relaxed);
        }
        Self { event_loop, future, task }
    }

    /// The task itself.
    pub fn task(&self) -> &Py<PyAny> {
        &self.task
    }

    /// What it is called, for people.
    pub fn name(&self, py: Python<'_>) -> PyResult<String> {
        match self.task.bind(py).getattr_opt(intern!(py, "get_name"))? {
            Some(get) => get.call0()?.str()?.extract(),
            None => self.task.bind(py).repr()?.extract(),
        }
    }

    /// The number under which this task owns locks.
    pub fn owner(&self) -> usize {
        self.task.as_ptr() as usize | TASK_BIT
    }

    /// Shows the collector what this holds.
    pub fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.future)?;
        visit.call(&self.task)
    }

    /// The same, for types whose `tp_traverse` is written by hand.
    pub fn references(&self) -> [*mut pyo3::ffi::PyObject; 3] {
        [self.event_loop.as_ptr(), self.future.as_ptr(), self.task.as_ptr()]
    }
}

/// Tells, and tells again if a signal handler raised in the middle; `false` if the loop is closed:
/// its task will never run again.
fn tell_for_sure(
    event_loop: &Bound<'_, PyAny>,
    future: &Bound<'_, PyAny>,
    raised: &mut Option<PyErr>,
) -> bool {
    let py = future.py();
    for _ in 0..ATTEMPTS {
        let Err(error) = tell(event_loop, future) else { return true };
        let closed = is_closed(event_loop);
        match closed {
            Ok(true) => return false,
            _ if is_too_deep(py, &error) => return tell_elsewhere(event_loop, future),
            Ok(false) => *raised = Some(error),
            Err(other) if is_too_deep(py, &other) => return tell_elsewhere(event_loop, future),
            Err(other) => *raised = Some(other),
        }
    }
    false
}

fn is_closed(event_loop: &Bound<'_, PyAny>) -> PyResult<bool> {
    event_loop.call_method0(intern!(event_loop.py(), "is_closed"))?.is_truthy()
}

fn is_too_deep(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyRecursionError>(py)
}

/// Tells in a thread whose stack is empty: this one's is at its limit, and cannot call anything. It
/// ends before this returns.
#[cold]
fn tell_elsewhere(event_loop: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> bool {
    let (py, event_loop, future) =
        (future.py(), event_loop.clone().unbind(), future.clone().unbind());
    let tell = move || {
        Python::attach(|py| {
            let mut raised = None;
            let (event_loop, future) = (event_loop.bind(py), future.bind(py));
            let told = tell_for_sure(event_loop, future, &mut raised);
            raised.into_iter().for_each(|error| error.write_unraisable(py, Some(event_loop)));
            told
        })
    };
    py.detach(|| {
        let thread = std::thread::Builder::new().spawn(tell);
        thread.is_ok_and(|thread| thread.join().unwrap_or(false))
    })
}

/// Resolves the future, directly in its own loop, through the loop's mailbox elsewhere.
fn tell(event_loop: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    halts_at_exit();
    if running_loop(py)?.is(event_loop) {
        return resolve(future);
    }
    let resolve = RESOLVE.get(py).ok_or_else(|| PyRuntimeError::new_err("not initialised"))?;
    event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (resolve, future))?;
    Ok(())
}

/// A done callback: resolves the asyncio future that a task awaits, in its loop; does nothing if the
/// loop is closed.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct LoopWaker {
    event_loop: Py<PyAny>,
    future: Py<PyAny>,
}

impl LoopWaker {
    /// What calling it does, also for a thread that is at its recursion limit and can call nothing.
    pub fn tell(&self, py: Python<'_>) {
        notify(self.event_loop.bind(py), self.future.bind(py));
    }
}

#[pymethods]
impl LoopWaker {
    #[new]
    fn new(event_loop: Py<PyAny>, future: Py<PyAny>) -> Self {
        Self { event_loop, future }
    }

    fn __call__(&self, py: Python<'_>, _done: &Bound<'_, PyAny>) {
        self.tell(py);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)?;
        visit.call(&self.future)
    }
}

fn notify(event_loop: &Bound<'_, PyAny>, future: &Bound<'_, PyAny>) -> bool {
    let mut raised = None;
    let told = tell_for_sure(event_loop, future, &mut raised);
    if let Some(error) = raised {
        postpone(future.py(), error, event_loop);
    }
    told
}

impl Notify for TaskHandle {
    fn notify(&self) -> bool {
        Python::attach(|py| notify(self.event_loop.bind(py), self.future.bind(py)))
    }
}

/// Raises in this thread soon, and not now: a wake-up is no place to give up what was begun.
fn postpone(py: Python<'_>, error: PyErr, event_loop: &Bound<'_, PyAny>) {
    if !runs_signal_handlers() {
        return error.write_unraisable(py, Some(event_loop));
    }
    let boxed = Box::into_raw(Box::new(error));
    // SAFETY: `raise` takes the box over; the interpreter calls it once, attached.
    if unsafe { ffi::Py_AddPendingCall(Some(raise), boxed.cast()) } != 0 {
        // SAFETY: it was refused, so the box is still ours.
        let error = unsafe { Box::from_raw(boxed) };
        error.write_unraisable(py, Some(event_loop));
    }
}

extern "C" fn raise(error: *mut c_void) -> c_int {
    attached(|py| {
        // SAFETY: made by `postpone` for this one call.
        let error: Box<PyErr> = unsafe { Box::from_raw(error.cast()) };
        error.restore(py);
    });
    -1
}

/// The Python-visible [`resolve`], for `call_soon_threadsafe`.
pub(crate) static RESOLVE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Completes a future that a task awaits, unless it was cancelled meanwhile.
#[pyfunction]
pub fn resolve(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
        future.call_method1(intern!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

/// The loop that runs in this thread, or None.
fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    match GET.import(py, "asyncio", "_get_running_loop") {
        Ok(get) => get.call0(),
        // What can no longer be imported, while the interpreter ends, does not run any more.
        Err(error) if error.is_instance_of::<PyImportError>(py) => Ok(py.None().into_bound(py)),
        Err(error) => Err(error),
    }
}

/// Whether an event loop of asyncio runs in this thread. Does not import asyncio: where nobody did,
/// no loop runs.
pub fn is_loop_running(py: Python<'_>) -> PyResult<bool> {
    let name = intern!(py, "asyncio.events");
    // SAFETY: a live name; a new reference, or null with an exception or without.
    let module =
        unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyImport_GetModule(name.as_ptr())) };
    match module {
        Some(_) => Ok(!running_loop(py)?.is_none()),
        None => PyErr::take(py).map_or(Ok(false), Err),
    }
}

/// The number under which this thread owns locks.
#[inline(always)]
pub fn thread_owner() -> usize {
    // SAFETY: has no precondition and cannot fail on Linux.
    unsafe { libc::pthread_self() as usize }
}

/// Whether signal handlers run in this thread: in the first one of the process.
pub fn runs_signal_handlers() -> bool {
    // SAFETY: neither call has a precondition, and neither can fail.
    unsafe { libc::syscall(libc::SYS_gettid) == libc::c_long::from(libc::getpid()) }
}

/// The first in line among the tasks of the event loop that runs in this thread. None of them can
/// go on before this thread does, so it must not wait behind them.
pub fn first_of_own_loop<O, H>(
    py: Python<'_>,
    held: &H,
    wait: &Wait<O>,
) -> PyResult<Option<Arc<Waiter<TaskHandle>>>>
where
    O: Source,
    O::State: State<Notify = TaskHandle>,
    H: Shared<State = O::State>,
{
    if !TASKS_SEEN.load(Ordering::Relaxed) {
        return Ok(None);
    }
    let running = running_loop(py)?;
    if running.is_none() {
        return Ok(None);
    }
    let is_own = |waiter: &&Arc<Waiter<TaskHandle>>| {
        waiter.notify().is_some_and(|handle| running.is(&handle.event_loop))
    };
    Ok(held.with(|state| wait.source.list(state).iter().find(is_own).cloned()))
}

/// Whether an owner is a task.
pub fn is_task(owner: usize) -> bool {
    owner & TASK_BIT != 0
}

/// The current task as an owner, if a task runs in this thread and any may own something.
pub fn current_owner(py: Python<'_>) -> PyResult<Option<usize>> {
    if !TASKS_SEEN.load(Ordering::Relaxed) || running_loop(py)?.is_none() {
        return Ok(None);
    }
    let task = current_task(py)?;
    Ok((!task.is_none()).then(|| task.as_ptr() as usize | TASK_BIT))
}

fn current_task(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static GET: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    GET.import(py, "asyncio", "current_task")?.call0()
}

/// The current task as one that is about to own something.
pub fn coming_owner(py: Python<'_>) -> PyResult<Option<TaskHandle>> {
    let running = running_loop(py)?;
    if running.is_none() {
        return Ok(None);
    }
    let task = current_task(py)?;
    Ok((!task.is_none()).then(|| TaskHandle::new(running.unbind(), py.None(), task.unbind())))
}

/// Raises when a thread is about to wait, without limit, for what one of `holders`, a task of the
/// event loop running in this very thread, holds: that task can never release it.
pub fn refuse_deadlock(
    py: Python<'_>,
    holders: impl IntoIterator<Item = Arc<Waiter<TaskHandle>>>,
) -> PyResult<()> {
    for holder in holders {
        let Some(handle) = holder.notify() else { continue };
        if running_loop(py)?.is(&handle.event_loop) {
            return Err(deadlock(py, handle.task.bind(py))?);
        }
    }
    Ok(())
}

/// The same where any of `holders` may end the wait: raises if all are tasks of that loop.
pub fn refuse_deadlock_of_all(
    py: Python<'_>,
    holders: Vec<Arc<Waiter<TaskHandle>>>,
) -> PyResult<()> {
    let running = running_loop(py)?;
    let mut tasks = holders.iter().map(|holder| holder.notify());
    if !tasks.all(|task| task.is_some_and(|task| running.is(&task.event_loop))) {
        return Ok(());
    }
    refuse_deadlock(py, holders)
}

fn deadlock(py: Python<'_>, task: &Bound<'_, PyAny>) -> PyResult<PyErr> {
    static ERROR: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let task = task.repr()?;
    let text = format!(
        "blocking acquire in a running event loop of a lock that a task of this loop holds can \
         never end: held by {task}; use 'async with' or 'await lock.async_acquire()' here"
    );
    let error = ERROR.import(py, "counterpoint._errors", "DeadlockError")?.call1((text,))?;
    Ok(PyErr::from_value(error))
}
