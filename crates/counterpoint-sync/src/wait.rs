//! [`Wait`]: any blocking operation of any object, as one state machine for threads and tasks.
//!
//! A *state* is an object's plain data ([`State`]); it lives behind a lock ([`Shared`]). A
//! *source* is one kind of operation on it ([`Source`]): how to try it, and in which list to
//! wait. An *attempt* tries once and queues a waiter if that failed. What each party does, and why
//! nothing is lost between them, is told in [`waiter`](crate::waiter).

mod deadline;

use crate::door::Arc;
use crate::waiter::{Claim, Key, Notify, WaitList, Waiter, Wakes};
pub use deadline::Deadline;

/// A lock around a state. Inside `with` nothing may call back or block.
pub trait Shared {
    /// What is protected.
    type State;

    /// Runs `f` with exclusive access.
    fn with<R>(&self, f: impl FnOnce(&mut Self::State) -> R) -> R;
}

/// An object's data, as far as waiting is concerned.
pub trait State {
    /// How its tasks are told.
    type Notify: Notify;

    /// `waiter` was claimed but will not use what it was given: passes it on, to `wakes`.
    fn unclaimed(&mut self, waiter: &Waiter<Self::Notify>, wakes: &mut Wakes<Self::Notify>);
}

/// Why an operation ends without its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// Its time was up.
    TimedOut,
    /// Its thread or task was interrupted.
    Cancelled,
}

/// One kind of operation on a state.
pub trait Source {
    /// On what.
    type State: State;
    /// What it brings.
    type Output;

    /// Whether it keeps its place while its thread runs a signal handler. Where a claim is a
    /// matter of the thing itself (a lock, an item) it must not: the handler may wait for the
    /// same object, behind a waiter that cannot use what it is given before the handler returns.
    /// Where a claim is a piece of news it must, for the news would be missed.
    const STAYS_IN_LINE: bool = false;

    /// Whether its claimer is a worker as a rule, which goes on to other tasks before it parks.
    const IS_FROM_WORKER: bool = false;

    /// Tries it, given what was decided about the waiter. `Granted` must succeed.
    fn take(
        &mut self,
        state: &mut Self::State,
        claim: Claim,
        wakes: &mut Wakes<<Self::State as State>::Notify>,
    ) -> Option<Self::Output>;

    /// Where those wait who could not.
    fn list<'s>(
        &self,
        state: &'s mut Self::State,
    ) -> &'s mut WaitList<<Self::State as State>::Notify>;

    /// How many nanoseconds a thread's first sleep may last: who claims it may leave it to wake by
    /// itself then. 0: it is always woken.
    fn doze(&self) -> u64 {
        0
    }

    /// Whether its time runs, so that a timeout may end it now. One whose time stands still waits
    /// on.
    fn may_expire(&self, _state: &Self::State) -> bool {
        true
    }

    /// It ends without an outcome: whoever stood behind it may have a chance now.
    fn left(
        &mut self,
        _state: &mut Self::State,
        _why: Leaving,
        _wakes: &mut Wakes<<Self::State as State>::Notify>,
    ) {
    }

    /// Hears how long a wait took, in nanoseconds, once it is over.
    fn waited(&mut self, _state: &mut Self::State, _nanoseconds: u64) {}
}

type NotifyOf<O> = <<O as Source>::State as State>::Notify;

/// The outcome of an attempt.
#[must_use]
pub enum Attempt<T, N> {
    /// It is over.
    Done(T),
    /// Sleep until this waiter is claimed, then attempt again.
    Pending(Arc<Waiter<N>>),
}

/// One operation in progress. Must end in `Done`, [`expire`](Wait::expire) or
/// [`abandon`](Wait::abandon).
pub struct Wait<O: Source> {
    /// The operation.
    pub source: O,
    queued: Option<(Arc<Waiter<NotifyOf<O>>>, Key)>,
    since: u64,
    /// Its place in line, where that is not its age.
    place: Option<u64>,
    /// Out of line while a signal handler runs, and still to be heard of by `Source::left`.
    aside: bool,
    /// Whether its time runs, as far as is known.
    timed: bool,
}

impl<O: Source> Wait<O> {
    /// An operation that has not been tried yet.
    pub fn new(source: O) -> Self {
        Self { source, queued: None, since: 0, place: None, aside: false, timed: true }
    }

    /// Tries without queueing.
    pub fn try_now<S: Shared<State = O::State>>(&mut self, shared: &S) -> Option<O::Output> {
        let mut wakes = Wakes::default();
        let output = shared.with(|state| self.source.take(state, Claim::None, &mut wakes));
        deliver(shared, wakes);
        output
    }

    /// Tries; if impossible now, queues the waiter that `make` builds from the time of the first
    /// attempt. `make` runs outside the lock. `now` is the current time.
    pub fn attempt<S: Shared<State = O::State>>(
        &mut self,
        shared: &S,
        now: impl Fn() -> u64,
        make: impl FnOnce(u64) -> Arc<Waiter<NotifyOf<O>>>,
    ) -> Attempt<O::Output, NotifyOf<O>> {
        if let Some(waiter) = self.in_line() {
            return Attempt::Pending(waiter);
        }
        let waited = self.since != 0;
        if !waited {
            self.since = now();
        }
        let waiter = make(self.place.unwrap_or(self.since));
        self.aside = false;
        let mut wakes = Wakes::default();
        let output = shared.with(|state| {
            let claim = self.leave(state, &mut wakes).map_or(Claim::None, |(_, claim)| claim);
            let output = self.source.take(state, claim, &mut wakes);
            match &output {
                Some(_) if waited => self.record(state, &now),
                Some(_) => {}
                None => {
                    self.timed = self.source.may_expire(state);
                    let key = self.source.list(state).insert(waiter.clone());
                    self.queued = Some((waiter.clone(), key));
                }
            }
            output
        });
        deliver(shared, wakes);
        match output {
            Some(output) => Attempt::Done(output),
            None => Attempt::Pending(waiter),
        }
    }

