//! What the tests on real threads share: a lock around a state, a crowd, and a way to wait.

#![allow(dead_code, reason = "every test file uses a part of it")]

use counterpoint_sync::clock::now;
use counterpoint_sync::wait::{Attempt, Deadline, Shared, Source, State, Wait, deliver};
use counterpoint_sync::waiter::{Notify, Parked, Waiter, Wakes};
use std::cell::UnsafeCell;
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

/// How many threads a crowd has: more than the machine has cores, so that they are preempted.
pub const THREADS: usize = 6;

/// What a test that hangs is given before the process is ended.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// A state behind a mutex.
pub struct Guarded<S>(Mutex<S>);

impl<S> Guarded<S> {
    pub fn new(state: S) -> Self {
        Self(Mutex::new(state))
    }
}

impl<S: State> Guarded<S> {
    /// Changes the state, then wakes whom that claimed.
    pub fn change<R>(&self, f: impl FnOnce(&mut S, &mut Wakes<S::Notify>) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = self.with(|state| f(state, &mut wakes));
        deliver(self, wakes);
        result
    }
}

impl<S> Shared for Guarded<S> {
    type State = S;

    fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

/// Here everybody is a thread.
pub struct NoTask;

impl Notify for NoTask {
    fn notify(&self) -> bool {
        unreachable!("there is no task here")
    }
}

/// A number without synchronisation of its own, so that ThreadSanitizer sees who lacks some.
pub struct Racy(UnsafeCell<usize>);

// SAFETY: none by itself; `read` and `update` leave it to their callers.
unsafe impl Sync for Racy {}

impl Racy {
    pub fn new(value: usize) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    /// Nobody updates it meanwhile.
    pub unsafe fn read(&self) -> usize {
        // SAFETY: the caller's promise.
        unsafe { *self.0.get() }
    }

    /// # Safety
    /// Nobody else reads or updates it meanwhile.
    pub unsafe fn update(&self, f: impl FnOnce(usize) -> usize) {
        // SAFETY: the caller's promise.
        unsafe { *self.0.get() = f(*self.0.get()) };
    }

    pub fn into_inner(self) -> usize {
        self.0.into_inner()
    }
}

/// A small random number generator (xorshift), so that every run of a thread is the same.
pub struct Chance(u64);

impl Chance {
    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// Runs `body` in every thread of a crowd, numbered from 1.
pub fn crowd(body: impl Fn(usize, &mut Chance) + Sync) {
    let (alive, ended) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if ended.recv_timeout(HANGS_AFTER) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("the crowd hangs: a wake-up was lost");
            std::process::abort();
        }
    });
    thread::scope(|scope| {
        for owner in 1..=THREADS {
            let body = &body;
            let mut chance = Chance((owner as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15));
            scope.spawn(move || {
                let _end = EndWithAll;
                body(owner, &mut chance);
            });
        }
    });
    drop(alive);
    watchdog.join().unwrap();
}

/// A thread that panics leaves the others waiting for it: all end with it.
struct EndWithAll;

impl Drop for EndWithAll {
    fn drop(&mut self) {
        if thread::panicking() {
            std::process::abort();
        }
    }
}

/// How long to wait.
#[derive(Clone, Copy)]
pub enum Patience {
    Endless,
    Until(Option<u64>),
    /// To be cancelled at once.
    Interrupted,
}

/// One operation of the thread `owner`, from the first attempt to its end.
pub fn wait<O>(
    shared: &Guarded<O::State>,
    owner: usize,
    source: O,
    patience: Patience,
) -> Option<O::Output>
where
    O: Source,
    O::State: State<Notify = NoTask>,
{
    finish(shared, owner, &mut Wait::new(source), patience)
}

/// Goes on with a wait to its end.
pub fn finish<O>(
    shared: &Guarded<O::State>,
    owner: usize,
    wait: &mut Wait<O>,
    patience: Patience,
) -> Option<O::Output>
where
    O: Source,
    O::State: State<Notify = NoTask>,
{
    let end = if let Patience::Until(deadline) = patience { deadline } else { None };
    let mut deadline = Deadline::new(end);
    loop {
        let waiter = match wait.attempt(shared, now, |since| Waiter::thread(owner, since)) {
            Attempt::Done(output) => return Some(output),
            Attempt::Pending(waiter) => waiter,
        };
        if let Patience::Interrupted = patience {
            wait.abandon(shared, now);
            return None;
        }
        if waiter.park(deadline.of(wait, now)) == Parked::TimedOut {
            let output = wait.expire(shared, now);
            if output.is_some() || !wait.is_queued() {
                return output;
            }
        }
    }
}
