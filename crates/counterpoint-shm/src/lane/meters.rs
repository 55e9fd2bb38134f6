//! What the worker writes about itself, for the parent to read.

use super::Counters;
use crate::door::{AtomicU64, Ordering};

#[derive(Default)]
#[repr(C)]
pub(super) struct Meters {
    /// When the current task began; 0 if there is none.
    started_at: AtomicU64,
    tasks: AtomicU64,
    busy_ns: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// Only the worker writes: no other sum can come between.
fn add(meter: &AtomicU64, amount: u64) {
    meter.store(meter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

impl Meters {
    pub(super) fn begin(&self, now: u64) {
        self.started_at.store(now, Ordering::Relaxed);
    }

    /// The next task's entry becomes STARTED after this, with release.
    pub(super) fn end(&self, busy_ns: u64) {
        self.started_at.store(0, Ordering::Relaxed);
        add(&self.busy_ns, busy_ns);
        add(&self.tasks, 1);
    }

    pub(super) fn count_in(&self, bytes: usize) {
        add(&self.bytes_in, bytes as u64);
    }

    pub(super) fn count_out(&self, bytes: usize) {
        add(&self.bytes_out, bytes as u64);
    }

    pub(super) fn started_at(&self) -> u64 {
        self.started_at.load(Ordering::Relaxed)
    }

    pub(super) fn read(&self) -> Counters {
        let read = |meter: &AtomicU64| meter.load(Ordering::Relaxed);
        Counters {
            tasks: read(&self.tasks),
            busy_ns: read(&self.busy_ns),
            bytes_in: read(&self.bytes_in),
            bytes_out: read(&self.bytes_out),
        }
    }
}
