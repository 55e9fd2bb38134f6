//! [`Ready`]: the callbacks that are due, and the protocol by which one that comes from another
//! thread wakes a loop that sleeps.
//!
//! All of it is one plain state behind its user's lock, so the order in which callbacks run is the
//! order in which the lock was taken: whoever queues, from whichever thread, is behind all who were
//! told of before.
//!
//! # The protocol
//!
//! The loop [`park`](Ready::park)s before it sleeps: with something ready it may not sleep; with
//! nothing, it has said so under the lock. Who then [`push`](Ready::push)es takes the word *parked*
//! away and is told to ring, once for however many are pushed before the loop is awake. The loop
//! takes the word away itself when it wakes for another reason ([`unpark`](Ready::unpark)); a ring
//! that comes late then costs a poll that finds only the alarm.
//!
//! No wake-up is lost: push and park exclude each other. If push is first, park sees the callback;
//! if park is first, push sees the word.

use std::collections::VecDeque;

/// For so many callbacks room is kept, though a loop is idle.
pub const ROOM: usize = 65_536;

/// The callbacks that are due, in order.
#[derive(Debug)]
pub struct Ready<T> {
    queue: VecDeque<T>,
    parked: bool,
}

impl<T> Default for Ready<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), parked: false }
    }
}

impl<T> Ready<T> {
    /// Queues a callback; whether the loop sleeps and is to be woken by who calls.
    #[inline(always)]
    #[must_use]
    pub fn push(&mut self, callback: T) -> bool {
        self.queue.push_back(callback);
        std::mem::take(&mut self.parked)
    }

    /// The next callback.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<T> {
        self.queue.pop_front()
    }

    /// The one that is so far behind the next.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<&T> {
        self.queue.get(index)
    }

    /// How many there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is none.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the loop may sleep. If so, whoever pushes from now on is told to wake it.
    #[must_use]
    pub fn park(&mut self) -> bool {
        self.parked = self.queue.is_empty();
        if self.parked && self.queue.capacity() > ROOM {
            self.queue.shrink_to(ROOM);
        }
        self.parked
    }

    /// The loop is awake again.
    pub fn unpark(&mut self) {
        self.parked = false;
    }

    /// The callbacks, in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.queue.iter()
    }

    /// Takes them all out, to be dropped outside the lock.
    #[must_use]
    pub fn clear(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.queue)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Ready;

    #[test]
    fn callbacks_run_in_the_order_of_their_coming() {
        let mut ready = Ready::default();
        for callback in 0..5 {
            assert!(!ready.push(callback), "nobody is parked");
        }
        assert_eq!(std::iter::from_fn(|| ready.pop()).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn only_the_first_who_comes_rings() {
        let mut ready = Ready::default();
        assert!(ready.park());
        assert!(ready.push(1));
        assert!(!ready.push(2));
        assert!(!ready.park(), "there is something to do");
        assert!(!ready.push(3));
    }

    #[test]
    fn an_idle_loop_gives_room_back() {
        let mut ready = Ready::default();
        for callback in 0..10 * super::ROOM {
            let _ = ready.push(callback);
        }
        assert_eq!(ready.get(3), Some(&3));
        while ready.pop().is_some() {}
        assert!(ready.queue.capacity() >= 10 * super::ROOM, "it is not idle yet");
        assert!(ready.park());
        assert!(ready.queue.capacity() < 2 * super::ROOM);
    }

    #[test]
    fn who_is_awake_is_not_rung_for() {
        let mut ready = Ready::default();
        assert!(ready.park());
        ready.unpark();
        assert!(!ready.push(1));
        assert_eq!(ready.clear().len(), 1);
        assert!(ready.is_empty());
    }
}
