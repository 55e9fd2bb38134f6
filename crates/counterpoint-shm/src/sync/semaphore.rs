//! [`Semaphore`]: a counter of permits. They have no owner: who dies with one has lost it.

use super::gate::Gate;
use crate::bell::Slept;
use crate::door::{AtomicU32, Ordering};

/// The largest value, `_multiprocessing.SemLock.SEM_VALUE_MAX`.
pub const MOST: u32 = i32::MAX as u32;

/// In memory that processes share. All zeros: no permits, and none allowed.
#[derive(Default)]
#[repr(C)]
pub struct Semaphore {
    value: AtomicU32,
    limit: AtomicU32,
    gate: Gate,
}

impl Semaphore {
    /// Sets it up, before anybody else sees it.
    pub fn set_up(&self, value: u32, limit: u32) {
        self.value.store(value, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes a permit if there is one.
    pub fn try_acquire(&self) -> bool {
        self.change(|value| value.checked_sub(1))
    }

    /// Returns a permit; `false`: there are as many as there may be.
    pub fn release(&self) -> bool {
        let limit = self.limit();
        let released = self.change(|value| (value < limit).then_some(value + 1));
        if released {
            self.gate.ring(1);
        }
        released
    }

    fn change(&self, to: impl Fn(u32) -> Option<u32>) -> bool {
        let mut value = self.value();
        while let Some(new) = to(value) {
            // ORDERING: AcqRel pairs with itself: what was done before a release is visible after
            // the acquisition that takes that permit.
            match self.value.compare_exchange_weak(value, new, Ordering::AcqRel, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => value = now,
            }
        }
        false
    }

    /// Sleeps until there may be a permit, to `until` at most.
    pub fn sleep(&self, until: Option<u64>) -> Slept {
        self.gate.sleep_unless(until, || self.value() > 0)
    }

    /// How many permits there are.
    pub fn value(&self) -> u32 {
        self.value.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }
}
