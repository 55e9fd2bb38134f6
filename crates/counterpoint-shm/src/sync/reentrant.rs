//! [`Reentrant`]: a [`Mutex`] that its holder may take again.

use super::life::Owner;
use super::mutex::{Locked, Mutex};
use crate::bell::Slept;
use crate::door::{AtomicU32, Ordering};

/// In memory that processes share. All zeros: free.
#[derive(Default)]
#[repr(C)]
pub struct Reentrant {
    mutex: Mutex,
    /// How often its holder has it. Only the holder looks at it and changes it.
    count: AtomicU32,
}

impl Reentrant {
    /// Takes the lock if it is free or one's own.
    pub fn try_lock(&self, me: Owner) -> bool {
        if self.is_held_by(me) {
            self.count.fetch_add(1, Ordering::Relaxed);
            return true;
        }
        self.mutex.try_lock(me) && self.first()
    }

    /// The same, or if its holder is dead.
    pub fn take(&self, me: Owner) -> Option<Locked> {
        if self.try_lock(me) {
            return Some(Locked::Free);
        }
        self.mutex.take(me).inspect(|_| {
            self.first();
        })
    }

    /// Takes the lock if it becomes free within a few microseconds.
    pub fn lock_soon(&self, me: Owner) -> Option<Locked> {
        (self.mutex.lock_soon(me) && self.first()).then_some(Locked::Free)
    }

    fn first(&self) -> bool {
        self.count.store(1, Ordering::Relaxed);
        true
    }

    /// Takes back one taking; `false`: it is not one's own.
    pub fn unlock(&self, me: Owner) -> bool {
        if !self.is_held_by(me) {
            return false;
        }
        if self.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.mutex.unlock();
        }
        true
    }

    /// Sleeps until the lock may be free, to `until` at most.
    pub fn sleep(&self, until: Option<u64>) -> Slept {
        self.mutex.sleep(until)
    }

    /// Whether it is one's own.
    pub fn is_held_by(&self, me: Owner) -> bool {
        self.mutex.owner() == Some(me)
    }

    /// Who holds it.
    pub fn owner(&self) -> Option<Owner> {
        self.mutex.owner()
    }

    /// How often its holder has it; 0 if nobody does.
    pub fn count(&self) -> u32 {
        if self.owner().is_some() { self.count.load(Ordering::Relaxed) } else { 0 }
    }

    /// How many holders died with it.
    pub fn deaths(&self) -> u32 {
        self.mutex.deaths()
    }
}
