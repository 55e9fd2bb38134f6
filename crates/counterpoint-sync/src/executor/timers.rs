//! [`Timers`]: what is due when, in one heap; [`TimerState`]: the one thread that serves it.

use crate::door::Arc;
use crate::waiter::{Claim, Waiter, fork};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

struct Entry<T> {
    at: u64,
    number: u64,
    item: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// Items by the moment at which they are due.
pub struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    count: u64,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }
}

impl<T> Timers<T> {
    /// Adds an item; `true` if it is now the first that is due.
    #[must_use]
    pub fn add(&mut self, at: u64, item: T) -> bool {
        let first = self.next().is_none_or(|next| at < next);
        self.count += 1;
        self.heap.push(Reverse(Entry { at, number: self.count, item }));
        first
    }

    /// When the first is due.
    pub fn next(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    /// Takes the first if it is due.
    pub fn pop_due(&mut self, now: u64) -> Option<T> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.item)
    }

    /// Takes out what nobody needs any more.
    pub fn retain(&mut self, keep: impl Fn(&T) -> bool) -> Vec<T> {
        let (kept, gone): (Vec<_>, Vec<_>) =
            self.heap.drain().partition(|Reverse(entry)| keep(&entry.item));
        self.heap = kept.into();
        gone.into_iter().map(|Reverse(entry)| entry.item).collect()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The items, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.heap.iter().map(|Reverse(entry)| &entry.item)
    }
}

/// What adding a timer asks for.
#[must_use]
pub enum Alarm<N> {
    /// Nothing: the timers' thread will be awake in time.
    Nothing,
    /// Wake the timers' thread, already claimed: something is due sooner than it thinks.
    Wake(Arc<Waiter<N>>),
    /// Start the timers' thread, already counted.
    Start,
}

/// What the timers' thread has to do.
#[must_use]
pub enum Tick<T> {
    /// This is due.
    Due(T),
    /// Sleep to this moment at most, then ask again.
    Sleep(u64),
    /// Leave: there is nothing to wait for.
    Leave,
}

/// Timers and the one thread that serves them. It exists while there are timers.
pub struct TimerState<T, N> {
    timers: Timers<T>,
    sleeper: Option<Arc<Waiter<N>>>,
    served: bool,
    generation: u32,
}

impl<T, N> Default for TimerState<T, N> {
    fn default() -> Self {
        Self { timers: Timers::default(), sleeper: None, served: false, generation: 0 }
    }
}

impl<T, N> TimerState<T, N> {
    /// Adds a timer.
    pub fn add(&mut self, at: u64, item: T) -> Alarm<N> {
        let first = self.timers.add(at, item);
        if !self.served || self.generation != fork::generation() {
            (self.served, self.sleeper) = (true, None);
            self.generation = fork::generation();
            return Alarm::Start;
        }
        if first { self.rouse() } else { Alarm::Nothing }
    }

    fn rouse(&mut self) -> Alarm<N> {
        match self.sleeper.take() {
            Some(sleeper) if sleeper.claim(Claim::Permission) => Alarm::Wake(sleeper),
            _ => Alarm::Nothing,
        }
    }

    /// The thread asks what to do; `waiter`, unused so far, is where it would sleep.
    pub fn tick(&mut self, now: u64, waiter: &Arc<Waiter<N>>) -> Tick<T> {
        if let Some(item) = self.timers.pop_due(now) {
            return Tick::Due(item);
        }
        let Some(next) = self.timers.next() else {
            self.served = false;
            return Tick::Leave;
        };
        self.sleeper = Some(waiter.clone());
        Tick::Sleep(next)
    }

    /// The thread could not be started.
    pub fn not_started(&mut self) {
        self.served = false;
    }

    /// Removes what nobody needs any more; the thread leaves if nothing is left.
    pub fn sweep(&mut self, keep: impl Fn(&T) -> bool) -> (Vec<T>, Alarm<N>) {
        let gone = self.timers.retain(keep);
        let alarm = if self.timers.is_empty() { self.rouse() } else { Alarm::Nothing };
        (gone, alarm)
    }

    /// How many timers there are.
    pub fn len(&self) -> usize {
        self.timers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.timers.is_empty()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn in_order_of_time_and_then_of_arrival() {
        let mut timers = Timers::default();
        assert!(timers.add(5, 'b'));
        assert!(!timers.add(5, 'c'));
        assert!(timers.add(1, 'a'));
        assert!(!timers.add(9, 'd'));
        let due: String = std::iter::from_fn(|| timers.pop_due(5)).collect();
        assert_eq!((due.as_str(), timers.next()), ("abc", Some(9)));
        assert_eq!((timers.retain(|_| false), timers.len()), (vec!['d'], 0));
    }
}
