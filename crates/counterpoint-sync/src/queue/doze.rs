//! [`Doze`]: leaving it to a waiter to wake by itself, where waking it at once would be in vain.
//!
//! Under a global interpreter lock a thread that is woken cannot run before its waker gives up
//! that lock. A consumer that takes sixteen items and then has to wait wakes the producer at the
//! first one: the producer wakes up, finds the interpreter taken, and falls asleep again. Half of
//! the sleeping and waking between two threads and a bounded queue is of this kind.
//!
//! # Vocabulary
//!
//! *In vain* was a wake-up after which the waker itself came to wait for the same queue while the
//! woken one had still not run. After three of these in a row the queue's waiters *doze*:
//! until [`DOZE`] after they first tried they sleep with an alarm set to that moment, and whoever
//! claims one that dozes leaves it at that, and notes it as *owed*. The owed are woken when their
//! claimer, or anybody else, comes to wait.
//!
//! # Why nobody sleeps on
//!
//! Both sides decide under the interpreter lock, by the same clock and the same rule: a waiter
//! dozes if the queue has been *on* since before the waiter first tried, and that was less than
//! `DOZE` ago. A waiter that dozes has its alarm, and tries again when it rings. One that does not
//! has decided so before its claimer looks, at a time from which on the rule says no.
//! A wrong guess costs one waiter `DOZE` at most, and ends the guessing. Without an interpreter
//! lock waking at once is not in vain, and nobody dozes.

use crate::clock;
use crate::door::Arc;
use crate::waiter::{Claim, WaitList, Waiter, Wakes};

/// How long a dozing waiter sleeps at most, in nanoseconds: CPython's switch interval, for which a
/// thread that was woken may have to wait for the interpreter anyway. A shorter one would make each
/// sleep set the hardware's timer, which costs more than is saved.
pub const DOZE: u64 = 5_000_000;

/// How many wake-ups in vain make waiters doze.
const ENOUGH: u8 = 3; // as the page above says

/// What is known about waking one list of waiters.
pub struct Doze<N> {
    in_vain: u8,
    /// Whether a thread was claimed that has not tried again since.
    under_way: bool,
    /// Since when waiters doze.
    since: u64,
    owed: Vec<Arc<Waiter<N>>>,
}

impl<N> Default for Doze<N> {
    fn default() -> Self {
        Self { in_vain: 0, under_way: false, since: u64::MAX, owed: Vec::new() }
    }
}

impl<N> Doze<N> {
    /// Whether one who queues now dozes.
    pub fn is_on(&self) -> bool {
        self.since != u64::MAX
    }

    /// Lets whoever queues from now on doze, without a reason.
    #[cfg(all(test, loom))]
    pub fn begin(&mut self) {
        self.since = clock::now();
    }

    /// Claims the first in line; notes it in `wakes` unless it may be left to itself. `false` if
    /// nobody waits.
    pub fn claim_first(&mut self, list: &mut WaitList<N>, wakes: &mut Wakes<N>) -> bool {
        let Some(first) = list.first(wakes) else { return false };
        let is_thread = first.notify().is_none();
        let dozes = is_thread && self.since <= first.since();
        let mut claimed = Wakes::default();
        let any = list.claim_first(Claim::Permission, &mut claimed);
        if dozes && clock::now() < first.since() + DOZE {
            self.owed.extend(claimed.take_threads());
        }
        wakes.append(claimed);
        self.under_way |= is_thread;
        wakes.discard(first);
        any
    }

    /// Somebody comes to wait, after claims that were all in vain so far.
    pub fn stalled(&mut self) {
        if std::mem::take(&mut self.under_way) {
            self.in_vain = self.in_vain.saturating_add(1).min(ENOUGH);
            if self.in_vain == ENOUGH && !self.is_on() {
                self.since = clock::now();
            }
        }
    }

    /// The owed, for a thread that wakes them when it has given up the interpreter lock.
    pub fn take_owed(&mut self) -> Vec<Arc<Waiter<N>>> {
        std::mem::take(&mut self.owed)
    }

    /// One that was claimed tries again. Was it before its claimer came to wait?
    pub fn resumed(&mut self, wakes: &mut Wakes<N>) {
        if std::mem::take(&mut self.under_way) {
            (self.in_vain, self.since) = (0, u64::MAX);
            self.pay(wakes);
        }
    }

    /// Wakes the owed.
    pub fn pay(&mut self, wakes: &mut Wakes<N>) {
        if !self.owed.is_empty() {
            wakes.remind(std::mem::take(&mut self.owed));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Line = WaitList<()>;

    fn queue(list: &mut Line) -> Arc<Waiter<()>> {
        let waiter = Waiter::thread(1, clock::now());
        let _ = list.insert(waiter.clone());
        waiter
    }

    /// Claims one; whether it is to be woken at once.
    fn claim(doze: &mut Doze<()>, list: &mut Line) -> bool {
        let mut wakes = Wakes::default();
        assert!(doze.claim_first(list, &mut wakes));
        !wakes.is_empty()
    }

    fn after_wake_ups_in_vain() -> (Doze<()>, Line) {
        let (mut doze, mut list) = (Doze::default(), WaitList::new());
        for _ in 0..ENOUGH {
            let _ = queue(&mut list);
            assert!(claim(&mut doze, &mut list) && !doze.is_on());
            doze.stalled();
        }
        (doze, list)
    }

    #[test]
    fn waking_in_vain_makes_waiters_doze() {
        let (mut doze, mut list) = after_wake_ups_in_vain();
        assert!(doze.is_on());
        let waiter = queue(&mut list);
        assert!(!claim(&mut doze, &mut list));
        assert_eq!(waiter.claimed(), Claim::Permission);
        assert_eq!(doze.take_owed().len(), 1);
    }

    #[test]
    fn one_that_came_before_or_dozed_out_is_woken() {
        let (mut doze, mut list) = after_wake_ups_in_vain();
        let old = Waiter::thread(1, doze.since - 1);
        let _ = list.insert(old);
        assert!(claim(&mut doze, &mut list));
        doze.since = 1;
        let _ = list.insert(Waiter::thread(1, clock::now() - DOZE));
        assert!(claim(&mut doze, &mut list));
    }

    #[test]
    fn one_that_had_to_wake_by_itself_ends_it_and_the_owed_are_paid() {
        let (mut doze, mut list) = after_wake_ups_in_vain();
        let _ = queue(&mut list);
        assert!(!claim(&mut doze, &mut list));
        let mut wakes = Wakes::default();
        doze.resumed(&mut wakes);
        assert!(!doze.is_on() && !wakes.is_empty());
        wakes.wake_all();
    }
}
