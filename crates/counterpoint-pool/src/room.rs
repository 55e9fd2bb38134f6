//! [`Room`]: waiting until the pool would accept one more job.

use crate::state::{PoolState, Refusal};
use counterpoint_sync::wait::{Source, State};
use counterpoint_sync::waiter::{Claim, Notify, WaitList, Waiter, Wakes};

impl<N: Notify, K> State for PoolState<N, K> {
    type Notify = N;

    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        // A permission to submit that goes unused; a refusal went to everybody.
        if waiter.claimed() == Claim::Permission && self.refusal() != Some(Refusal::Full) {
            self.room.claim_first(Claim::Permission, wakes);
        }
    }
}

impl<N: Notify, K> PoolState<N, K> {
    /// Permits as many who wait as there is room for. One that had its turn and did not submit is
    /// made up for by the next call.
    pub(crate) fn admit(&mut self) {
        if self.room.is_empty() || self.limits.pending == usize::MAX {
            return;
        }
        for _ in self.pending()..self.limits.pending {
            if !self.room.claim_first(Claim::Permission, &mut self.wakes) {
                break;
            }
        }
    }
}

/// Waiting until the pool would accept a job, or never will.
pub struct Room<N, K>(std::marker::PhantomData<fn(N, K)>);

impl<N, K> Default for Room<N, K> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<N: Notify, K> Source for Room<N, K> {
    type State = PoolState<N, K>;
    type Output = ();

    fn take(&mut self, pool: &mut Self::State, _: Claim, _: &mut Wakes<N>) -> Option<()> {
        (pool.refusal() != Some(Refusal::Full)).then_some(())
    }

    fn list<'s>(&self, pool: &'s mut Self::State) -> &'s mut WaitList<N> {
        &mut pool.room
    }
}
