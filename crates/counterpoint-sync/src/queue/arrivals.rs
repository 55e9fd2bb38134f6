//! [`Arrivals`]: where in a heap each entry is, in the order in which they were put.
//!
//! A queue that drops its oldest item has to find that one in a heap which is in another order. So
//! each entry has a number, higher than those before, and a place, which is kept up to date while
//! the heap moves its entries.

use std::collections::VecDeque;

/// The place of one that has left.
const GONE: usize = usize::MAX;

/// Numbers, rising, and their places. The first one is never gone, and of the others half at most
/// are: so it is no longer than twice the heap.
#[derive(Default)]
pub(super) struct Arrivals {
    places: VecDeque<(u64, usize)>,
    gone: usize,
}

impl Arrivals {
    /// Of numbers, in any order, with their places.
    pub(super) fn of(numbers: impl Iterator<Item = (u64, usize)>) -> Self {
        let mut places: Vec<_> = numbers.collect();
        places.sort_unstable();
        Self { places: places.into(), gone: 0 }
    }

    /// The place of the oldest.
    pub(super) fn oldest(&self) -> Option<usize> {
        self.places.front().map(|(_, place)| *place)
    }

    /// `number` is at `place` now; one that is new is higher than all before.
    pub(super) fn set(&mut self, number: u64, place: usize) {
        match self.find(number) {
            Some(at) => self.places[at].1 = place,
            None => self.places.push_back((number, place)),
        }
    }

    /// `number` has left.
    pub(super) fn remove(&mut self, number: u64) {
        let Some(at) = self.find(number) else { return };
        self.places[at].1 = GONE;
        self.gone += 1;
        while self.oldest() == Some(GONE) {
            self.places.pop_front();
            self.gone -= 1;
        }
        if self.gone * 2 > self.places.len() {
            self.places.retain(|(_, place)| *place != GONE);
            self.gone = 0;
        }
    }

    fn find(&self, number: u64) -> Option<usize> {
        self.places.binary_search_by_key(&number, |(number, _)| *number).ok()
    }

    pub(super) fn allocated(&self) -> usize {
        self.places.capacity() * size_of::<(u64, usize)>()
    }
}
