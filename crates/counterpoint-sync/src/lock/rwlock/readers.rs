//! [`Readers`]: who reads, how often, and on behalf of which task.

use crate::door::Arc;
use crate::waiter::{Waiter, Wakes};
use std::collections::HashMap;

/// Up to so many are found by looking at each.
const FEW: usize = 16;

struct Reader<N> {
    owner: usize,
    count: usize,
    task: Option<Arc<Waiter<N>>>,
}

/// The readers that are inside. Mostly few at a time, so a plain vector, searched from its end,
/// where those are who entered last. A crowd of tasks is looked up in a map.
pub(super) struct Readers<N> {
    inside: Vec<Reader<N>>,
    /// Where each owner is, while there are more than a few.
    #[expect(clippy::box_collection, reason = "a word in each lock, most of which never need it")]
    places: Option<Box<HashMap<usize, usize>>>,
}

impl<N> Default for Readers<N> {
    fn default() -> Self {
        Self { inside: Vec::new(), places: None }
    }
}

impl<N> Readers<N> {
    pub(super) fn len(&self) -> usize {
        self.inside.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inside.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, usize, Option<&Arc<Waiter<N>>>)> {
        self.inside.iter().map(|reader| (reader.owner, reader.count, reader.task.as_ref()))
    }

    fn position(&self, owner: usize) -> Option<usize> {
        match &self.places {
            Some(places) => places.get(&owner).copied(),
            None => self.inside.iter().rposition(|reader| reader.owner == owner),
        }
    }

    pub(super) fn contains(&self, owner: usize) -> bool {
        self.position(owner).is_some()
    }

    pub(super) fn add(&mut self, owner: usize, task: Option<&Arc<Waiter<N>>>) {
        match self.position(owner) {
            Some(at) => self.inside[at].count += 1,
            None => self.enter(Reader { owner, count: 1, task: task.cloned() }),
        }
    }

    fn enter(&mut self, reader: Reader<N>) {
        let (owner, at) = (reader.owner, self.inside.len());
        self.inside.push(reader);
        if let Some(places) = &mut self.places {
            places.insert(owner, at);
        } else if at == FEW {
            let owners = self.inside.iter().map(|reader| reader.owner);
            self.places = Some(Box::new(owners.zip(0..).collect()));
        }
    }

    /// One reading less; `false` if `owner` does not read.
    pub(super) fn remove(&mut self, owner: usize, wakes: &mut Wakes<N>) -> bool {
        let Some(at) = self.position(owner) else { return false };
        self.inside[at].count -= 1;
        if self.inside[at].count == 0 {
            self.leave(at).into_iter().for_each(|task| wakes.discard(task));
        }
        true
    }

    fn leave(&mut self, at: usize) -> Option<Arc<Waiter<N>>> {
        let reader = self.inside.swap_remove(at);
        if let Some(places) = &mut self.places {
            places.remove(&reader.owner);
            if let Some(moved) = self.inside.get(at) {
                places.insert(moved.owner, at);
            }
        }
        // Not as soon as they are few, or one who comes and goes would make the map each time.
        if self.inside.len() < FEW / 2 {
            self.places = None;
        }
        reader.task
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Owners enter and leave at random, now more of the one, now of the other.
    #[test]
    fn few_or_many_are_found() {
        let (mut readers, mut wakes) = (Readers::<()>::default(), Wakes::default());
        let (mut inside, mut random) = (BTreeMap::new(), 1_u64);
        for round in 0..if cfg!(miri) { 400 } else { 4000 } {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let owner = (random >> 33) as usize % 40;
            if (random >> 20) % 8 < if round / 200 % 2 == 0 { 6 } else { 2 } {
                readers.add(owner, None);
                *inside.entry(owner).or_insert(0) += 1;
            } else {
                assert_eq!(readers.remove(owner, &mut wakes), inside.contains_key(&owner));
                inside.entry(owner).and_modify(|count| *count -= 1);
                inside.retain(|_, count| *count > 0);
            }
            let seen: BTreeMap<_, _> = readers.iter().map(|(owner, n, _)| (owner, n)).collect();
            assert_eq!((seen, readers.len()), (inside.clone(), inside.len()));
            assert!((0..40).all(|owner| readers.contains(owner) == inside.contains_key(&owner)));
        }
    }

    /// So many that to look at each for each would take minutes.
    #[test]
    fn a_crowd_enters_and_leaves_at_once() {
        let (mut readers, mut wakes) = (Readers::<()>::default(), Wakes::default());
        let crowd = 0..if cfg!(miri) { 50 } else { 200_000 };
        crowd.clone().for_each(|owner| readers.add(owner, None));
        assert!(crowd.clone().all(|owner| readers.remove(owner, &mut wakes)));
        assert!(readers.is_empty() && readers.places.is_none());
    }
}
