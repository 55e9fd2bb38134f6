//! [`Join`]: waiting until everything that was put is done.

use super::state::{Denied, QueueState};
use super::store::Store;
use crate::wait::Source;
use crate::waiter::{Claim, Notify, WaitList, Wakes};
use std::marker::PhantomData;

/// Waiting until everything is done.
pub struct Join<N, S> {
    /// Whether it is enough that everything was done at one moment since.
    moment: bool,
    kind: PhantomData<fn(N, S)>,
}

impl<N, S> Default for Join<N, S> {
    /// For a thread, as in `queue`: what is put before it comes back is waited for as well.
    fn default() -> Self {
        Self { moment: false, kind: PhantomData }
    }
}

impl<N, S> Join<N, S> {
    /// For a task, as in `asyncio`: it goes on once everything was done.
    pub fn of_task() -> Self {
        Self { moment: true, ..Self::default() }
    }
}

impl<N: Notify, S: Store> Source for Join<N, S> {
    type State = QueueState<N, S>;
    type Output = Result<(), Denied>;

    fn take(
        &mut self,
        state: &mut QueueState<N, S>,
        claim: Claim,
        _: &mut Wakes<N>,
    ) -> Option<Result<(), Denied>> {
        if state.is_foreign() {
            return Some(Err(Denied::Foreign));
        }
        let told = self.moment && claim == Claim::Permission;
        (told || state.unfinished() == 0).then_some(Ok(()))
    }

    fn list<'s>(&self, state: &'s mut QueueState<N, S>) -> &'s mut WaitList<N> {
        &mut state.rare_mut().joiners
    }
}
