//! [`Readers`]: who reads, how often, and on behalf of which task.

use crate::door::Arc;
use crate::waiter::{Waiter, Wakes};

struct Reader<N> {
    owner: usize,
    count: usize,
    task: Option<Arc<Waiter<N>>>,
}

/// The readers that are inside. Few at a time, so a plain vector, searched from its end, where
/// those are who entered last.
pub(super) struct Readers<N>(Vec<Reader<N>>);

impl<N> Default for Readers<N> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<N> Readers<N> {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize, Option<&Arc<Waiter<N>>>)> {
        self.0.iter().map(|reader| (reader.owner, reader.count, reader.task.as_ref()))
    }

    fn position(&self, owner: usize) -> Option<usize> {
        self.0.iter().rposition(|reader| reader.owner == owner)
    }

    pub(super) fn contains(&self, owner: usize) -> bool {
        self.position(owner).is_some()
    }

    pub(super) fn add(&mut self, owner: usize, task: Option<&Arc<Waiter<N>>>) {
        match self.position(owner) {
            Some(at) => self.0[at].count += 1,
            None => self.0.push(Reader { owner, count: 1, task: task.cloned() }),
        }
    }

    /// One reading less; `false` if `owner` does not read.
    pub(super) fn remove(&mut self, owner: usize, wakes: &mut Wakes<N>) -> bool {
        let Some(at) = self.position(owner) else { return false };
        self.0[at].count -= 1;
        if self.0[at].count == 0 {
            let reader = self.0.swap_remove(at);
            reader.task.into_iter().for_each(|task| wakes.discard(task));
        }
        true
    }
}
