//! [`AcquireRead`] and [`AcquireWrite`]: waiting for either side of the lock.

use super::{Misuse, RwLockState};
use crate::lock::Who;
use crate::wait::{Leaving, Source};
use crate::waiter::{Claim, Notify, WaitList, Wakes};

/// Entering as a reader.
pub struct AcquireRead<N>(pub Who<N>);

/// Entering as the writer.
pub struct AcquireWrite<N>(pub Who<N>);

impl<N: Notify> Source for AcquireRead<N> {
    type State = RwLockState<N>;
    type Output = Result<(), Misuse>;

    fn take(
        &mut self,
        state: &mut RwLockState<N>,
        claim: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        if claim == Claim::Granted { Some(Ok(())) } else { state.try_read(&self.0, wakes) }
    }

    fn list<'s>(&self, state: &'s mut RwLockState<N>) -> &'s mut WaitList<N> {
        &mut state.reads
    }

    fn waited(&mut self, state: &mut RwLockState<N>, nanoseconds: u64) {
        state.waits.record(nanoseconds);
    }
}

impl<N: Notify> Source for AcquireWrite<N> {
    type State = RwLockState<N>;
    type Output = Result<(), Misuse>;

    fn take(
        &mut self,
        state: &mut RwLockState<N>,
        claim: Claim,
        _: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        if claim == Claim::Granted { Some(Ok(())) } else { state.try_write(&self.0) }
    }

    fn list<'s>(&self, state: &'s mut RwLockState<N>) -> &'s mut WaitList<N> {
        &mut state.writes
    }

    /// The readers that it kept out may enter now.
    fn left(&mut self, state: &mut RwLockState<N>, _: Leaving, wakes: &mut Wakes<N>) {
        state.admit(|| 0, wakes);
    }

    fn waited(&mut self, state: &mut RwLockState<N>, nanoseconds: u64) {
        state.waits.record(nanoseconds);
    }
}
