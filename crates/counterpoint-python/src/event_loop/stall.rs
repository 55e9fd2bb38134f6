//! The loop's side of the stall watchdog, and what the watchdog reads of a thread that is stuck.

use super::handle::{GUARDED, HandleObject};
use super::native::{ADOPTED, DEBUG, Loop, WATCHED};
use super::queue::Due;
use super::turn::{called, run_call, run_handle};
use crate::boundary::{Protected, thread_owner};
use crate::executor::reference::Ref;
use counterpoint_reactor::beat::Beat;
use counterpoint_reactor::clock;
use counterpoint_trace::Stalls;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What a loop and the watchdog's thread share.
#[derive(Default)]
pub struct Pulse {
    pub beat: Beat,
    /// The thread that runs the loop, as Python names threads.
    pub thread: AtomicU64,
    /// How long a callback may take, in nanoseconds; 0: the loop is not watched any more.
    threshold: AtomicU64,
    /// Whether stalls are logged.
    pub logs: AtomicBool,
    pub stalls: Arc<Stalls>,
    /// The watchdog has looked at the callback that takes long.
    pub captured: AtomicBool,
    /// A weak reference to the loop. Taken by attached threads.
    pub owner: Protected<Option<Ref>>,
    /// The callback that had begun before it was watched. Taken by attached threads.
    pub adopted: Protected<Option<Ref>>,
    /// The callback that has ended before. Taken by attached threads.
    pub late: Protected<Option<Ref>>,
}

impl Loop {
    /// Runs something under the watchdog's eyes.
    #[inline(never)]
    pub fn run_watched(&self, py: Python<'_>, owner: &Bound<'_, PyAny>, due: &Due) -> PyResult<()> {
        self.disown(py);
        let beat = &self.pulse.beat;
        if !self.is(DEBUG)
            && let Due::Call(handle) = due
            && let Some(handle) = HandleObject::check(handle.as_ptr())
        {
            let guarded = handle.is(GUARDED);
            let call = if guarded { handle.call(py) } else { called(py, handle) };
            let Some(call) = call else { return Ok(()) };
            let before = beat.enter(call.callback.as_ptr().cast());
            let done =
                if guarded { run_handle(py, handle) } else { run_call(py, Some(handle), &call) };
            self.leave(py, before, &call.callback);
            return done;
        }
        let before = beat.enter(due.object().as_ptr().cast());
        let done = if self.is(DEBUG) {
            self.run_debugged(py, owner, due)
        } else {
            self.run_due(py, owner, due)
        };
        self.leave(py, before, due.object());
        done
    }

    #[inline(always)]
    fn leave(&self, py: Python<'_>, before: *mut (), subject: &Ref) {
        if self.pulse.beat.leave(before) {
            self.ended(py, subject);
        }
    }

    /// From now on the callback is watched that runs already.
    pub fn adopt(&self, py: Python<'_>, subject: Ref) {
        let pulse = &self.pulse;
        if !self.is(WATCHED) || pulse.beat.is_running() {
            return;
        }
        let mut adopted = Some(subject.share());
        pulse.adopted.with(py, |place| std::mem::swap(place, &mut adopted));
        let _nothing = pulse.beat.enter(subject.as_ptr().cast());
        self.flag(ADOPTED, true);
    }

    /// The callback that was adopted is over: another begins, or the turn ends. So what is entered
    /// later never finds it in its place, nor puts it back there.
    #[inline(always)]
    pub fn disown(&self, py: Python<'_>) {
        if self.is(ADOPTED) {
            self.disown_now(py);
        }
    }

    #[cold]
    fn disown_now(&self, py: Python<'_>) {
        self.flag(ADOPTED, false);
        if let Some(subject) = self.pulse.adopted.with(py, Option::take) {
            self.leave(py, ptr::null_mut(), &subject);
        }
    }

    #[cold]
    fn ended(&self, py: Python<'_>, subject: &Ref) {
        let (pulse, now) = (&self.pulse, clock::now());
        pulse.beat.end(now);
        pulse.stalls.end(now);
        let unknown = !pulse.captured.load(Ordering::Relaxed);
        let mut subject = unknown.then(|| subject.share());
        pulse.late.with(py, |late| std::mem::swap(late, &mut subject));
    }

    /// It is not watched any more.
    pub fn unwatched(&self, py: Python<'_>) {
        self.set_watched(None, false);
        // While it runs, its own thread does that soon.
        if self.thread() == 0 || self.thread() == thread_owner() as u64 {
            self.disown(py);
        }
        drop(self.pulse.owner.with(py, Option::take));
        drop(self.pulse.late.with(py, Option::take));
    }

