//! [`RemoteJob`]: a future whose outcome another process makes.
//!
//! Its phase and its waiting threads are in the job, behind the job's own lock, because a thread
//! that is not attached ends it. The outcome stays bytes until somebody wants it: then it is
//! *settled*, that is decoded and put into the future's fields. While somebody is to be told of
//! the end (a callback, an observer, a condition), the job keeps the future alive, and the pool's
//! courier settles it.

use super::complete::{Ending, Refused, complete};
use super::layout::{Fields, FutureObject};
use crate::boundary::{
    Spec, TaskHandle, Timeout, block_on_shared, guarded, noargs, raw_type, slot,
};
use crate::executor::reference::Ref;
use crate::process::outcome;
use counterpoint_pool::{Content, Job};
use counterpoint_sync::executor::future::{Done, FutureState, Phase};
use counterpoint_sync::wait::Wait;
use counterpoint_sync::waiter::Wakes;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use std::ffi::c_void;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A job that keeps its future alive while somebody is to be told.
pub type RemoteJob = Job<TaskHandle, Py<PyAny>>;

static TYPE: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// The class of futures with a job.
#[inline(always)]
pub fn remote_type() -> *mut PyTypeObject {
    TYPE.load(Ordering::Relaxed)
}

impl FutureObject {
    /// Whether another process makes its outcome.
    #[inline(always)]
    pub fn is_remote(self) -> bool {
        // SAFETY: the tail is as long-lived as the object; written before anybody knows of it.
        unsafe { !(*self.tail()).remote.is_null() }
    }

    /// Whether its outcome may yet have to be decoded.
    #[inline(always)]
    pub fn is_unsettled(self) -> bool {
        // SAFETY: as above.
        self.is_remote() && unsafe { !(*self.tail()).settled.load(Ordering::Relaxed) }
    }

    /// Everybody is being told of its end. Under its lock, as all that reads it.
    #[inline(always)]
    pub fn mark_told(self) {
        if self.is_remote() {
            // SAFETY: as above.
            unsafe { (*self.tail()).told.store(true, Ordering::Relaxed) };
        }
    }

    /// The phase for who holds the condition, as the stdlib's `wait` does: there it changes, and
    /// is told, in one step. A worker's end does not wait for that.
    pub fn phase_to_show(self, phase: Phase, fields: &Fields) -> Phase {
        if fields.condition.is_null() || !self.is_remote() {
            return phase;
        }
        // SAFETY: as above.
        let (kept, told) = unsafe { (&(*self.tail()).kept, &(*self.tail()).told) };
        let untold = kept.load(Ordering::Relaxed) && !told.load(Ordering::Relaxed);
        match phase {
            Phase::Finished if untold => Phase::Running,
            Phase::Notified if untold => Phase::Cancelled,
            phase => phase,
        }
    }

    /// Its job.
    pub fn remote(self) -> Option<Arc<RemoteJob>> {
        // SAFETY: the pointer is null, or an `Arc` that the future owns until it is finalized.
        unsafe {
            let job = (*self.tail()).remote;
            if job.is_null() {
                return None;
            }
            Arc::increment_strong_count(job);
            Some(Arc::from_raw(job))
        }
    }

    fn job<'a>(self) -> Option<&'a RemoteJob> {
        // SAFETY: as above; the borrow ends before the future does, which its users keep alive.
        unsafe { (*self.tail()).remote.as_ref() }
    }

    /// [`with`](Self::with), under the job's lock.
    pub(super) fn with_remote<R>(
        self,
        f: impl FnOnce(&mut FutureState<TaskHandle>, &mut Fields) -> R,
    ) -> R {
        let job = self.job().expect("only called for a remote future");
        let mut cell = job.lock();
        // SAFETY: the job's lock protects the fields of a remote future.
        let fields = unsafe { self.fields() };
        let result = f(&mut cell.future, fields);
        if cell.keeper.is_none() && !cell.future.phase().is_done() && fields.concern_somebody() {
            // SAFETY: the tail lives as long as the object.
            unsafe { (*self.tail()).kept.store(true, Ordering::Relaxed) };
            // SAFETY: a live object; a new reference runs no code.
            cell.keeper = Some(unsafe {
                ffi::Py_INCREF(self.as_ptr());
                kept(self.as_ptr())
            });
        }
        result
    }
}

