//! [`Stalls`]: the last callbacks that kept an event loop for long, and how many there were.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many are kept.
const KEPT: usize = 16;

/// File, line and function.
pub type Line = (String, u32, String);

/// A callback that kept its loop for long; every time in nanoseconds.
#[derive(Debug, Default)]
pub struct Stall {
    /// What it is called.
    pub callback: String,
    /// When it was first seen.
    pub began: u64,
    /// How long after that its stack was recorded; `None`: it had ended before.
    pub sampled: Option<u64>,
    /// The stack, the innermost frame last.
    pub stack: Vec<Line>,
    /// How long it took; 0 while it goes on.
    pub lasted: AtomicU64,
}

impl Stall {
    /// It has ended, after so long.
    pub fn end(&self, lasted: u64) {
        self.lasted.store(lasted.max(1), Ordering::Relaxed);
    }

    /// How long it took; `None` while it goes on.
    pub fn length(&self) -> Option<u64> {
        Some(self.lasted.load(Ordering::Relaxed)).filter(|lasted| *lasted != 0)
    }
}

/// Those of one loop, or of several.
#[derive(Debug, Default)]
pub struct Stalls {
    count: AtomicU64,
    recent: Mutex<VecDeque<Arc<Stall>>>,
}

impl Stalls {
    fn recent(&self) -> MutexGuard<'_, VecDeque<Arc<Stall>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more.
    pub fn push(&self, stall: Arc<Stall>) {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut recent = self.recent();
        let oldest = if recent.len() == KEPT { recent.pop_front() } else { None };
        recent.push_back(stall);
        drop((recent, oldest));
    }

    /// The last one, if it goes on, has ended by now.
    pub fn end(&self, now: u64) {
        if let Some(stall) = self.recent().back().filter(|stall| stall.length().is_none()) {
            stall.end(now.saturating_sub(stall.began));
        }
    }

    /// Adds those of another.
    pub fn merge(&self, other: &Stalls) {
        self.count.fetch_add(other.count(), Ordering::Relaxed);
        // One lock at a time: two that merge into each other must not wait for each other.
        let mut all = other.list();
        all.extend(self.list());
        all.sort_by_key(|stall| stall.began);
        let surplus = all.len().saturating_sub(KEPT);
        *self.recent() = all.split_off(surplus).into();
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The last ones, in order.
    pub fn list(&self) -> Vec<Arc<Stall>> {
        self.recent().iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{KEPT, Stall, Stalls};
    use std::sync::Arc;

    fn stall(began: u64) -> Arc<Stall> {
        Arc::new(Stall { began, ..Stall::default() })
    }

    fn times(stalls: &Stalls) -> Vec<u64> {
        stalls.list().iter().map(|stall| stall.began).collect()
    }

    #[test]
    fn the_last_ones_are_kept_and_all_are_counted() {
        let stalls = Stalls::default();
        (0..20).for_each(|began| stalls.push(stall(began)));
        assert_eq!(stalls.count(), 20);
        assert_eq!(times(&stalls), (20 - KEPT as u64..20).collect::<Vec<_>>());
    }

    #[test]
    fn merged_they_are_in_order() {
        let (left, right) = (Stalls::default(), Stalls::default());
        [1, 4].into_iter().for_each(|began| left.push(stall(began)));
        [2, 3, 9].into_iter().for_each(|began| right.push(stall(began)));
        left.merge(&right);
        assert_eq!((left.count(), times(&left)), (5, vec![1, 2, 3, 4, 9]));
        (0..20).for_each(|began| right.push(stall(began)));
        left.merge(&right);
        assert_eq!((left.count(), times(&left).len()), (28, KEPT));
    }

    #[test]
    fn the_last_one_ends_once() {
        let stalls = Stalls::default();
        stalls.end(5);
        [10, 20].into_iter().for_each(|began| stalls.push(stall(began)));
        stalls.end(50);
        stalls.end(70);
        let lengths: Vec<_> = stalls.list().iter().map(|stall| stall.length()).collect();
        assert_eq!(lengths, [None, Some(30)]);
    }

    #[test]
    fn one_that_goes_on_has_no_length() {
        let stall = stall(1);
        assert_eq!(stall.length(), None);
        stall.end(0);
        assert_eq!(stall.length(), Some(1));
    }
}
