//! What lies where in a channel's memory: the control words, then the segments.

use super::heap::Heap;
use crate::door::{AtomicU32, AtomicU64};
use crate::ring::Line;
use crate::sync::Mutex;
use crate::sync::gate::Gate;

/// Bytes of a segment. Two are in use while the consumers keep up: they stay in the caches.
#[cfg(not(loom))]
pub(super) const SEGMENT: usize = 256 << 10;
#[cfg(loom)]
pub(super) const SEGMENT: usize = 48;

/// How many segments there can be: 16 GiB.
#[cfg(not(loom))]
pub(super) const SEGMENTS: usize = 1 << 16;
#[cfg(loom)]
pub(super) const SEGMENTS: usize = 3;

/// One side: what only the holder of its lock changes.
#[derive(Default)]
#[repr(C)]
pub(super) struct Side {
    pub(super) mutex: Mutex,
    /// Where the next record goes, or the next to take lies. Whoever stores this has finished.
    pub(super) at: AtomicU64,
    /// The other side's `at`, when it was last looked at: it has not gone back since.
    pub(super) seen: AtomicU64,
}

/// The control words. Each side's are together, and apart from the other's.
#[repr(C)]
pub(super) struct Control {
    /// Tells a channel from other memory.
    pub(super) kind: AtomicU64,
    /// The most records there may be.
    pub(super) limit: AtomicU64,
    /// One of the states in `shut`.
    pub(super) shut: AtomicU32,
    pub(super) tail: Line<Side>,
    pub(super) head: Line<Side>,
    pub(super) not_empty: Line<Gate>,
    pub(super) not_full: Line<Gate>,
    /// How many records were dealt with, modulo the counts.
    pub(super) done: Line<AtomicU64>,
    pub(super) all_done: Gate,
    pub(super) heap: Heap,
}

#[cfg(loom)]
impl Default for Control {
    fn default() -> Self {
        Self {
            kind: AtomicU64::new(0),
            limit: AtomicU64::new(0),
            shut: AtomicU32::new(0),
            tail: Line::default(),
            head: Line::default(),
            not_empty: Line::default(),
            not_full: Line::default(),
            done: Line::default(),
            all_done: Gate::default(),
            heap: Heap::default(),
        }
    }
}