    /// A thread's waiter, if it is in its list. The one who calls lives, so a waiter that does not
    /// was queued before a fork, and nobody will claim it in the child. A task that attempts anew
    /// does so because it will be told in another way, and has to queue anew for that.
    fn in_line(&self) -> Option<Arc<Waiter<NotifyOf<O>>>> {
        let (waiter, _) = self.queued.as_ref()?;
        let stays = waiter.is_waiting() && waiter.is_alive() && waiter.notify().is_none();
        stays.then(|| waiter.clone())
    }

    /// The waiter with which it queued last, unless it has left the line since.
    pub fn waiter(&self) -> Option<&Arc<Waiter<NotifyOf<O>>>> {
        self.queued.as_ref().map(|(waiter, _)| waiter)
    }

    /// Takes a place ahead of one who came at `since`, and who cannot go on before this ends.
    pub fn precede(&mut self, since: u64) {
        self.place = Some(since.saturating_sub(1));
    }

    fn record(&mut self, state: &mut O::State, now: impl Fn() -> u64) {
        self.source.waited(state, now().saturating_sub(self.since));
    }

    /// Whether it queued, and so takes part in the order.
    pub fn is_queued(&self) -> bool {
        self.queued.is_some()
    }

    /// Whether its time runs, now that it is pending. Where it does not, it is not to be expired
    /// before the next attempt: see [`Deadline`].
    pub fn is_timed(&self) -> bool {
        self.timed
    }

    /// Ends it by timeout: leaves the line, but takes what a claim that came first allows. If it
    /// [`is_queued`](Self::is_queued) afterwards, the source has forbidden to give up now: it goes
    /// on with an attempt, and its time [stands still](Self::is_timed).
    pub fn expire<S: Shared<State = O::State>>(
        &mut self,
        shared: &S,
        now: impl Fn() -> u64,
    ) -> Option<O::Output> {
        self.queued.as_ref()?;
        let mut wakes = Wakes::default();
        let output = shared.with(|state| {
            self.timed = self.source.may_expire(state);
            if !self.timed {
                return None;
            }
            let (waiter, claim) = self.leave(state, &mut wakes)?;
            self.record(state, &now);
            if claim != Claim::None {
                let output = self.source.take(state, claim, &mut wakes);
                if output.is_some() {
                    return output;
                }
                state.unclaimed(&waiter, &mut wakes);
            }
            self.source.left(state, Leaving::TimedOut, &mut wakes);
            None
        });
        deliver(shared, wakes);
        output
    }

    /// Ends it without wanting the outcome: what a claim that came first gave is passed on. Whoever
    /// attempts it nevertheless begins another wait, in the old place.
    pub fn abandon<S: Shared<State = O::State>>(&mut self, shared: &S, now: impl Fn() -> u64) {
        if self.queued.is_none() && !self.aside {
            return;
        }
        self.aside = false;
        self.pass_on(shared, |wait, state, wakes| {
            wait.record(state, now);
            wait.source.left(state, Leaving::Cancelled, wakes);
        });
        self.place.get_or_insert(self.since);
        self.since = 0;
    }

    /// To be called before its own thread runs a signal handler, which may use the same object;
    /// the next attempt goes back to the old place. Those behind it do not hear of it: nothing
    /// changes for them unless it gives up.
    pub fn step_aside<S: Shared<State = O::State>>(&mut self, shared: &S) {
        if !O::STAYS_IN_LINE && self.queued.is_some() {
            self.aside = true;
            self.pass_on(shared, |_, _, _| {});
        }
    }

    /// Leaves the line, passes on what it was given, and does `more` under the same lock.
    fn pass_on<S: Shared<State = O::State>>(
        &mut self,
        shared: &S,
        more: impl FnOnce(&mut Self, &mut O::State, &mut Wakes<NotifyOf<O>>),
    ) {
        let mut wakes = Wakes::default();
        shared.with(|state| {
            if let Some((waiter, claim)) = self.leave(state, &mut wakes)
                && claim != Claim::None
            {
                state.unclaimed(&waiter, &mut wakes);
            }
            more(self, state, &mut wakes);
        });
        deliver(shared, wakes);
    }

    /// Leaves the line; the claim is the one to be used or passed on, if any.
    fn leave(
        &mut self,
        state: &mut O::State,
        wakes: &mut Wakes<NotifyOf<O>>,
    ) -> Option<(Arc<Waiter<NotifyOf<O>>>, Claim)> {
        let (waiter, key) = self.queued.take()?;
        wakes.discard(waiter.clone());
        if waiter.cancel() {
            wakes.discard(self.source.list(state).unlink(key));
            return Some((waiter, Claim::None));
        }
        let claim = waiter.spend();
        Some((waiter, claim))
    }
}

/// Wakes the claimed, with no lock held. What was given to one who can never run again (its
/// event loop is closed) goes to the next.
pub fn deliver<S>(shared: &S, mut wakes: Wakes<<S::State as State>::Notify>)
where
    S: Shared,
    S::State: State,
{
    while !wakes.is_empty() {
        for waiter in wakes.take_reminded() {
            // One that is gone was claimed before a fork, and is missed by nobody in the child.
            let _ = waiter.wake();
        }
        for waiter in wakes.take() {
            if !waiter.wake() {
                shared.with(|state| {
                    if waiter.spend() != Claim::None {
                        state.unclaimed(&waiter, &mut wakes);
                    }
                });
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
