//! [`WaitList`]: who waits, in order; unlinking from the middle is O(1).
//!
//! A doubly linked list in a slab: links are indices, so there is no `unsafe` and nothing
//! dangles. An empty list owns no memory. The order is by [`Waiter::since`]: a waiter that was
//! woken and found nothing goes back to its old place, not to the end.

use super::{Claim, Waiter, Wakes};
use crate::door::Arc;

const NIL: u32 = u32::MAX;

/// After a crowd has left, a slab larger than this is given back.
const KEEP: usize = 8;

/// Where a waiter is linked. Valid only while that waiter is unclaimed and not cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(u32);

struct Node<N> {
    waiter: Option<Arc<Waiter<N>>>,
    previous: u32,
    next: u32,
}

/// The waiters of one object, first come first.
pub struct WaitList<N> {
    nodes: Vec<Node<N>>,
    head: u32,
    tail: u32,
    free: u32,
    len: u32,
}

impl<N> Default for WaitList<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<N> WaitList<N> {
    /// An empty list.
    pub const fn new() -> Self {
        Self { nodes: Vec::new(), head: NIL, tail: NIL, free: NIL, len: 0 }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Who waits, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Waiter<N>>> {
        let mut at = self.head;
        std::iter::from_fn(move || {
            let node = self.nodes.get(at as usize)?;
            at = node.next;
            node.waiter.as_ref()
        })
    }

    /// Queues by age: behind everyone who came no later. The place is looked for from both ends at
    /// once: the newest belongs to the one, and who comes back after being overtaken to the other.
    pub fn insert(&mut self, waiter: Arc<Waiter<N>>) -> Key {
        let (mut later, mut earlier) = (self.head, self.tail);
        let previous = loop {
            if earlier == NIL || self.since(earlier) <= waiter.since() {
                break earlier;
            }
            if self.since(later) > waiter.since() {
                break self.nodes[later as usize].previous;
            }
            later = self.nodes[later as usize].next;
            earlier = self.nodes[earlier as usize].previous;
        };
        self.link_after(previous, waiter)
    }

    fn since(&self, at: u32) -> u64 {
        self.nodes[at as usize].waiter.as_ref().map_or(0, |waiter| waiter.since())
    }

    fn link_after(&mut self, previous: u32, waiter: Arc<Waiter<N>>) -> Key {
        let next = self.next_of(previous);
        let at = self.allocate(Node { waiter: Some(waiter), previous, next });
        self.set_next(previous, at);
        self.set_previous(next, at);
        self.len += 1;
        Key(at)
    }

    fn allocate(&mut self, node: Node<N>) -> u32 {
        if self.free == NIL {
            self.nodes.push(node);
            return (self.nodes.len() - 1) as u32;
        }
        let at = self.free;
        self.free = self.nodes[at as usize].next;
        self.nodes[at as usize] = node;
        at
    }

    fn next_of(&self, at: u32) -> u32 {
        if at == NIL { self.head } else { self.nodes[at as usize].next }
    }

    fn set_next(&mut self, at: u32, next: u32) {
        if at == NIL { self.head = next } else { self.nodes[at as usize].next = next }
    }

    fn set_previous(&mut self, at: u32, previous: u32) {
        if at == NIL { self.tail = previous } else { self.nodes[at as usize].previous = previous }
    }

    /// Takes out a waiter that is still linked, to be dropped outside the lock.
    pub fn unlink(&mut self, key: Key) -> Arc<Waiter<N>> {
        let Key(at) = key;
        let (previous, next) = (self.nodes[at as usize].previous, self.nodes[at as usize].next);
        self.set_next(previous, next);
        self.set_previous(next, previous);
        let waiter = self.nodes[at as usize].waiter.take().expect("a linked waiter");
        self.nodes[at as usize].next = self.free;
        self.free = at;
        self.len -= 1;
        if self.len == 0 && self.nodes.capacity() > KEEP {
            *self = Self::new();
        }
        waiter
    }

    /// The first in line that still exists; those gone with a fork are discarded.
    pub fn first(&mut self, wakes: &mut Wakes<N>) -> Option<Arc<Waiter<N>>> {
        loop {
            let head = self.nodes.get(self.head as usize)?.waiter.clone()?;
            if head.is_alive() {
                return Some(head);
            }
            // The thread that forked from within its own wait (a signal handler) is alive after
            // all; the cancellation tells it that it is no longer in line.
            let _ = head.cancel();
            wakes.discard(self.unlink(Key(self.head)));
        }
    }

    /// Whether anybody waits who still exists.
    pub fn is_awaited(&mut self, wakes: &mut Wakes<N>) -> bool {
        !self.is_empty() && self.first(wakes).is_some()
    }

    /// Sends everyone away unclaimed, for a child after a fork; the result is to be dropped
    /// outside the lock.
    pub fn disband(&mut self) -> Self {
        let list = std::mem::take(self);
        for waiter in list.iter() {
            let _ = waiter.cancel();
        }
        list
    }

    /// Claims the first in line, and notes it in `wakes`; `false` if nobody waits.
    pub fn claim_first(&mut self, claim: Claim, wakes: &mut Wakes<N>) -> bool {
        while self.first(wakes).is_some() {
            let waiter = self.unlink(Key(self.head));
            if waiter.claim(claim) {
                wakes.push(waiter);
                return true;
            }
            wakes.discard(waiter);
        }
        false
    }

    /// Claims everyone; returns how many.
    pub fn claim_all(&mut self, claim: Claim, wakes: &mut Wakes<N>) -> usize {
        std::iter::from_fn(|| self.claim_first(claim, wakes).then_some(())).count()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn waiter(since: u64) -> Arc<Waiter<()>> {
        Waiter::thread(1, since)
    }

    fn order(list: &WaitList<()>) -> Vec<u64> {
        list.iter().map(|waiter| waiter.since()).collect()
    }

    #[test]
    fn first_come_first_and_back_to_the_old_place() {
        let mut list = WaitList::new();
        let _ = [3, 5, 9].map(|since| list.insert(waiter(since)));
        let _ = list.insert(waiter(4));
        let _ = list.insert(waiter(1));
        assert_eq!(order(&list), [1, 3, 4, 5, 9]);
    }

    #[test]
    fn every_place_is_found_from_either_end() {
        for since in 0..12 {
            let mut list = WaitList::new();
            let _ = [2, 4, 4, 6, 8, 9].map(|since| list.insert(waiter(since)));
            let _ = list.insert(Waiter::thread(2, since));
            assert!(list.iter().is_sorted_by_key(|waiter| waiter.since()));
            let equals = list.iter().filter(|waiter| waiter.since() == since);
            assert_eq!(equals.last().map(|waiter| waiter.owner()), Some(2));
        }
    }

    /// In a line so long that walking through it once for each would take minutes.
    #[test]
    fn the_overtaken_come_back_at_once() {
        const CROWD: u64 = if cfg!(miri) { 50 } else { 100_000 };
        let (mut list, mut wakes) = (WaitList::new(), Wakes::default());
        for since in 0..CROWD {
            let _ = list.insert(waiter(since));
        }
        for round in 0..CROWD {
            (0..2).for_each(|_| assert!(list.claim_first(Claim::Permission, &mut wakes)));
            let _ = [0, 1].map(|since| list.insert(waiter(since)));
            assert_eq!(list.len() as u64, CROWD, "round {round}");
        }
    }

    #[test]
    fn unlinks_anywhere_and_reuses_the_slab() {
        let mut list = WaitList::new();
        let keys: Vec<_> = (0..5).map(|since| list.insert(waiter(since))).collect();
        for at in [2, 0, 4] {
            assert_eq!(list.unlink(keys[at]).since(), at as u64);
        }
        assert_eq!((order(&list), list.len()), (vec![1, 3], 2));
        let _ = list.insert(waiter(7));
        assert_eq!((order(&list), list.nodes.len()), (vec![1, 3, 7], 5));
    }

    #[test]
    fn an_emptied_crowd_gives_its_memory_back() {
        let mut list = WaitList::new();
        let keys: Vec<_> = (0..100).map(|since| list.insert(waiter(since))).collect();
        keys.into_iter().for_each(|key| drop(list.unlink(key)));
        assert!(list.is_empty() && list.nodes.capacity() == 0);
    }

    #[test]
    fn a_cancelled_waiter_is_passed_over() {
        let (mut list, mut wakes) = (WaitList::new(), Wakes::default());
        let (gone, here) = (waiter(1), waiter(2));
        let _ = (list.insert(gone.clone()), list.insert(here.clone()));
        assert!(gone.cancel());
        assert!(list.claim_first(Claim::Permission, &mut wakes));
        assert_eq!((here.claimed(), gone.claimed()), (Claim::Permission, Claim::None));
        assert!(!list.claim_first(Claim::Permission, &mut wakes));
    }
}