    /// Whether, from how many seconds on, and with what in the log, it is watched.
    pub fn set_watched(&self, threshold: Option<f64>, logs: bool) {
        let nanoseconds = threshold.map_or(0, |seconds| ((seconds * clock::SECOND) as u64).max(1));
        self.pulse.logs.store(logs, Ordering::Relaxed);
        self.pulse.threshold.store(nanoseconds, Ordering::Relaxed);
        self.flag(WATCHED, nanoseconds != 0);
    }
}

impl Pulse {
    /// How long a callback may take, in nanoseconds; 0: it is not watched.
    pub fn threshold(&self) -> u64 {
        self.threshold.load(Ordering::Relaxed)
    }

    /// What runs, and the stack of the loop's thread from the innermost frame on, if the callback of
    /// that number runs still. Afterwards what has run, or `None` if that is not known either.
    pub fn look(&self, py: Python<'_>, count: u64) -> PyResult<Option<(Ref, Option<Stack>)>> {
        let frames = py.import(intern!(py, "sys"))?.call_method0(intern!(py, "_current_frames"))?;
        let top = frames.get_item(self.thread.load(Ordering::Relaxed)).ok();
        let found = Stopped::world(py).and_then(|_stopped| {
            // SAFETY: the callback runs until its thread gets on, which it does not now. What it
            // is, the running call holds.
            self.beat.subject(count).map(|subject| unsafe {
                (Ref::new(subject.cast().as_ptr()), stack(py, top.as_ref()))
            })
        });
        let late = self.late.with(py, Option::take);
        if let Some((subject, stack)) = found {
            self.captured.store(true, Ordering::Relaxed);
            return Ok(Some((subject, Some(stack))));
        }
        Ok(late.map(|subject| (subject, None)))
    }
}

/// Frames from the innermost on; held, because nothing may be destroyed while the world is stopped.
pub struct Stack(Vec<(Ref, Py<PyAny>, i32)>);

impl Stack {
    /// The code of each frame, and the line it is at.
    pub fn lines(self) -> Vec<(Py<PyAny>, i32)> {
        self.0.into_iter().map(|(_, code, line)| (code, line)).collect()
    }
}

/// The frames from `top` on, outwards.
///
/// # Safety
/// The thread whose stack that is does not get on meanwhile.
unsafe fn stack(py: Python<'_>, top: Option<&Bound<'_, PyAny>>) -> Stack {
    let mut frames = Vec::new();
    // SAFETY: a live frame, and those behind it, which are new references, or null; the caller's
    // promise for the rest.
    unsafe {
        let mut next = top.map(|top| Ref::new(top.as_ptr()));
        while let Some(frame) = next {
            let place: *mut ffi::PyFrameObject = frame.as_ptr().cast();
            let code = Bound::from_owned_ptr(py, ffi::PyFrame_GetCode(place).cast()).unbind();
            let line = ffi::PyFrame_GetLineNumber(place);
            next = Ref::owned(ffi::PyFrame_GetBack(place).cast::<PyObject>());
            frames.push((frame, code, line));
        }
    }
    Stack(frames)
}

/// No other thread runs Python while this lives. With a GIL, that is so for who is attached.
struct Stopped {
    #[cfg(Py_GIL_DISABLED)]
    start: Interpreter,
}

#[cfg(Py_GIL_DISABLED)]
type Interpreter = unsafe extern "C" fn(*mut ffi::PyInterpreterState);

impl Stopped {
    /// `None`: the interpreter does not offer it.
    #[cfg(not(Py_GIL_DISABLED))]
    fn world(_: Python<'_>) -> Option<Self> {
        Some(Self {})
    }

    #[cfg(Py_GIL_DISABLED)]
    fn world(_: Python<'_>) -> Option<Self> {
        let function = |name: &std::ffi::CStr| {
            // SAFETY: a name, looked up in what is loaded; both functions have that signature.
            unsafe {
                let place = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
                (!place.is_null()).then(|| std::mem::transmute::<_, Interpreter>(place))
            }
        };
        let stop = function(c"_PyEval_StopTheWorld")?;
        let start = function(c"_PyEval_StartTheWorld")?;
        // SAFETY: the thread is attached, and the world not stopped by it.
        unsafe { stop(ffi::PyInterpreterState_Get()) };
        Some(Self { start })
    }
}

#[cfg(Py_GIL_DISABLED)]
impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: the same thread has stopped it.
        unsafe { (self.start)(ffi::PyInterpreterState_Get()) };
    }
}
