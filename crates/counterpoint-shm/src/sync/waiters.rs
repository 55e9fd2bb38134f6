//! [`Waiters`]: those who wait at a condition, each in a slot of his own.
//!
//! | state      | meaning                                | left by                              |
//! |------------|----------------------------------------|--------------------------------------|
//! | `FREE`     | nobody's, or not entered yet           | its new holder                       |
//! | `WAITING`  | waits for a notification               | a notifier; its holder who gives up  |
//! | `NOTIFIED` | has one                                | its holder, or an heir               |
//!
//! A notification is given to one slot, by a compare-and-swap, and nobody who comes later can take
//! it: except an *heir*. Who looks for himself (see [`Patience`](super::Patience)) and finds a
//! notification whose holder is dead takes it over. So a notification is lost with nobody.

use super::life::Owner;
use crate::bell::Slept;
use crate::bell::word::Word;
use crate::door::{AtomicU32, AtomicU64, Ordering};

/// How many can wait at one condition.
#[cfg(not(loom))]
pub const SLOTS: usize = 4000;
/// Two are enough for a model.
#[cfg(loom)]
pub const SLOTS: usize = 2;

const FREE: u32 = 0;
const WAITING: u32 = 1;
const NOTIFIED: u32 = 2;

#[derive(Default)]
#[repr(C)]
struct Slot {
    holder: AtomicU64,
    /// Orders those who wait: the first come is the first notified.
    ticket: AtomicU64,
    state: Word,
}

impl Slot {
    fn state(&self) -> u32 {
        self.state.value().load(Ordering::Relaxed)
    }

    /// Gives it a notification; `false`: it does not wait.
    fn transition_to_notified(&self) -> bool {
        self.leave(WAITING, NOTIFIED)
    }

    fn leave(&self, from: u32, to: u32) -> bool {
        // ORDERING: AcqRel pairs with itself: what a notifier did before is visible to whoever
        // takes the notification.
        let (order, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
        self.state.value().compare_exchange(from, to, order, relaxed).is_ok()
    }
}

/// In memory that processes share. All zeros: nobody waits.
#[repr(C)]
pub struct Waiters {
    tickets: AtomicU64,
    /// No slot from here on was ever used.
    top: AtomicU32,
    slots: [Slot; SLOTS],
}

impl Waiters {
    fn used(&self) -> &[Slot] {
        let top = self.top.load(Ordering::Relaxed) as usize;
        &self.slots[..top.min(SLOTS)]
    }

    /// Waits from now on, in a slot. `None`: too many do.
    pub fn enter(&self, me: Owner) -> Option<usize> {
        let at = self.claim(me)?;
        let slot = &self.slots[at];
        slot.ticket.store(self.tickets.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        self.top.fetch_max(at as u32 + 1, Ordering::Relaxed);
        slot.state.value().store(WAITING, Ordering::Relaxed);
        Some(at)
    }

    fn claim(&self, me: Owner) -> Option<usize> {
        let claim = |from: u64, slot: &Slot| {
            let relaxed = Ordering::Relaxed;
            slot.holder.load(relaxed) == from
                // ORDERING: Acquire pairs with the Release in `free`.
                && slot.holder.compare_exchange(from, me.bits(), Ordering::Acquire, relaxed).is_ok()
        };
        let dead = |slot: &Slot| {
            let holder = Owner::of(slot.holder.load(Ordering::Relaxed));
            holder.filter(|holder| holder.is_over() && slot.state() != NOTIFIED)
        };
        let free = self.slots.iter().position(|slot| claim(0, slot));
        free.or_else(|| {
            let of_the_dead = |slot| dead(slot).is_some_and(|holder| claim(holder.bits(), slot));
            self.slots.iter().position(of_the_dead)
        })
    }

    /// Notifies `most` of those who wait, first come first. Returns how many.
    pub fn notify(&self, most: usize) -> usize {
        let mut waiting: Vec<(u64, &Slot)> = self
            .used()
            .iter()
            .filter(|slot| slot.state() == WAITING)
            .map(|slot| (slot.ticket.load(Ordering::Relaxed), slot))
            .collect();
        waiting.sort_unstable_by_key(|(ticket, _)| *ticket);
        let mut notified = 0;
        for (_, slot) in waiting {
            if notified == most {
                break;
            }
            if slot.transition_to_notified() {
                slot.state.wake();
                notified += 1;
            }
        }
        notified
    }

    /// Whether the slot has a notification.
    pub fn is_notified(&self, at: usize) -> bool {
        self.slots[at].state() == NOTIFIED
    }

    /// Sleeps until the slot may have a notification, to `until` at most.
    pub fn sleep(&self, at: usize, until: Option<u64>) -> Slept {
        self.slots[at].state.sleep_while(WAITING, until)
    }

    /// Takes over the notification of somebody who died with it.
    pub fn inherit(&self) -> bool {
        self.used().iter().any(|slot| {
            let holder = Owner::of(slot.holder.load(Ordering::Relaxed));
            let left = slot.state() == NOTIFIED && holder.is_some_and(Owner::is_over);
            left && slot.leave(NOTIFIED, FREE) && {
                self.free(slot);
                true
            }
        })
    }

    /// Waits no more. Whether there was a notification, which is used with this.
    pub fn leave(&self, at: usize) -> bool {
        let slot = &self.slots[at];
        // ORDERING: AcqRel pairs with `Slot::leave`.
        let notified = slot.state.value().swap(FREE, Ordering::AcqRel) == NOTIFIED;
        self.free(slot);
        notified
    }

    fn free(&self, slot: &Slot) {
        // ORDERING: Release pairs with the Acquire in `claim`: the next holder's state follows
        // this one's.
        slot.holder.store(0, Ordering::Release);
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.used().iter().filter(|slot| slot.state() == WAITING).count()
    }
}

#[cfg(loom)]
impl Default for Waiters {
    fn default() -> Self {
        Self {
            tickets: AtomicU64::new(0),
            top: AtomicU32::new(0),
            slots: std::array::from_fn(|_| Slot::default()),
        }
    }
}
