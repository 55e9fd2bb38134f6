//! The models that loom runs: every interleaving, within a bound on preemptions, of a few parties
//! that use one object.
//!
//! What each checks comes for free from how it is built. A wake-up that is lost leaves a party
//! asleep, which loom reports as a deadlock. Mutual exclusion is a cell without synchronisation
//! of its own, which loom watches for races. What must not leak or double (a permit, a token) is
//! counted at the end.

mod barrier;
mod exclusion;
mod queue;
mod queue_batches;
mod rwlock;
mod signal;
mod waiter;

use crate::wait::{Attempt, Shared, Source, State, Wait, deliver};
use crate::waiter::{Notify, Parked, Waiter, Wakes};
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Condvar, Mutex};

/// Runs `model` in every interleaving, with three preemptions unless `LOOM_MAX_PREEMPTIONS` says
/// otherwise: every bug that a mutation of the protocol showed needs three at most.
pub fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}

/// A state behind loom's mutex.
pub struct Guarded<S>(Mutex<S>);

impl<S> Guarded<S> {
    pub fn new(state: S) -> Arc<Self> {
        Arc::new(Self(Mutex::new(state)))
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

/// What a task awaits.
#[derive(Default)]
pub struct Future(Mutex<bool>, Condvar);

impl Future {
    fn resolve(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }

    fn sleep(&self) {
        let mut resolved = self.0.lock().unwrap();
        while !*resolved {
            resolved = self.1.wait(resolved).unwrap();
        }
    }
}

/// How a task is told: through its future, or, its event loop being closed, not at all.
#[derive(Clone)]
pub enum Tell {
    Resolve(Arc<Future>),
    Closed,
}

impl Notify for Tell {
    fn notify(&self) -> bool {
        match self {
            Tell::Resolve(future) => future.resolve(),
            Tell::Closed => return false,
        }
        true
    }
}

/// What a party is and how it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A thread that waits as long as it takes.
    Thread,
    /// A task that waits as long as it takes.
    Task,
    /// A thread whose time is up as soon as it waits and its time runs.
    Expiring,
    /// A thread that is interrupted as soon as it waits.
    Interrupted,
    /// A thread that runs a signal handler as soon as it waits, and then waits on.
    Signalled,
    /// A task whose loop is closed, and which is forgotten.
    Forgotten,
    /// A task whose loop is closed, and which is collected as soon as it waits.
    Collected,
}

/// One operation of `owner`, driven the way of `kind`.
pub struct Party<O: Source> {
    kind: Kind,
    owner: usize,
    shared: Arc<Guarded<O::State>>,
    wait: Wait<O>,
    future: Arc<Future>,
}

impl<O> Party<O>
where
    O: Source,
    O::State: State<Notify = Tell>,
{
    pub fn new(kind: Kind, owner: usize, shared: &Arc<Guarded<O::State>>, source: O) -> Self {
        let (shared, wait) = (shared.clone(), Wait::new(source));
        Self { kind, owner, shared, wait, future: Arc::default() }
    }

    pub fn attempt(&mut self) -> Attempt<O::Output, Tell> {
        let make = |since| match self.kind {
            Kind::Task => {
                self.future = Arc::default();
                Waiter::task(self.owner, since, Tell::Resolve(self.future.clone()))
            }
            Kind::Forgotten | Kind::Collected => Waiter::task(self.owner, since, Tell::Closed),
            _ => Waiter::thread(self.owner, since),
        };
        self.wait.attempt(&*self.shared, || 1, make)
    }

    /// Stands in line.
    pub fn queued(mut self) -> Self {
        assert!(matches!(self.attempt(), Attempt::Pending(_)));
        self
    }

    /// Gives up without wanting the outcome.
    pub fn interrupt(&mut self) {
        self.wait.abandon(&*self.shared, || 2);
    }

    /// Goes on to the end. `None`: it ended without an outcome.
    pub fn finish(mut self) -> Option<O::Output> {
        loop {
            let waiter = match self.attempt() {
                Attempt::Done(output) => return Some(output),
                Attempt::Pending(waiter) => waiter,
            };
            match self.kind {
                Kind::Thread => assert_eq!(waiter.park(None), Parked::Woken),
                Kind::Task => self.future.sleep(),
                Kind::Expiring if !self.wait.is_timed() => {
                    assert_eq!(waiter.park(None), Parked::Woken);
                }
                Kind::Expiring => {
                    let output = self.wait.expire(&*self.shared, || 1);
                    if output.is_some() || !self.wait.is_queued() {
                        return output;
                    }
                }
                Kind::Interrupted | Kind::Collected => {
                    self.interrupt();
                    return None;
                }
                Kind::Signalled => {
                    self.wait.step_aside(&*self.shared);
                    self.kind = Kind::Thread;
                }
                Kind::Forgotten => return None,
            }
        }
    }
}

/// What several parties touch without synchronisation, because an object keeps them apart: loom
/// reports it if that does not.
///
/// Loom's time of a thread advances with its atomic steps; an access that directly follows an
/// unlocking would pass for one made before it. So each access begins with such a step.
#[derive(Default)]
pub struct Racy {
    value: UnsafeCell<u32>,
    step: AtomicU32,
}

// SAFETY: none by itself; loom checks every access.
unsafe impl Sync for Racy {}
// SAFETY: as above.
unsafe impl Send for Racy {}

impl Racy {
    pub fn read(&self) -> u32 {
        self.step.load(Ordering::Relaxed);
        // SAFETY: loom checks that nobody writes meanwhile.
        self.value.with(|value| unsafe { *value })
    }

    pub fn increment(&self) {
        self.step.load(Ordering::Relaxed);
        // SAFETY: loom checks that nobody else reads or writes meanwhile.
        self.value.with_mut(|value| unsafe { *value += 1 });
        self.step.load(Ordering::Relaxed);
    }
}

/// The clock of a release: too early for a hand-off, or late enough.
pub const CLOCKS: [u64; 2] = [0, u64::MAX];