/// # Safety
/// `future` is a reference that the caller gives away.
unsafe fn kept(future: *mut PyObject) -> Py<PyAny> {
    // SAFETY: the caller's promise; only attached threads reach for a future's fields.
    unsafe { Bound::from_owned_ptr(Python::assume_attached(), future).unbind() }
}

impl Fields {
    fn concern_somebody(&self) -> bool {
        !(self.callbacks.is_null() && self.observers.is_null() && self.condition.is_null())
    }
}

/// A new pending future for a job; null with an exception set if memory is short.
#[inline(always)]
pub fn new_remote(job: Arc<RemoteJob>) -> *mut PyObject {
    // SAFETY: as for `new_future`; the tail of the new object is nobody else's yet.
    unsafe {
        let future = ffi::PyType_GenericAlloc(remote_type(), 0);
        if !future.is_null() {
            (*FutureObject::from_ptr(future).tail()).remote = Arc::into_raw(job);
        }
        future
    }
}

/// Decodes the outcome if it came and was not decoded. What decoding raises becomes the outcome.
pub fn settle(py: Python<'_>, future: FutureObject) -> PyResult<()> {
    if !future.is_unsettled() {
        return Ok(());
    }
    let Some(job) = future.remote() else { return Ok(()) };
    let content = {
        let cell = job.lock();
        match (&cell.content, cell.future.phase()) {
            (_, phase) if !phase.is_done() => return Ok(()),
            (Content::Outcome(outcome), Phase::Finished) => Some(outcome.clone()),
            _ => None,
        }
    };
    let ending = content.map(|outcome| outcome::decode(py, &job, &outcome)).transpose()?;
    let old = put(future, &job, ending);
    drop(old);
    Ok(())
}

/// Reads state and fields once the outcome is in them, or the future is not over: it may end between
/// settling and reading, and what is read then would be an empty field. `read` may be called again.
pub fn read_settled<R>(
    py: Python<'_>,
    future: FutureObject,
    mut read: impl FnMut(&mut FutureState<TaskHandle>, &mut Fields) -> R,
) -> PyResult<R> {
    loop {
        settle(py, future)?;
        let found = future.with(py, |state, fields| {
            // Under the lock under which both change.
            (!is_too_early(state, future)).then(|| read(state, fields))
        });
        if let Some(found) = found {
            return Ok(found);
        }
    }
}

/// Whether a future is over whose outcome is not in its fields yet. Under its lock.
pub fn is_too_early(state: &FutureState<TaskHandle>, future: FutureObject) -> bool {
    state.phase() == Phase::Finished && future.is_unsettled()
}

/// Stores an ending, unless another thread was faster; what is to be dropped outside the lock.
fn put(future: FutureObject, job: &RemoteJob, ending: Option<Ending>) -> impl Sized {
    let mut cell = job.lock();
    let content = std::mem::replace(&mut cell.content, Content::Empty);
    // SAFETY: under the job's lock.
    let fields = unsafe { future.fields() };
    let left = match (&content, ending) {
        (Content::Outcome(_), Some(Ending::Result(value))) => {
            fields.result = value.into_ptr();
            None
        }
        (Content::Outcome(_), Some(Ending::Exception(value))) => {
            fields.exception = value.into_ptr();
            None
        }
        (_, ending) => ending,
    };
    // SAFETY: the tail lives as long as the future.
    unsafe { (*future.tail()).settled.store(true, Ordering::Relaxed) };
    drop(cell);
    (content, left)
}

/// Takes the job out of the pool, for a cancellation; `false`: nothing to take, or too late.
pub fn withdraw(future: FutureObject) -> bool {
    let Some(job) = future.job() else { return false };
    if !job.pool.is_ours() || job.lock().future.phase() != Phase::Pending {
        return false;
    }
    let (withdrawn, begun) = job.pool.with(|pool| {
        let withdrawn = pool.withdraw(job);
        (withdrawn, !withdrawn && pool.is_begun(job))
    });
    // One that is neither was withdrawn by another thread, which is about to cancel it as well.
    if begun {
        let _ = job.lock().future.start();
    }
    withdrawn
}

/// Brings the phase up to date: whether a worker has begun is in the lane.
pub fn refresh(future: FutureObject) {
    let Some(job) = future.job() else { return };
    if job.pool.is_ours()
        && job.lock().future.phase() == Phase::Pending
        && job.pool.with(|pool| pool.is_begun(job))
    {
        let _ = job.lock().future.start();
    }
}

