//! [`Parcel`]: an object in shared memory that any number of tasks of any pool may name.
//!
//! A station's worker gets the descriptor before the first task that names it, over the sideband,
//! and keeps it until it is told to forget it: when the last reference here is gone. Until then a
//! task may come that names it again. Should anybody die, the kernel knows who still has it.

use crate::blocks::Link;
use counterpoint_sync::waiter::fork;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A sealed memory of its own, and whom to tell when it is not needed any more.
pub struct Parcel {
    id: u64,
    memory: OwnedFd,
    generation: u32,
    receivers: Mutex<Vec<Weak<Link>>>,
}

impl Parcel {
    /// With a number that is new in this process.
    pub fn new(memory: OwnedFd) -> Arc<Self> {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let receivers = Mutex::new(Vec::new());
        Arc::new(Self { id, memory, generation: fork::generation(), receivers })
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its memory.
    pub fn memory(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// This worker has it from now on.
    pub(crate) fn sent_to(&self, link: &Arc<Link>) {
        let mut receivers = self.receivers.lock().unwrap_or_else(PoisonError::into_inner);
        // Those of workers that are gone are of no use to anybody.
        receivers.retain(|receiver| receiver.strong_count() > 0);
        receivers.push(Arc::downgrade(link));
    }
}

impl Drop for Parcel {
    fn drop(&mut self) {
        if self.generation != fork::generation() {
            return; // The workers are the parent's, and so is the decision.
        }
        let receivers = self.receivers.get_mut().unwrap_or_else(PoisonError::into_inner);
        receivers.iter().filter_map(Weak::upgrade).for_each(|link| link.forget(self.id));
    }
}
