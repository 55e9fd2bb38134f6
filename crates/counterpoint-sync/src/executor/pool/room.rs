//! [`Room`]: submitting to a pool in which only so many tasks may wait.

use super::{Call, PoolState, Refusal};
use crate::wait::Source;
use crate::waiter::{Claim, Notify, WaitList, Wakes};

/// What became of a task.
#[must_use]
pub enum Admission<N> {
    /// It is queued: carry out the call.
    Queued(Call<N>),
    /// It is not, and never will be; it is still in the [`Room`].
    Closed,
    /// This is a child's copy of the pool, to be adopted first; the task is still in the [`Room`].
    Foreign,
}

/// Waiting until the pool accepts a task. It is queued in the same step that finds the room: whoever
/// is interrupted in between would have spent a permission, and others would go on waiting.
pub struct Room<T, N> {
    /// What is to be queued, until it is.
    pub task: Option<T>,
    priority: i64,
    /// Marks it with the time.
    stamp: fn(&mut PoolState<T, N>, &mut T),
}

impl<T, N> Room<T, N> {
    /// Room for this task.
    pub fn new(task: T, priority: i64, stamp: fn(&mut PoolState<T, N>, &mut T)) -> Self {
        Self { task: Some(task), priority, stamp }
    }
}

impl<T, N: Notify> Source for Room<T, N> {
    type State = PoolState<T, N>;
    type Output = Admission<N>;

    fn take(&mut self, pool: &mut Self::State, _: Claim, _: &mut Wakes<N>) -> Option<Admission<N>> {
        if pool.is_foreign() {
            return Some(Admission::Foreign);
        }
        match pool.refusal() {
            Some(Refusal::Full) => None,
            Some(Refusal::Closed) => Some(Admission::Closed),
            None => {
                let mut task = self.task.take()?;
                (self.stamp)(pool, &mut task);
                Some(Admission::Queued(pool.push(task, self.priority)))
            }
        }
    }

    fn list<'s>(&self, pool: &'s mut Self::State) -> &'s mut WaitList<N> {
        &mut pool.room
    }
}

/// Waiting until the pool would accept a task, or never will: for one who has to make it first.
/// Whoever then makes none tells [`PoolState::pass_room_on`].
pub struct Opening<T, N>(std::marker::PhantomData<fn(T, N)>);

impl<T, N> Default for Opening<T, N> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T, N: Notify> Source for Opening<T, N> {
    type State = PoolState<T, N>;
    type Output = ();

    fn take(&mut self, pool: &mut Self::State, _: Claim, _: &mut Wakes<N>) -> Option<()> {
        (pool.refusal() != Some(Refusal::Full)).then_some(())
    }

    fn list<'s>(&self, pool: &'s mut Self::State) -> &'s mut WaitList<N> {
        &mut pool.room
    }
}
