//! What is said about tasks and workers, and to whom.

use crate::door::Arc;
use crate::waiter::{Waiter, fork};

/// Whom a change of the pool calls. To be carried out with no lock held.
#[must_use]
pub enum Call<N> {
    /// Nobody.
    Nobody,
    /// This sleeping worker, already claimed.
    Wake(Arc<Waiter<N>>),
    /// A new worker, already counted.
    Start(Start),
}

/// A worker that is to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// What its thread has to bring along.
    pub number: u64,
    /// Whether it leaves when it is not needed any more.
    pub extra: bool,
}

/// A worker's place in the pool, from its arrival until it leaves.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub(super) extra: bool,
    pub(super) generation: u32,
}

impl Member {
    /// Whether it leaves when it is not needed any more.
    pub fn is_extra(self) -> bool {
        self.extra
    }

    /// Whether this is still the process in which it arrived. In a child that its own task forked,
    /// a worker is none any more, whatever becomes of the pool there.
    #[inline]
    pub fn is_here(self) -> bool {
        self.generation == fork::generation()
    }
}

/// What a worker that asked has to do.
#[must_use]
pub enum Next<T, N> {
    /// Run this, after carrying out the call.
    Run(T, Call<N>),
    /// Sleep on the waiter it brought, then ask again.
    Sleep,
    /// Leave, after carrying out the call. It is not counted any more.
    Leave(Call<N>),
}

/// Why a task was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pool was shut down.
    Closed,
    /// As many tasks wait as may.
    Full,
}

/// How many tasks are where.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Run now.
    pub running: usize,
    /// Returned.
    pub done: u64,
    /// Raised.
    pub failed: u64,
    /// Were cancelled before they ran.
    pub cancelled: u64,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Done,
    /// It raised.
    Failed,
    /// It had been cancelled and did not run.
    Cancelled,
    /// It goes back into the queue, or was counted already.
    Uncounted,
}
