//! [`Event`]: a flag to wait for.

use crate::bell::Slept;
use crate::bell::word::Word;
use crate::door::Ordering;

const SET: u32 = 1;

/// In memory that processes share. All zeros: not set.
///
/// Bit 0 of the word is the flag, the rest counts how often it was cleared: so whoever sleeps while
/// it is set and cleared again knows that it was set.
#[derive(Default)]
#[repr(C)]
pub struct Event(Word);

/// What a waiter has seen when it began.
#[derive(Clone, Copy, Debug)]
pub struct Seen(u32);

impl Event {
    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        // ORDERING: Acquire pairs with the AcqRel in `set`: what was done before is visible.
        self.0.value().load(Ordering::Acquire) & SET != 0
    }

    /// Sets it and wakes all who wait.
    pub fn set(&self) {
        // ORDERING: AcqRel pairs with the loads in `is_set` and `was_set`.
        if self.0.value().fetch_or(SET, Ordering::AcqRel) & SET == 0 {
            self.0.wake_many(super::gate::ALL);
        }
    }

    /// Clears it.
    pub fn clear(&self) {
        let relaxed = Ordering::Relaxed;
        let clear = |word: u32| (word & SET != 0).then_some((word & !SET).wrapping_add(2));
        // ORDERING: AcqRel, as in `set`, whose news it hands on.
        let _ = self.0.value().fetch_update(Ordering::AcqRel, relaxed, clear);
    }

    /// To be called when a wait begins.
    pub fn see(&self) -> Seen {
        Seen(self.0.value().load(Ordering::Relaxed))
    }

    /// Whether it is set, or was at some time since.
    pub fn was_set(&self, seen: Seen) -> bool {
        // ORDERING: Acquire pairs with the AcqRel in `set` and `clear`.
        let word = self.0.value().load(Ordering::Acquire);
        word & SET != 0 || word != seen.0
    }

    /// Sleeps until it may be set, to `until` at most.
    pub fn sleep(&self, seen: Seen, until: Option<u64>) -> Slept {
        self.0.sleep_while(seen.0, until)
    }
}
