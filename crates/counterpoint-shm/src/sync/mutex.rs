//! [`Mutex`]: a lock that says who holds it, and outlives its holder.
//!
//! The owner is in the word that is the lock: taking it is one compare-and-swap, so there is no
//! moment in which it is held and nobody knows by whom. A waiter that has waited for a while asks
//! the kernel whether the holder still lives, and if not takes the lock from the dead: again by one
//! compare-and-swap, from that very owner, so that one waiter gets it.

use super::gate::{Gate, look};
use super::life::Owner;
use crate::bell::Slept;
use crate::door::{AtomicU32, AtomicU64, Ordering};

/// How a lock was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Locked {
    /// It was free.
    Free,
    /// Its holder died with it: what it guards may be half changed.
    FromDead(Owner),
}

/// In memory that processes share. All zeros: free.
#[derive(Default)]
#[repr(C)]
pub struct Mutex {
    owner: AtomicU64,
    gate: Gate,
    deaths: AtomicU32,
}

impl Mutex {
    /// Takes the lock if it is free.
    #[inline]
    pub fn try_lock(&self, me: Owner) -> bool {
        self.transition(0, me)
    }

    /// Takes the lock if it is free, or its holder is dead.
    pub fn take(&self, me: Owner) -> Option<Locked> {
        if self.try_lock(me) {
            return Some(Locked::Free);
        }
        match self.owner() {
            Some(holder) if holder.is_over() && self.transition(holder.bits(), me) => {
                self.deaths.fetch_add(1, Ordering::Relaxed);
                Some(Locked::FromDead(holder))
            }
            _ => None,
        }
    }

    #[inline]
    fn transition(&self, from: u64, me: Owner) -> bool {
        let relaxed = Ordering::Relaxed;
        // A load first: a failing compare-and-swap would take the line away from the holder.
        self.owner.load(relaxed) == from
            // ORDERING: Acquire pairs with the Release in `unlock`: what was done under the lock
            // is visible. (What a dead holder did, the kernel's news of its end made visible.)
            && self.owner.compare_exchange(from, me.bits(), Ordering::Acquire, relaxed).is_ok()
    }

    /// Takes the lock if it becomes free within a few microseconds.
    pub fn lock_soon(&self, me: Owner) -> bool {
        self.try_lock(me) || look(|| self.try_lock(me))
    }

    /// Sleeps until the lock may be free, to `until` at most.
    pub fn sleep(&self, until: Option<u64>) -> Slept {
        self.gate.sleep_unless(until, || self.owner().is_none())
    }

    /// Takes the lock, waiting as long as it takes.
    pub fn lock(&self, me: Owner) -> Locked {
        if self.lock_soon(me) {
            return Locked::Free;
        }
        self.lock_slowly(me)
    }

    #[cfg(not(loom))]
    fn lock_slowly(&self, me: Owner) -> Locked {
        let mut patience = super::Patience::default();
        loop {
            let slept = self.sleep(patience.until(None, u64::MAX));
            let locked = match slept {
                Slept::TimedOut => self.take(me),
                _ => self.try_lock(me).then_some(Locked::Free),
            };
            if let Some(locked) = locked {
                return locked;
            }
            if slept == Slept::TimedOut {
                patience.lengthen();
            }
        }
    }

    #[cfg(loom)]
    fn lock_slowly(&self, me: Owner) -> Locked {
        loop {
            let _ = self.sleep(None);
            if let Some(locked) = self.take(me) {
                return locked;
            }
        }
    }

    /// Frees the lock, whoever holds it. `false`: nobody does.
    pub fn unlock(&self) -> bool {
        let held = self.open();
        self.gate.ring(1);
        held
    }

    /// Frees the lock after a change of which so many of those at another gate are to hear.
    #[inline]
    pub(crate) fn unlock_and_ring(&self, gate: &Gate, most: u32) {
        self.open();
        if most == 0 {
            self.gate.ring(1);
        } else {
            gate.ring_both(most, &self.gate);
        }
    }

    #[inline]
    fn open(&self) -> bool {
        // ORDERING: Release pairs with the Acquire in `transition`.
        self.owner.swap(0, Ordering::Release) != 0
    }

    /// Who holds it.
    pub fn owner(&self) -> Option<Owner> {
        Owner::of(self.owner.load(Ordering::Relaxed))
    }

    /// How many holders died with it.
    pub fn deaths(&self) -> u32 {
        self.deaths.load(Ordering::Relaxed)
    }
}
