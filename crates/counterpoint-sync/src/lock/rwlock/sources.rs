//! [`AcquireRead`] and [`AcquireWrite`]: waiting for either side of the lock.

use super::{Misuse, RwLockState};
use crate::door::Arc;
use crate::wait::{Leaving, Source};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};

/// On whose behalf.
pub struct Who<N> {
    owner: usize,
    task: Option<Arc<Waiter<N>>>,
}

impl<N> Who<N> {
    /// The thread `owner`.
    pub fn thread(owner: usize) -> Self {
        Self { owner, task: None }
    }

    /// A task, known by a waiter of its own.
    pub fn task_of(identity: Arc<Waiter<N>>) -> Self {
        Self { owner: identity.owner(), task: Some(identity) }
    }

    /// Its number.
    pub fn owner(&self) -> usize {
        self.owner
    }

    pub(super) fn task(&self) -> Option<&Arc<Waiter<N>>> {
        self.task.as_ref()
    }
}

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
