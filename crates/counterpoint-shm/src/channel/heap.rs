//! [`Heap`]: which segments are free. There is no lock, so nothing to be left locked.
//!
//! Free segments are on stacks (Treiber's, with a count against reuse), one stack for each length:
//! a *run* is 1, 2, 4, ... segments. What no stack has comes from the untouched end of the memory.
//!
//! Each run has a *holder*: nobody, for those that are free and for those that records lie in; a
//! thread that fills it or reads it; or `QUEUED`, while a record refers to it. What a dead process
//! held is found again before untouched memory is used. A death between two of these states leaves
//! the run in neither: it is lost to the channel, and nothing else is.

use super::layout::{SEGMENT, SEGMENTS};
use crate::door::{AtomicU32, AtomicU64, Ordering};
use crate::sync::Owner;

/// The lengths: up to 2^14 segments, 4 GiB.
pub(super) const CLASSES: usize = 15;

/// How many bytes of free segments stay in memory, to be used again without page faults.
const KEEP: u64 = 64 << 20;

/// The holder of what a record refers to.
const QUEUED: u64 = u64::MAX;

/// A flag beside the class: its pages were returned to the system.
const COLD: u32 = 1 << 31;

#[derive(Default)]
#[repr(C)]
struct Entry {
    holder: AtomicU64,
    /// The next on its stack, plus one.
    link: AtomicU32,
    class: AtomicU32,
}

/// In shared memory. All zeros but `top`.
#[repr(C)]
pub(super) struct Heap {
    /// Untouched from here on.
    top: AtomicU32,
    /// Bytes of free segments in memory, about.
    idle: AtomicU64,
    /// The first, plus one, and how often it changed.
    stacks: [AtomicU64; CLASSES],
    entries: [Entry; SEGMENTS],
}

/// The shortest length for so many bytes.
#[cfg(not(loom))]
pub(super) fn class_of(len: u64) -> Option<usize> {
    let segments = len.max(1).div_ceil(SEGMENT as u64).checked_next_power_of_two()?;
    Some(segments.trailing_zeros() as usize).filter(|class| *class < CLASSES)
}

fn bytes_of(class: usize) -> u64 {
    (SEGMENT as u64) << class
}

impl Heap {
    /// Reserves the first segment, for the first record.
    pub(super) fn set_up(&self) {
        self.top.store(1, Ordering::Relaxed);
    }

    /// A run of this class among the first `limit` segments, held by `holder`.
    pub(super) fn take(&self, class: usize, holder: Option<Owner>, limit: u32) -> Option<u32> {
        let fits = |run: &u32| *run < limit && limit - *run >= 1 << class;
        let run = self
            .pop(class)
            .or_else(|| holder.filter(|me| self.sweep(*me)).and_then(|_| self.pop(class)))
            .filter(fits)
            .or_else(|| self.cut(class, limit))?;
        let entry = &self.entries[run as usize];
        entry.class.store(class as u32, Ordering::Relaxed);
        entry.holder.store(holder.map_or(0, Owner::bits), Ordering::Relaxed);
        Some(run)
    }

    fn pop(&self, class: usize) -> Option<u32> {
        let stack = &self.stacks[class];
        // ORDERING: Acquire pairs with the Release in `push`: the link is the one stored there.
        let mut first = stack.load(Ordering::Acquire);
        loop {
            let run = (first as u32).checked_sub(1)?;
            let entry = self.entries.get(run as usize)?;
            let rest = u64::from(entry.link.load(Ordering::Relaxed));
            let new = count_up(first) | rest;
            // ORDERING: Acquire, as above; what was in the run was read before it was freed.
            match stack.compare_exchange_weak(first, new, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => {
                    self.account_for(entry, class);
                    return Some(run);
                }
                Err(now) => first = now,
            }
        }
    }

    fn account_for(&self, entry: &Entry, class: usize) {
        if entry.class.load(Ordering::Relaxed) & COLD == 0 {
            let less = |idle: u64| Some(idle.saturating_sub(bytes_of(class)));
            let relaxed = Ordering::Relaxed;
            let _ = self.idle.fetch_update(relaxed, relaxed, less);
        }
    }

