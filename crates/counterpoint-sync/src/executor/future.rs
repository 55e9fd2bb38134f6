//! [`FutureState`]: the phases of a future, and the threads that wait for its end.
//!
//! # Phases
//!
//! | from      | to        | by                                     |
//! |-----------|-----------|----------------------------------------|
//! | Pending   | Running   | [`start`](FutureState::start)          |
//! | Pending   | Cancelled | [`cancel`](FutureState::cancel)        |
//! | Cancelled | Notified  | [`start`](FutureState::start)          |
//! | Pending   | Finished  | [`finish`](FutureState::finish)        |
//! | Running   | Finished  | [`finish`](FutureState::finish)        |
//! | Running   | Pending   | [`retry`](FutureState::retry)          |
//!
//! A future is *done* in the last three phases, which is when waiting threads go on; it is
//! *settled* in Notified and Finished, which is when collectors hear of it (as the stdlib's
//! `wait` and `as_completed` do).
//!
//! The result itself belongs to the binding, which stores it under the same lock as the phase.

use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};

/// Where a future stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Phase {
    /// Nothing happened yet. Zero, so that zeroed memory is a new future.
    Pending = 0,
    /// A worker runs it.
    Running,
    /// Cancelled, and its executor does not know yet.
    Cancelled,
    /// Cancelled, and its executor knows.
    Notified,
    /// It has a result or an exception.
    Finished,
}

impl Phase {
    /// Whether waiting for it is over.
    #[inline]
    pub fn is_done(self) -> bool {
        self as u8 >= Phase::Cancelled as u8
    }

    /// Whether collectors were told.
    #[inline]
    pub fn is_settled(self) -> bool {
        self as u8 >= Phase::Notified as u8
    }

    /// Whether it was cancelled.
    #[inline]
    pub fn is_cancelled(self) -> bool {
        matches!(self, Phase::Cancelled | Phase::Notified)
    }
}

/// What an executor that is about to run a future has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Start {
    /// Run it.
    Run,
    /// Leave it, and tell the collectors that it was cancelled.
    Cancelled,
    /// It was started before, or is over.
    Unexpected,
}

/// What became of a request to cancel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Cancel {
    /// This request cancelled it: run the callbacks.
    Now,
    /// It was cancelled before.
    Before,
    /// It runs, or has run.
    TooLate,
}

/// The phase and the waiting threads of one future. Sixteen bytes until somebody waits.
pub struct FutureState<N> {
    phase: Phase,
    /// How many attempts are over, or about to be.
    attempt: u32,
    waiters: Option<Box<WaitList<N>>>,
}

impl<N> Default for FutureState<N> {
    fn default() -> Self {
        Self { phase: Phase::Pending, attempt: 0, waiters: None }
    }
}

impl<N> FutureState<N> {
    /// Where it stands.
    #[inline]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// A worker takes it on.
    #[inline]
    pub fn start(&mut self) -> Start {
        match self.phase {
            Phase::Pending => {
                self.phase = Phase::Running;
                Start::Run
            }
            Phase::Cancelled => {
                self.phase = Phase::Notified;
                Start::Cancelled
            }
            _ => Start::Unexpected,
        }
    }

    /// Ends it with an outcome; the phase that forbids that otherwise.
    #[inline]
    pub fn finish(&mut self, wakes: &mut Wakes<N>) -> Result<(), Phase> {
        if self.phase.is_done() {
            return Err(self.phase);
        }
        self.enter(Phase::Finished, wakes);
        Ok(())
    }

    /// Cancels it unless it runs or has run.
    pub fn cancel(&mut self, wakes: &mut Wakes<N>) -> Cancel {
        match self.phase {
            Phase::Pending => {
                self.enter(Phase::Cancelled, wakes);
                Cancel::Now
            }
            Phase::Cancelled | Phase::Notified => Cancel::Before,
            Phase::Running | Phase::Finished => Cancel::TooLate,
        }
    }

