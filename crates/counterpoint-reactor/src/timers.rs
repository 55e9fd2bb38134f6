//! [`Timers`]: callbacks that wait for their time.
//!
//! A binary heap, ordered by deadline and, within one, by when they were set. Cancelling one is its
//! owner's mark on the callback and a count here; the entry leaves the heap when it is the first that
//! would be slept for, or when those that are cancelled are half of all, whichever is first. So cancelling costs O(1), and
//! a heap of timeouts that never fire stays as small as the timeouts that may.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

/// Room for more than so many is given back when three quarters of it are empty.
const MANY: usize = 4096;

/// With fewer entries, cancelled ones are not worth a pass over the heap.
const FEW: usize = 128;

#[derive(Debug)]
struct Entry<T> {
    deadline: u64,
    turn: u64,
    callback: T,
}

impl<T> Entry<T> {
    fn key(&self) -> (u64, u64) {
        (self.deadline, self.turn)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// Callbacks by deadline, in nanoseconds of the monotonic clock.
#[derive(Debug)]
pub struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    turn: u64,
    cancelled: usize,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), turn: 0, cancelled: 0 }
    }
}

impl<T> Timers<T> {
    /// Sets a timer.
    #[inline(always)]
    pub fn push(&mut self, deadline: u64, callback: T) {
        self.turn += 1;
        self.heap.push(Reverse(Entry { deadline, turn: self.turn, callback }));
    }

    /// The first deadline, if there is a timer.
    #[inline(always)]
    pub fn first(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.deadline)
    }

    /// Takes out the first timer that is due at `now`.
    #[inline]
    pub fn pop_due(&mut self, now: u64) -> Option<T> {
        if self.first()? > now {
            return None;
        }
        self.pop()
    }

    #[inline]
    fn pop(&mut self) -> Option<T> {
        let Reverse(entry) = self.heap.pop()?;
        if self.heap.capacity() > MANY && self.heap.len() < self.heap.capacity() / 4 {
            self.heap.shrink_to(self.heap.capacity() / 2);
        }
        Some(entry.callback)
    }

    /// One of the timers in here was marked as cancelled; whether it is time to
    /// [`drop_cancelled`](Self::drop_cancelled).
    #[inline(always)]
    #[must_use]
    pub fn note_cancelled(&mut self) -> bool {
        self.cancelled += 1;
        self.heap.len() >= FEW && self.cancelled * 2 >= self.heap.len()
    }

    /// Takes out the first timer if it `is_cancelled`: nobody is to be woken for it.
    #[inline(always)]
    pub fn pop_cancelled(&mut self, is_cancelled: impl Fn(&T) -> bool) -> Option<T> {
        if self.cancelled == 0
            || !self.heap.peek().is_some_and(|first| is_cancelled(&first.0.callback))
        {
            return None;
        }
        self.cancelled -= 1;
        self.pop()
    }

    /// A timer that was taken out had been cancelled.
    pub fn forget_cancelled(&mut self) {
        self.cancelled = self.cancelled.saturating_sub(1);
    }

    /// Takes out the timers that `is_cancelled`, to be dropped outside the lock.
    #[must_use]
    pub fn drop_cancelled(&mut self, is_cancelled: impl Fn(&T) -> bool) -> Vec<T> {
        let entries = std::mem::take(&mut self.heap).into_vec();
        let (dead, alive): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|Reverse(entry)| is_cancelled(&entry.callback));
        self.heap = alive.into();
        self.cancelled = 0;
        dead.into_iter().map(|Reverse(entry)| entry.callback).collect()
    }

    /// How many there are, cancelled ones included.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The callbacks, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.heap.iter().map(|Reverse(entry)| &entry.callback)
    }

    /// Takes them all out, to be dropped outside the lock.
    #[must_use]
    pub fn clear(&mut self) -> Vec<T> {
        self.cancelled = 0;
        let entries = std::mem::take(&mut self.heap).into_vec();
        entries.into_iter().map(|Reverse(entry)| entry.callback).collect()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{FEW, MANY, Timers};
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn timers_fire_by_deadline_and_then_in_the_order_of_setting() {
        let mut timers = Timers::default();
        for (deadline, callback) in [(3, 'd'), (1, 'a'), (2, 'b'), (2, 'c'), (9, 'e')] {
            timers.push(deadline, callback);
        }
        assert_eq!(timers.first(), Some(1));
        assert_eq!(timers.pop_due(0), None, "never early");
        let fired: String = std::iter::from_fn(|| timers.pop_due(3)).collect();
        assert_eq!(fired, "abcd");
        assert_eq!(timers.pop_due(8), None);
        assert_eq!(timers.pop_due(9), Some('e'));
        assert!(timers.is_empty());
    }

    #[test]
    fn room_that_is_not_needed_is_given_back() {
        let mut timers = Timers::default();
        for deadline in 0..100_000 {
            timers.push(deadline, deadline);
        }
        let fired = (0..).map_while(|_| timers.pop_due(99_999)).filter(|timer| timer % 2 == 0);
        assert_eq!(fired.count(), 50_000);
        assert!(timers.heap.capacity() <= MANY, "room for {}", timers.heap.capacity());
    }

    #[test]
    fn cancelled_timers_do_not_fill_the_heap() {
        let mut timers = Timers::default();
        let mut most = 0;
        for deadline in 0..100_000 {
            let cancelled = Rc::new(Cell::new(false));
            timers.push(deadline, cancelled.clone());
            cancelled.set(true);
            if timers.note_cancelled() {
                drop(timers.drop_cancelled(|timer| timer.get()));
            }
            most = most.max(timers.len());
        }
        assert!(most <= FEW, "{most} entries");
    }

    #[test]
    fn nobody_sleeps_for_what_is_cancelled() {
        let mut timers = Timers::default();
        for deadline in [1, 2, 3, 4] {
            timers.push(deadline, deadline);
        }
        let is_cancelled = |timer: &u64| *timer != 3;
        assert_eq!(timers.pop_cancelled(is_cancelled), None, "none was noted");
        for _ in 0..3 {
            let _few = timers.note_cancelled();
        }
        let dropped: Vec<u64> = std::iter::from_fn(|| timers.pop_cancelled(is_cancelled)).collect();
        assert_eq!((dropped, timers.first()), (vec![1, 2], Some(3)));
        assert_eq!((timers.pop_due(3), timers.pop_cancelled(is_cancelled)), (Some(3), Some(4)));
        assert!(timers.is_empty());
    }

    #[test]
    fn what_is_not_cancelled_survives_the_clearing() {
        let mut timers = Timers::default();
        for deadline in (0..1000).rev() {
            timers.push(deadline, deadline);
        }
        let dead = timers.drop_cancelled(|timer| timer % 3 == 0);
        assert_eq!(dead.len(), 334);
        let left: Vec<u64> = std::iter::from_fn(|| timers.pop_due(1000)).collect();
        assert_eq!(left, (0..1000).filter(|timer| timer % 3 != 0).collect::<Vec<_>>());
    }
}
