//! [`Who`]: the party that holds, or wants to hold, what many may.

use crate::door::Arc;
use crate::waiter::Waiter;

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
