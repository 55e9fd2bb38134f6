//! [`Protected`]: the lock around every state, chosen by the build of the interpreter.
//!
//! With a GIL, being attached *is* holding the lock, as long as nothing inside calls Python or
//! detaches: no lock word, no atomic. Without a GIL it is a `PyMutex`, which detaches a thread
//! that has to wait, so that a stop-the-world pause is never blocked by it.

use counterpoint_sync::wait::Shared;
use pyo3::Python;
use std::cell::UnsafeCell;

/// A state that attached threads use one at a time.
#[derive(Default)]
pub struct Protected<S> {
    #[cfg(Py_GIL_DISABLED)]
    mutex: mutex::Word,
    state: UnsafeCell<S>,
}

// SAFETY: the state is only reached through `with`, which is exclusive: by the GIL, which the
// `Python` token proves to be held and which no closure gives up, or by the mutex.
unsafe impl<S: Send> Sync for Protected<S> {}

impl<S> Protected<S> {
    /// Puts `state` behind the lock.
    pub const fn new(state: S) -> Self {
        Self {
            #[cfg(Py_GIL_DISABLED)]
            mutex: mutex::Word::new(),
            state: UnsafeCell::new(state),
        }
    }

    /// Runs `f` with exclusive access. `f` must not call Python, drop a reference to a Python
    /// object that may be the last, detach, or enter the same state again.
    #[inline(always)]
    pub fn with<R>(&self, _: Python<'_>, f: impl FnOnce(&mut S) -> R) -> R {
        #[cfg(Py_GIL_DISABLED)]
        let _guard = self.mutex.lock();
        // SAFETY: exclusive by the argument on `Sync` above; not re-entered by this
        // function's contract, which keeps Python code out of `f`.
        f(unsafe { &mut *self.state.get() })
    }

    /// The state for a collector's traversal, when the world is stopped or the GIL is held.
    ///
    /// # Safety
    /// Only from `tp_traverse`/`__traverse__`: no thread is inside `with` then, because `with`
    /// contains no point at which a thread can be paused by the interpreter.
    pub unsafe fn peek(&self) -> &S {
        // SAFETY: the caller's promise.
        unsafe { &*self.state.get() }
    }

    /// The state of an object that is being deallocated or cleared.
    pub fn get_mut(&mut self) -> &mut S {
        self.state.get_mut()
    }

    /// This lock as the core sees it, with the proof of being attached.
    #[inline(always)]
    pub fn held<'a, 'py>(&'a self, py: Python<'py>) -> Held<'a, 'py, S> {
        Held { protected: self, py }
    }
}

/// A [`Protected`] in the hands of an attached thread.
pub struct Held<'a, 'py, S> {
    protected: &'a Protected<S>,
    py: Python<'py>,
}

impl<S> Shared for Held<'_, '_, S> {
    type State = S;

    #[inline(always)]
    fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        self.protected.with(self.py, f)
    }
}

#[cfg(Py_GIL_DISABLED)]
mod mutex {
    use counterpoint_sync::waiter::fork;
    use pyo3::ffi;
    use std::cell::UnsafeCell;
    use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

    /// The two states that CPython's own inline functions take by compare-and-swap.
    const UNLOCKED: u8 = 0;
    const LOCKED: u8 = 1;

    /// A `PyMutex`: one byte, fair after a millisecond, and it detaches those who wait.
    ///
    /// Fairness is a hand-off: the mutex is locked on behalf of a thread that is still detached,
    /// and a fork may come just then. In the child that thread is gone. So a word knows the
    /// generation of the process in which it was used last, and the first use in another one,
    /// before which no thread of the child can have locked it, begins with an unlocked mutex.
    pub(super) struct Word(UnsafeCell<ffi::PyMutex>, AtomicU32);

    impl Default for Word {
        fn default() -> Self {
            Self::new()
        }
    }

    impl Word {
        pub(super) const fn new() -> Self {
            Self(UnsafeCell::new(ffi::PyMutex::new()), AtomicU32::new(0))
        }

        #[inline(always)]
        fn bits(&self) -> &AtomicU8 {
            // SAFETY: `PyMutex` is one byte that everyone accesses atomically.
            unsafe { &*self.0.get().cast() }
        }

        #[inline(always)]
        pub(super) fn lock(&self) -> Guard<'_> {
            // ORDERING: Acquire pairs with the Release in `renew`.
            if self.1.load(Ordering::Acquire) != fork::generation() {
                self.renew();
            }
            // ORDERING: Acquire pairs with the Release of the unlock before.
            let (done, failed) = (Ordering::Acquire, Ordering::Relaxed);
            if self.bits().compare_exchange(UNLOCKED, LOCKED, done, failed).is_err() {
                // SAFETY: the word is initialised and stays in place; the thread is attached.
                unsafe { ffi::PyMutex_Lock(self.0.get()) };
            }
            Guard(self)
        }

        /// The first use since a fork, or at all: frees what a thread of the parent held.
        #[cold]
        fn renew(&self) {
            // One at a time, for a few instructions without a point at which a thread can be
            // paused by the interpreter: never held during a fork.
            static TURN: AtomicBool = AtomicBool::new(false);
            // ORDERING: Acquire pairs with the Release below, of the turn before.
            let (done, failed) = (Ordering::Acquire, Ordering::Relaxed);
            while TURN.compare_exchange_weak(false, true, done, failed).is_err() {
                std::hint::spin_loop();
            }
            if self.1.load(Ordering::Relaxed) != fork::generation() {
                self.bits().store(UNLOCKED, Ordering::Relaxed);
                // ORDERING: Release: whoever sees the generation sees the mutex unlocked.
                self.1.store(fork::generation(), Ordering::Release);
            }
            // ORDERING: Release, as above.
            TURN.store(false, Ordering::Release);
        }
    }

    pub(super) struct Guard<'a>(&'a Word);

    impl Drop for Guard<'_> {
        #[inline(always)]
        fn drop(&mut self) {
            let Guard(word) = self;
            // ORDERING: Release publishes the state to the next who locks.
            let (done, failed) = (Ordering::Release, Ordering::Relaxed);
            if word.bits().compare_exchange(LOCKED, UNLOCKED, done, failed).is_err() {
                // SAFETY: this guard is the proof that this thread locked it.
                unsafe { ffi::PyMutex_Unlock(word.0.get()) };
            }
        }
    }
}
