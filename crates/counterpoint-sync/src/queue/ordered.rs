//! [`Ordered`]: one store for queues of any order, chosen when it is made.
//!
//! One type and a branch, instead of one type for each order: whoever has a queue of one order
//! in its hands as a queue (Python's `LifoQueue` *is* a `Queue`) can operate on it.

use super::blocks::Blocks;
use super::priority::{Comparable, Priority, Ranked};
use super::store::{Store, Undecided};

/// Items in one of three orders.
pub enum Ordered<T> {
    /// First in, first out.
    Fifo(Blocks<T>),
    /// Last in, first out.
    Lifo(Blocks<T>),
    /// The lowest first.
    Priority(Priority<T>),
}

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self::Fifo(Blocks::default())
    }
}

impl<T: Comparable> Store for Ordered<T> {
    type Item = Ranked<T>;
    type Object = T;

    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Fifo(blocks) | Self::Lifo(blocks) => blocks.len(),
            Self::Priority(priority) => priority.len(),
        }
    }

    #[inline]
    fn push(&mut self, ranked: Ranked<T>) -> Result<(), Ranked<T>> {
        match self {
            Self::Fifo(blocks) | Self::Lifo(blocks) => {
                blocks.push_back(ranked.item);
                Ok(())
            }
            Self::Priority(priority) => priority.push(ranked),
        }
    }

    #[inline]
    fn pop(&mut self) -> Result<Option<Ranked<T>>, Undecided> {
        match self {
            Self::Fifo(blocks) => Ok(blocks.pop_front().map(Ranked::from)),
            Self::Lifo(blocks) => Ok(blocks.pop_back().map(Ranked::from)),
            Self::Priority(priority) => priority.pop(),
        }
    }

    fn pop_oldest(&mut self) -> Result<Option<Ranked<T>>, Undecided> {
        match self {
            Self::Fifo(blocks) | Self::Lifo(blocks) => Ok(blocks.pop_front().map(Ranked::from)),
            Self::Priority(priority) => priority.pop_oldest(),
        }
    }

    fn front(&self) -> Option<&T> {
        match self {
            Self::Fifo(blocks) => blocks.front(),
            Self::Lifo(blocks) => blocks.back(),
            Self::Priority(priority) => priority.front(),
        }
    }

    fn allocated(&self) -> usize {
        match self {
            Self::Fifo(blocks) | Self::Lifo(blocks) => blocks.allocated(),
            Self::Priority(priority) => priority.allocated(),
        }
    }

    fn successor(&self) -> Self {
        match self {
            Self::Fifo(_) => Self::Fifo(Blocks::default()),
            Self::Lifo(_) => Self::Lifo(Blocks::default()),
            Self::Priority(priority) => Self::Priority(priority.successor()),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_order_has_its_next_and_its_oldest() {
        let orders: [fn() -> Ordered<i32>; 3] = [
            Ordered::default,
            || Ordered::Lifo(Blocks::default()),
            || Ordered::Priority(Priority::stable()),
        ];
        for (make, expected) in orders.into_iter().zip([[8, 5, 8], [5, 5, 8], [3, 3, 8]]) {
            let mut store = make();
            for item in [8, 3, 5] {
                assert!(store.push(item.into()).is_ok());
            }
            let next = store.front().copied();
            let oldest = store.pop_oldest().unwrap().map(|ranked| ranked.item);
            let after = store.pop().unwrap().map(|ranked| ranked.item);
            let expected_after = if expected[0] == 8 { 3 } else { expected[1] };
            assert_eq!((next, after, oldest), (Some(expected[0]), Some(expected_after), Some(8)));
            assert_eq!(store.successor().len(), 0);
        }
    }
}