/// The end was told to everybody by whoever made it, not by the courier.
pub fn release(future: FutureObject) {
    let Some(job) = future.job() else { return };
    let keeper = job.lock().keeper.take();
    drop(keeper);
}

/// Whether nobody in this process will ever end it: it was pending when this process was forked.
pub fn is_inherited(future: FutureObject) -> bool {
    future.job().is_some_and(|job| !job.is_ours() && !job.lock().future.phase().is_done())
}

/// An error if to wait for it would be to wait for ever.
pub fn check_ours(future: FutureObject) -> PyResult<()> {
    if !is_inherited(future) {
        return Ok(());
    }
    Err(PyRuntimeError::new_err(
        "this future was submitted before a fork, and its workers are the parent's: submit the call \
         again in this process",
    ))
}

/// [`check_ours`] for who waits in Python.
#[pyfunction]
pub fn _check_ours(future: &Bound<'_, PyAny>) -> PyResult<()> {
    FutureObject::check(future.as_ptr()).map_or(Ok(()), check_ours)
}

/// Waits for the end, in this thread; see [`check_ours`].
pub fn park(py: Python<'_>, job: &RemoteJob, timeout: Timeout) -> PyResult<()> {
    let (mut wait, deadline) = (Wait::new(Done::default()), timeout.deadline());
    let ended = block_on_shared(py, job, &mut wait, deadline, || job.look_out());
    drop(job.lock().future.tidy());
    ended.map(drop)
}

/// Stops the call: takes it back, or kills the worker that runs it.
fn kill(py: Python<'_>, future: FutureObject) -> PyResult<bool> {
    if super::complete::cancel(py, future)? {
        return Ok(true);
    }
    let Some(job) = future.remote().filter(|job| job.pool.is_ours()) else { return Ok(false) };
    let killed = job.pool.with(|pool| pool.kill(&job));
    // What the worker had besides is in the queue again, and this thread may have read its lane.
    job.pool.poke();
    if !killed {
        return Ok(false);
    }
    let mut wakes = Wakes::default();
    let error = outcome::killed(py)?;
    match complete(py, future, Ending::Exception(Ref::from(error)), &mut wakes) {
        Ok(()) | Err(Refused::Over(_)) => wakes.wake_all(),
        Err(Refused::Raised(error)) => {
            wakes.wake_all();
            return Err(error);
        }
    }
    Ok(true)
}

unsafe extern "C" fn kill_it(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let killed = kill(py, unsafe { FutureObject::from_ptr(object) })?;
        Ok(crate::boundary::boolean(killed))
    })
}

/// Lets go of the job. The collector, or the end of the last reference, calls it once.
unsafe extern "C" fn finalize(object: *mut PyObject) {
    // SAFETY: the receiver of a slot; nobody else uses the object now.
    unsafe {
        let tail = FutureObject::from_ptr(object).tail();
        let job = std::mem::replace(&mut (*tail).remote, ptr::null());
        if !job.is_null() {
            drop(Arc::from_raw(job));
        }
    }
}

/// Makes the class, derived from Future's.
pub fn make<'py>(py: Python<'py>, future: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live type object.
    let size = unsafe { (*future.as_ptr().cast::<PyTypeObject>()).tp_basicsize } as usize;
    let spec = Spec {
        name: c"counterpoint.futures.ProcessFuture",
        size,
        flags: 0,
        slots: vec![
            slot(ffi::Py_tp_finalize, finalize as *mut c_void),
            slot(ffi::Py_tp_doc, DOC.as_ptr().cast_mut().cast()),
        ],
        methods: vec![noargs(c"kill", kill_it, KILL_DOC)],
        members: Vec::new(),
        attributes: Vec::new(),
    };
    let class = raw_type(py, spec, Some(future))?;
    TYPE.store(class.as_ptr().cast(), Ordering::Relaxed);
    std::mem::forget(class.clone());
    Ok(class)
}

const DOC: &std::ffi::CStr = c"The outcome of a call that runs in another process.

Its result stays as it came until somebody asks for it.";

const KILL_DOC: &std::ffi::CStr = c"kill($self)\n--\n\nStop the call: cancel it, or kill the \
process that runs it; True if it will not end by itself. A future whose process was killed raises \
TaskKilled.";
