//! What this crate's own tests put around a state: a lock, tasks that can be dead, and short
//! ways to drive a wait by hand.

use crate::door::{Arc, Mutex};
use crate::wait::{Attempt, Shared, Source, State, Wait, deliver};
use crate::waiter::{Notify, Waiter, Wakes};

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

/// A task that can or cannot be told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Alive,
    Dead,
}

impl Notify for Task {
    fn notify(&self) -> bool {
        *self == Task::Alive
    }
}

/// One party: its wait, under its number, at its time.
pub struct Party<O: Source> {
    pub wait: Wait<O>,
    owner: usize,
    at: u64,
    task: Option<Task>,
}

impl<O: Source> Party<O>
where
    O::State: State<Notify = Task>,
{
    pub fn thread(owner: usize, at: u64, source: O) -> Self {
        Self { wait: Wait::new(source), owner, at, task: None }
    }

    pub fn task(owner: usize, at: u64, source: O, task: Task) -> Self {
        Self { wait: Wait::new(source), owner, at, task: Some(task) }
    }

    /// The same party, later.
    pub fn at(self, at: u64) -> Self {
        Self { at, ..self }
    }

    /// Attempts; the outcome, or the waiter that now stands in line.
    pub fn attempt(&mut self, shared: &Guarded<O::State>) -> Result<O::Output, Arc<Waiter<Task>>> {
        let (owner, task) = (self.owner, self.task);
        let make = |since| match task {
            Some(task) => Waiter::task(owner, since, task),
            None => Waiter::thread(owner, since),
        };
        match self.wait.attempt(shared, || self.at, make) {
            Attempt::Done(output) => Ok(output),
            Attempt::Pending(waiter) => Err(waiter),
        }
    }

    /// Attempts where the outcome must be to wait.
    pub fn queue(mut self, shared: &Guarded<O::State>) -> Self {
        assert!(self.attempt(shared).is_err(), "party {} need not wait", self.owner);
        self
    }

    /// Attempts where there must be an outcome.
    pub fn done(&mut self, shared: &Guarded<O::State>) -> O::Output {
        self.attempt(shared).unwrap_or_else(|_| panic!("party {} has to wait", self.owner))
    }

    /// Whether it is not claimed yet.
    pub fn waits(&mut self, shared: &Guarded<O::State>) -> bool {
        self.attempt(shared).is_err()
    }

    pub fn expire(&mut self, shared: &Guarded<O::State>) -> Option<O::Output> {
        self.wait.expire(shared, || self.at)
    }

    pub fn abandon(&mut self, shared: &Guarded<O::State>) {
        self.wait.abandon(shared, || self.at);
    }
}
