//! [`Priority`]: the store of a priority queue, with the order that the items or their keys have.

use super::arrivals::Arrivals;
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
    Stable(Stable<T>),
}

/// Items with keys and numbers.
pub struct Stable<T> {
    heap: Heap<Numbered<T>>,
    /// The number of the one that is put next.
    next: u64,
    /// Where the oldest is, from when that was first asked.
    arrivals: Option<Box<Arrivals>>,
}

impl<T> Stable<T> {
    fn new(next: u64) -> Self {
        Self { heap: Heap::default(), next, arrivals: None }
    }

    /// The entries in heap order.
    pub fn into_entries(self) -> Vec<Numbered<T>> {
        self.heap.into_entries()
    }

    fn push_by<X>(
        &mut self,
        ranked: Ranked<T>,
        mut less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<(), (X, Ranked<T>)> {
        let Self { heap, next, arrivals } = self;
        let entry = Numbered { ranked, number: *next };
        let pushed = heap.push(entry, |a, b| a.before(b, &mut less), note(arrivals));
        *next += u64::from(pushed.is_ok());
        pushed.map_err(|(error, entry)| (error, entry.ranked))
    }

    fn pop_by<X>(
        &mut self,
        mut less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<Option<Ranked<T>>, X> {
        let Self { heap, arrivals, .. } = self;
        let entry = heap.pop(|a, b| a.before(b, &mut less), note(arrivals))?;
        Ok(self.left(entry))
    }

    fn pop_oldest_by<X>(
        &mut self,
        mut less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<Option<Ranked<T>>, X> {
        let Self { heap, arrivals, .. } = self;
        let all = || heap.entries().iter().map(|entry| entry.number).zip(0..);
        let known = arrivals.get_or_insert_with(|| Box::new(Arrivals::of(all())));
        let Some(at) = known.oldest() else { return Ok(None) };
        let entry = heap.remove(at, |a, b| a.before(b, &mut less), note(arrivals))?;
        Ok(self.left(entry))
    }

    fn left(&mut self, entry: Option<Numbered<T>>) -> Option<Ranked<T>> {
        if let (Some(entry), Some(arrivals)) = (&entry, &mut self.arrivals) {
            arrivals.remove(entry.number);
        }
        entry.map(Numbered::into_ranked)
    }
}

/// Notes new places, if anybody wants to know.
fn note<T>(arrivals: &mut Option<Box<Arrivals>>) -> impl FnMut(&Numbered<T>, usize) {
    move |entry, place| {
        if let Some(arrivals) = arrivals {
            arrivals.set(entry.number, place);
        }
    }
}

/// For a heap whose places nobody wants to know.
fn ignore<E>(_: &E, _: usize) {}

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
        Self(Layout::Stable(Stable::new(0)))
    }

    /// Adds an item, in the order that `less` tells; it is given back if that fails.
    #[inline]
    pub fn push_by<X>(
        &mut self,
        ranked: Ranked<T>,
        less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<(), (X, Ranked<T>)> {
        match &mut self.0 {
            Layout::Plain(heap) => {
                let pushed = heap.push(ranked.item, less, ignore);
                pushed.map_err(|(error, item)| (error, Ranked::from(item)))
            }
            Layout::Stable(stable) => stable.push_by(ranked, less),
        }
    }

    /// Takes the first, in the order that `less` tells; nothing changes if that fails.
    #[inline]
    pub fn pop_by<X>(
        &mut self,
        less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<Option<Ranked<T>>, X> {
        match &mut self.0 {
            Layout::Plain(heap) => Ok(heap.pop(less, ignore)?.map(Ranked::from)),
            Layout::Stable(stable) => stable.pop_by(less),
        }
    }

    /// Takes the one that was put first; without numbers, the one that would come out first.
    pub fn pop_oldest_by<X>(
        &mut self,
        less: impl FnMut(&T, &T) -> Result<bool, X>,
    ) -> Result<Option<Ranked<T>>, X> {
        match &mut self.0 {
            Layout::Plain(_) => self.pop_by(less),
            Layout::Stable(stable) => stable.pop_oldest_by(less),
        }
    }

    /// Calls `visit` with every item and every key.
    pub fn for_each(&self, mut visit: impl FnMut(&T)) {
        match &self.0 {
            Layout::Plain(heap) => heap.entries().iter().for_each(visit),
            Layout::Stable(stable) => stable.heap.entries().iter().for_each(|entry| {
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
            Layout::Stable(stable) => stable.heap.entries().len(),
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
            Layout::Stable(Stable { heap, .. }) => {
                heap.entries().first().map(|entry| &entry.ranked.item)
            }
        }
    }

    fn allocated(&self) -> usize {
        match &self.0 {
            Layout::Plain(heap) => heap.allocated(),
            Layout::Stable(Stable { heap, arrivals, .. }) => {
                heap.allocated() + arrivals.as_ref().map_or(0, |arrivals| arrivals.allocated())
            }
        }
    }

    fn successor(&self) -> Self {
        match &self.0 {
            Layout::Plain(_) => Self::default(),
            Layout::Stable(stable) => Self(Layout::Stable(Stable::new(stable.next))),
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

    /// Each item has a key at random, and a third of them leaves in the order of the keys.
    #[test]
    fn the_oldest_is_found_however_the_others_move() {
        let (mut queue, mut random) = (Priority::stable(), 7_u64);
        let mut inside = std::collections::BTreeMap::new();
        for item in 1..if cfg!(miri) { 100 } else { 2000 } {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let key = 1 + (random >> 33) as i32 % 50;
            assert!(queue.push(ranked(key, item)).is_ok());
            inside.insert(item, key);
            if item % 3 == 0 {
                let got = queue.pop().unwrap().unwrap();
                let first = inside.iter().min_by_key(|(item, key)| (**key, **item));
                assert_eq!(first, Some((&got.item, &got.key.unwrap())));
                inside.remove(&got.item);
            } else if item % 3 == 1 && item > 30 {
                let oldest = queue.pop_oldest().unwrap().map(|ranked| ranked.item);
                assert_eq!(oldest, inside.pop_first().map(|(item, _)| item));
            }
        }
        while let Some(oldest) = queue.pop_oldest().unwrap() {
            assert_eq!(Some(oldest.item), inside.pop_first().map(|(item, _)| item));
        }
        assert!(inside.is_empty());
    }

    /// One that stays for ever must not keep the memory of all who came and went.
    #[test]
    fn what_is_remembered_of_arrivals_is_no_more_than_twice_the_heap() {
        let mut queue = Priority::stable();
        assert!((1..3).all(|item| queue.push(ranked(99, item)).is_ok()));
        assert_eq!(queue.pop_oldest().unwrap().map(|ranked| ranked.item), Some(1));
        for item in 3..if cfg!(miri) { 100 } else { 10_000 } {
            assert!(queue.push(ranked(1, item)).is_ok());
            assert_eq!(queue.pop().unwrap().map(|ranked| ranked.item), Some(item));
        }
        assert!(queue.allocated() < 1000);
        assert_eq!(queue.pop_oldest().unwrap().map(|ranked| ranked.item), Some(2));
    }

    /// In a queue so long that to search it for each put would take minutes.
    #[test]
    fn the_oldest_is_found_at_once() {
        const LENGTH: i32 = if cfg!(miri) { 50 } else { 50_000 };
        let mut queue = Priority::stable();
        for item in 1..LENGTH {
            assert!(queue.push(ranked(1 + item % 7, item)).is_ok());
        }
        for item in LENGTH..2 * LENGTH {
            assert!(queue.push(ranked(1 + item % 7, item)).is_ok());
            let oldest = queue.pop_oldest().unwrap().map(|ranked| ranked.item);
            assert_eq!(oldest, Some(item - LENGTH + 1));
        }
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