    fn cut(&self, class: usize, limit: u32) -> Option<u32> {
        let relaxed = Ordering::Relaxed;
        let more = |top: u32| top.checked_add(1 << class).filter(|top| *top <= limit);
        self.top.fetch_update(relaxed, relaxed, more).ok()
    }

    /// Frees a run. `punch` is called first if its pages are not worth keeping.
    pub(super) fn give(&self, run: u32, punch: impl FnOnce(u64)) {
        let entry = &self.entries[run as usize];
        let class = self.class(run);
        entry.holder.store(0, Ordering::Relaxed);
        if self.idle.load(Ordering::Relaxed) + bytes_of(class) > KEEP {
            punch(bytes_of(class));
            entry.class.store(class as u32 | COLD, Ordering::Relaxed);
        } else {
            self.idle.fetch_add(bytes_of(class), Ordering::Relaxed);
        }
        self.push(run, class);
    }

    fn push(&self, run: u32, class: usize) {
        let stack = &self.stacks[class];
        let mut first = stack.load(Ordering::Relaxed);
        loop {
            self.entries[run as usize].link.store(first as u32, Ordering::Relaxed);
            let new = count_up(first) | u64::from(run + 1);
            // ORDERING: Release pairs with the Acquire in `pop`.
            match stack.compare_exchange_weak(first, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    /// Frees what dead processes hold. Whether there was anything.
    fn sweep(&self, me: Owner) -> bool {
        let (mut found, mut alive) = (false, None);
        let top = self.top.load(Ordering::Relaxed) as usize;
        for (run, entry) in self.entries[..top.min(SEGMENTS)].iter().enumerate() {
            let bits = entry.holder.load(Ordering::Relaxed);
            let Some(holder) = Owner::of(bits).filter(|_| bits != QUEUED && Some(bits) != alive)
            else {
                continue;
            };
            if holder.shares_process_with(me) || !holder.is_over() {
                alive = Some(bits);
            } else if self.transition(entry, bits, me.bits()) {
                self.push(run as u32, self.class(run as u32));
                found = true;
            }
        }
        found
    }

    fn transition(&self, entry: &Entry, from: u64, to: u64) -> bool {
        // ORDERING: AcqRel pairs with itself: one holder after the other.
        let (order, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
        entry.holder.compare_exchange(from, to, order, relaxed).is_ok()
    }

    /// A record refers to the run from now on; `me` filled it.
    pub(super) fn queue(&self, run: u32) {
        // What is in it is published with the record.
        self.entries[run as usize].holder.store(QUEUED, Ordering::Relaxed);
    }

    /// `me` has taken the record that refers to the run.
    pub(super) fn hold(&self, run: u32, me: Owner) {
        self.entries[run as usize].holder.store(me.bits(), Ordering::Relaxed);
    }

    /// Whether a thread of this process holds the run.
    #[cfg(not(loom))]
    pub(super) fn is_ours(&self, run: u32, me: Owner) -> bool {
        let bits = self.entries[run as usize].holder.load(Ordering::Relaxed);
        bits != QUEUED && Owner::of(bits).is_some_and(|holder| holder.shares_process_with(me))
    }

    /// Whether there is such a run among the first `limit` segments, and of so many bytes.
    pub(super) fn contains(&self, run: u32, len: u64, limit: u32) -> bool {
        run < self.top.load(Ordering::Relaxed).min(limit)
            && len > 0
            && len <= bytes_of(self.class(run)).min(u64::from(limit - run) * SEGMENT as u64)
    }

    fn class(&self, run: u32) -> usize {
        let class = self.entries[run as usize].class.load(Ordering::Relaxed) & !COLD;
        (class as usize).min(CLASSES - 1)
    }
}

/// The count of a stack's word, plus one, in its place.
fn count_up(word: u64) -> u64 {
    (word >> 32).wrapping_add(1) << 32
}

#[cfg(loom)]
impl Default for Heap {
    fn default() -> Self {
        Self {
            top: AtomicU32::new(0),
            idle: AtomicU64::new(0),
            stacks: std::array::from_fn(|_| AtomicU64::new(0)),
            entries: std::array::from_fn(|_| Entry::default()),
        }
    }
}