    /// Goes back into the queue for another attempt; `false` if it ended meanwhile.
    #[must_use]
    pub fn retry(&mut self) -> bool {
        let running = self.phase == Phase::Running;
        if running {
            self.phase = Phase::Pending;
            self.attempt = self.attempt.wrapping_add(1);
        }
        running
    }

    /// Which attempt this is, counted from 0: what concerns one attempt only, as a time limit does,
    /// is void once the number is another.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The end of this attempt is decided: by its worker, or by its time limit. `false` to whoever
    /// comes second.
    #[must_use]
    pub fn decide(&mut self, attempt: u32) -> bool {
        let first = self.attempt == attempt;
        self.attempt = self.attempt.wrapping_add(u32::from(first));
        first
    }

    /// Enters any phase, whatever it was in, and wakes whoever waits for that.
    #[inline]
    pub fn enter(&mut self, phase: Phase, wakes: &mut Wakes<N>) {
        self.phase = phase;
        if phase.is_done()
            && let Some(mut waiters) = self.waiters.take()
        {
            waiters.claim_all(Claim::Permission, wakes);
        }
    }

    /// Gives the memory of the list back once nobody is in it.
    pub fn tidy(&mut self) -> Option<Box<WaitList<N>>> {
        self.waiters.take_if(|waiters| waiters.is_empty())
    }
}

impl<N: Notify> State for FutureState<N> {
    type Notify = N;

    // The end of a future is not used up: everybody was told, so there is nothing to pass on.
    fn unclaimed(&mut self, _: &Waiter<N>, _: &mut Wakes<N>) {}
}

/// Waiting for a future to be done.
pub struct Done<N>(std::marker::PhantomData<fn(N)>);

impl<N> Default for Done<N> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<N: Notify> Source for Done<N> {
    type State = FutureState<N>;
    type Output = ();

    const IS_FROM_WORKER: bool = true;

    fn take(&mut self, state: &mut FutureState<N>, _: Claim, _: &mut Wakes<N>) -> Option<()> {
        state.phase.is_done().then_some(())
    }

    fn list<'s>(&self, state: &'s mut FutureState<N>) -> &'s mut WaitList<N> {
        state.waiters.get_or_insert_default()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_final() {
        let (mut state, mut wakes) = (FutureState::<()>::default(), Wakes::default());
        assert_eq!(state.start(), Start::Run);
        assert_eq!(state.cancel(&mut wakes), Cancel::TooLate);
        assert_eq!(state.finish(&mut wakes), Ok(()));
        assert_eq!(state.finish(&mut wakes), Err(Phase::Finished));
        assert_eq!(state.start(), Start::Unexpected);
        assert!(!state.retry());
    }

    #[test]
    fn a_cancelled_one_is_settled_when_its_executor_knows() {
        let (mut state, mut wakes) = (FutureState::<()>::default(), Wakes::default());
        assert_eq!(state.cancel(&mut wakes), Cancel::Now);
        assert!(state.phase().is_done() && !state.phase().is_settled());
        assert_eq!(state.start(), Start::Cancelled);
        assert!(state.phase().is_settled());
        assert_eq!(state.cancel(&mut wakes), Cancel::Before);
        assert_eq!(state.finish(&mut wakes), Err(Phase::Notified));
    }

    #[test]
    fn who_is_second_decides_nothing() {
        let mut state = FutureState::<()>::default();
        let (worker, limit) = (state.attempt(), state.attempt());
        assert!(state.decide(worker));
        assert!(!state.decide(limit));
        assert!(state.decide(state.attempt()));
    }

    #[test]
    fn a_retry_is_pending_again() {
        let (mut state, mut wakes) = (FutureState::<()>::default(), Wakes::default());
        let _ = state.start();
        assert_eq!(state.attempt(), 0);
        assert!(state.retry());
        assert_eq!(state.attempt(), 1);
        assert_eq!(state.cancel(&mut wakes), Cancel::Now);
    }
}
