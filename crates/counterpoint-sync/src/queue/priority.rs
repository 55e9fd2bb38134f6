//! [`Priority`]: the store of a priority queue, with the order that the items or their keys have.

use super::heap::Heap;
use super::store::{Store, Undecided};

/// Whose order can sometimes be told without calling back.
pub trait Comparable {
    /// Whether `self` is less than `other`; `Err` if only a call could tell.
    fn less(&self, other: &Self) -> Result<bool, Undecided>;
}

/// An item and, if it is not its own, the key by which it is ordered.
pub struct Ranked<T> {
    /// What was put.
    pub item: T,
    /// By what it is ordered.
    pub key: Option<T>,
}

impl<T> From<T> for Ranked<T> {
    fn from(item: T) -> Self {
        Self { item, key: None }
    }
}

/// A ranked item with its number, which decides between equals.
pub struct Numbered<T> {
    ranked: Ranked<T>,
    number: u64,
}

impl<T> Numbered<T> {
    /// How many were put before it.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// The item and its key, for good.
    pub fn into_ranked(self) -> Ranked<T> {
        self.ranked
    }

    fn key(&self) -> &T {
        self.ranked.key.as_ref().unwrap_or(&self.ranked.item)
    }

    /// Whether `self` comes out before `other`: the lower key, among equals the earlier one.
    /// One call of `less` tells.
    fn before<X>(
        &self,
        other: &Self,
        less: &mut impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<bool, X> {
        if self.number > other.number {
            return less(self.key(), other.key());
        }
        Ok(!less(other.key(), self.key())?)
    }
}

/// The two layouts of a [`Priority`].
pub enum Layout<T> {
    /// Items and nothing else, one word each; the order among equals is not defined.
    Plain(Heap<T>),
    /// Items with keys and numbers: equals come out in the order in which they were put.
    Stable(Heap<Numbered<T>>, u64),
}

/// The lowest first.
pub struct Priority<T>(pub Layout<T>);

impl<T> Default for Priority<T> {
    fn default() -> Self {
        Self(Layout::Plain(Heap::default()))
    }
}

impl<T> Priority<T> {
    /// One that remembers the order of arrival; needed for keys and for dropping the oldest.
    pub fn stable() -> Self {
        Self(Layout::Stable(Heap::default(), 0))
    }

    /// Adds an item, in the order that `less` tells; it is given back if that fails.
    #[inline]
    pub fn push_by<X>(
        &mut self,
        ranked: Ranked<T>,
        mut less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<(), (X, Ranked<T>)> {
        match &mut self.0 {
            Layout::Plain(heap) => {
                heap.push(ranked.item, less).map_err(|(error, item)| (error, Ranked::from(item)))
            }
            Layout::Stable(heap, next) => {
                let entry = Numbered { ranked, number: *next };
                let pushed = heap.push(entry, |a, b| a.before(b, &mut less));
                *next += u64::from(pushed.is_ok());
                pushed.map_err(|(error, entry)| (error, entry.ranked))
            }
        }
    }

    /// Takes the first, in the order that `less` tells; nothing changes if that fails.
    #[inline]
    pub fn pop_by<X>(
        &mut self,
        mut less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<Option<Ranked<T>>, X> {
        match &mut self.0 {
            Layout::Plain(heap) => Ok(heap.pop(less)?.map(Ranked::from)),
            Layout::Stable(heap, _) => {
                Ok(heap.pop(|a, b| a.before(b, &mut less))?.map(|entry| entry.ranked))
            }
        }
    }

    /// Takes the one that was put first; without numbers, the one that would come out first.
    pub fn pop_oldest_by<X>(
        &mut self,
        mut less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<Option<Ranked<T>>, X> {
        let Layout::Stable(heap, _) = &mut self.0 else { return self.pop_by(less) };
        let numbers = heap.entries().iter().map(|entry| entry.number).enumerate();
        let Some((at, _)) = numbers.min_by_key(|(_, number)| *number) else { return Ok(None) };
        let removed = heap.remove(at, |a, b| a.before(b, &mut less))?;
        Ok(removed.map(|entry| entry.ranked))
    }

    /// Calls `visit` with every item and every key.
    pub fn for_each(&self, mut visit: impl FnMut(&T)) {
        match &self.0 {
            Layout::Plain(heap) => heap.entries().iter().for_each(visit),
            Layout::Stable(heap, _) => heap.entries().iter().for_each(|entry| {
                visit(&entry.ranked.item);
                entry.ranked.key.iter().for_each(&mut visit);
            }),
        }
    }
}

impl<T: Comparable> Store for Priority<T> {
    type Item = Ranked<T>;
    type Object = T;

    #[inline]
    fn len(&self) -> usize {
        match &self.0 {
            Layout::Plain(heap) => heap.entries().len(),
            Layout::Stable(heap, _) => heap.entries().len(),
        }
    }

    #[inline]
    fn push(&mut self, ranked: Ranked<T>) -> Result<(), Ranked<T>> {
        self.push_by(ranked, T::less).map_err(|(_, ranked)| ranked)
    }

    #[inline]
    fn pop(&mut self) -> Result<Option<Ranked<T>>, Undecided> {
        self.pop_by(T::less)
    }

    fn pop_oldest(&mut self) -> Result<Option<Ranked<T>>, Undecided> {
        self.pop_oldest_by(T::less)
    }

    fn front(&self) -> Option<&T> {
        match &self.0 {
            Layout::Plain(heap) => heap.entries().first(),
            Layout::Stable(heap, _) => heap.entries().first().map(|entry| &entry.ranked.item),
        }
    }

    fn allocated(&self) -> usize {
        match &self.0 {
            Layout::Plain(heap) => heap.allocated(),
            Layout::Stable(heap, _) => heap.allocated(),
        }
    }

    fn successor(&self) -> Self {
        match &self.0 {
            Layout::Plain(_) => Self::default(),
            Layout::Stable(_, next) => Self(Layout::Stable(Heap::default(), *next)),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn ranked(key: i32, item: i32) -> Ranked<i32> {
        Ranked { item, key: Some(key) }
    }

    #[test]
    fn equals_come_out_in_the_order_of_arrival() {
        let mut queue = Priority::stable();
        for item in 0..100 {
            assert!(queue.push(ranked(1 + item % 3, item)).is_ok());
        }
        let out: Vec<i32> =
            std::iter::from_fn(|| queue.pop().unwrap()).map(|ranked| ranked.item).collect();
        let mut expected: Vec<i32> = (0..100).collect();
        expected.sort_by_key(|item| item % 3);
        assert_eq!(out, expected);
    }

    #[test]
    fn the_oldest_goes_whatever_its_key() {
        let mut queue = Priority::stable();
        for (key, item) in [(9, 1), (3, 2), (5, 3)] {
            assert!(queue.push(ranked(key, item)).is_ok());
        }
        assert_eq!(queue.pop_oldest().unwrap().map(|ranked| ranked.item), Some(1));
        assert_eq!(queue.pop().unwrap().map(|ranked| ranked.item), Some(2));
    }

    #[test]
    fn undecided_changes_nothing() {
        let mut queue = Priority::default();
        assert!(queue.push(Ranked::from(5)).is_ok());
        assert_eq!(queue.push(Ranked::from(0)).map_err(|ranked| ranked.item), Err(0));
        assert_eq!(queue.len(), 1);
        let pushed = queue.push_by(Ranked::from(0), |a, b| Ok::<_, ()>(a < b));
        assert!(pushed.is_ok() && queue.front() == Some(&0));
    }
}
