//! Which part of an arena is in use: size classes, and the freed blocks of each.
//!
//! As in jemalloc there are four classes to a doubling, so at most a fifth of a block is wasted.
//! Unlike there, blocks are never split or merged: the range is virtual and far longer than what
//! is ever in use.

use crate::memory::{self, HUGE};
use std::collections::VecDeque;

const PAGE: u64 = memory::PAGE as u64;

/// How many bytes of freed blocks stay in memory, to be handed out again without page faults.
pub const KEEP: u64 = 256 << 20;

/// No more bytes at a time are made huge pages: that takes about 10 ms.
const HUGE_AT_A_TIME: usize = 32 << 20;

/// Freed blocks of up to this many classes more than needed (a doubling) are better than fresh
/// pages.
const WARM_REACH: usize = 4;

/// A part of an arena, from `alloc` to `free`.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a block that is dropped without being freed is lost to its arena"]
pub struct Block {
    offset: u64,
    len: usize,
    class: usize,
    /// The bytes at its start that were used before, and those whose pages were made huge.
    used: usize,
    huge: usize,
}

impl Block {
    /// Where it starts: the start of a page.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes were asked for.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// What of it should be made huge pages now: whole ones that were used before, so that it takes
    /// no more memory for that. Offset and length; not proposed again.
    pub(super) fn claim_huge(&mut self) -> Option<(u64, usize)> {
        let end = self.used.min(self.huge + HUGE_AT_A_TIME) / HUGE * HUGE;
        let len = end.checked_sub(self.huge).filter(|len| *len > 0)?;
        let start = self.offset + self.huge as u64;
        self.huge = end;
        Some((start, len))
    }
}

/// The freed blocks of one class.
#[derive(Default)]
struct Shelf {
    /// Those whose pages are still there, by when they were freed; the last is used first.
    warm: VecDeque<Idle>,
    /// Those whose pages were returned to the system.
    cold: Vec<u64>,
}

struct Idle {
    offset: u64,
    since: u64,
    used: usize,
    huge: usize,
}

pub(super) struct Shelves {
    len: u64,
    /// Beyond this nothing was ever handed out.
    top: u64,
    shelves: Vec<Shelf>,
    in_use: u64,
    idle: u64,
    /// Counts what was freed.
    clock: u64,
}

/// The class for so many bytes; `None` if no arena is that long.
fn class_of(len: u64) -> Option<usize> {
    let pages = len.max(1).checked_add(PAGE - 1)? / PAGE;
    if pages <= 4 {
        return Some(pages as usize - 1);
    }
    let octave = (pages - 1).ilog2() - 2;
    let quarter = ((pages - 1) >> octave) - 4;
    Some(4 + 4 * octave as usize + quarter as usize)
}

/// The bytes of a block of this class.
fn size_of(class: usize) -> u64 {
    let pages = match class.checked_sub(4) {
        None => class as u64 + 1,
        Some(above) => (5 + above as u64 % 4) << (above / 4),
    };
    pages * PAGE
}

impl Shelves {
    pub(super) fn new(len: u64) -> Self {
        Self { len, top: 0, shelves: Vec::new(), in_use: 0, idle: 0, clock: 0 }
    }

    pub(super) fn in_use(&self) -> u64 {
        self.in_use
    }

    pub(super) fn idle(&self) -> u64 {
        self.idle
    }

    /// Warm before cold, cold before fresh, and before giving up whatever is large enough.
    pub(super) fn take(&mut self, len: usize) -> Option<Block> {
        let class = class_of(len as u64)?;
        let block = self
            .take_warm(class..class + WARM_REACH)
            .or_else(|| self.take_cold(class..class + 1))
            .or_else(|| self.take_fresh(class))
            .or_else(|| self.take_warm(class..self.shelves.len()))
            .or_else(|| self.take_cold(class..self.shelves.len()))?;
        self.in_use += size_of(block.class);
        Some(Block { len, ..block })
    }

    fn take_warm(&mut self, classes: std::ops::Range<usize>) -> Option<Block> {
        for class in classes {
            if let Some(idle) = self.shelves.get_mut(class)?.warm.pop_back() {
                self.idle -= size_of(class);
                let Idle { offset, used, huge, .. } = idle;
                return Some(Block { offset, len: 0, class, used, huge });
            }
        }
        None
    }

    fn take_cold(&mut self, classes: std::ops::Range<usize>) -> Option<Block> {
        for class in classes {
            if let Some(offset) = self.shelves.get_mut(class)?.cold.pop() {
                return Some(Block { offset, len: 0, class, used: 0, huge: 0 });
            }
        }
        None
    }

    fn take_fresh(&mut self, class: usize) -> Option<Block> {
        let size = size_of(class);
        let align = if size < HUGE as u64 { PAGE } else { HUGE as u64 };
        let offset = self.top.checked_next_multiple_of(align)?;
        let end = offset.checked_add(size).filter(|end| *end <= self.len)?;
        self.top = end;
        Some(Block { offset, len: 0, class, used: 0, huge: 0 })
    }

    pub(super) fn put(&mut self, block: Block) {
        let Block { offset, len, class, used, huge } = block;
        if self.shelves.len() <= class {
            self.shelves.resize_with(class + 1, Shelf::default);
        }
        self.clock += 1;
        let idle = Idle { offset, since: self.clock, used: used.max(len), huge };
        self.shelves[class].warm.push_back(idle);
        self.in_use -= size_of(class);
        self.idle += size_of(class);
    }

    /// If more is kept than may be: what was freed longest ago, whose pages are to be returned.
    pub(super) fn evict(&mut self) -> Option<(u64, u64)> {
        if self.idle <= KEEP {
            return None;
        }
        let since = |shelf: &Shelf| shelf.warm.front().map(|idle| idle.since);
        let oldest = |(class, shelf)| Some((since(shelf)?, class));
        let (_, class) = self.shelves.iter().enumerate().filter_map(oldest).min()?;
        let idle = self.shelves[class].warm.pop_front()?;
        self.shelves[class].cold.push(idle.offset);
        self.idle -= size_of(class);
        Some((idle.offset, size_of(class)))
    }

    /// Forgets how the range was cut up, if nothing is in use. Returns how far it was used: those
    /// pages are to be returned.
    pub(super) fn start_over(&mut self) -> Option<u64> {
        if self.in_use > 0 || self.top == 0 {
            return None;
        }
        self.shelves.clear();
        self.idle = 0;
        Some(std::mem::take(&mut self.top))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_the_least_that_is_large_enough() {
        for len in (1..1 << 22).step_by(509).chain([0, PAGE, PAGE + 1, 1 << 40]) {
            let class = class_of(len).unwrap();
            assert!(size_of(class) >= len);
            assert!(class == 0 || size_of(class - 1) < len);
            assert!(len < 4 * PAGE || size_of(class) <= len + len / 4 + PAGE);
        }
        assert_eq!(class_of(u64::MAX), None);
    }

    #[test]
    fn whole_huge_pages_that_were_used_are_claimed_once() {
        const LEN: usize = 8 * HUGE + 5000;
        let mut shelves = Shelves::new(1 << 30);
        let page = shelves.take(1).unwrap();
        assert_eq!((page.offset, shelves.take(1).unwrap().offset), (0, PAGE));
        let mut block = shelves.take(LEN).unwrap();
        assert_eq!((block.offset, block.claim_huge()), (HUGE as u64, None));
        shelves.put(block);
        let mut block = shelves.take(LEN + HUGE).unwrap();
        assert_eq!(block.claim_huge(), Some((HUGE as u64, 8 * HUGE)));
        assert_eq!(block.claim_huge(), None);
        shelves.put(block);
        let mut block = shelves.take(LEN).unwrap();
        assert_eq!(block.claim_huge(), Some((9 * HUGE as u64, HUGE)));
    }

    #[test]
    fn much_is_claimed_part_by_part() {
        let mut shelves = Shelves::new(1 << 30);
        let block = shelves.take(3 * HUGE_AT_A_TIME / 2).unwrap();
        shelves.put(block);
        let mut block = shelves.take(3 * HUGE_AT_A_TIME / 2).unwrap();
        assert_eq!(block.claim_huge(), Some((0, HUGE_AT_A_TIME)));
        assert_eq!(block.claim_huge(), Some((HUGE_AT_A_TIME as u64, HUGE_AT_A_TIME / 2)));
    }

    #[test]
    fn what_was_freed_last_is_used_first() {
        let mut shelves = Shelves::new(1 << 30);
        let (a, b) = (shelves.take(10_000).unwrap(), shelves.take(10_000).unwrap());
        let (first, second) = (a.offset, b.offset);
        shelves.put(a);
        shelves.put(b);
        assert_eq!(shelves.take(10_000).unwrap().offset, second);
        assert_eq!(shelves.take(9_000).unwrap().offset, first);
        assert_eq!(shelves.idle(), 0);
    }

    #[test]
    fn a_warm_block_of_twice_the_size_is_used_and_a_larger_one_is_not() {
        let mut shelves = Shelves::new(1 << 30);
        let block = shelves.take(64 << 12).unwrap();
        let offset = block.offset;
        shelves.put(block);
        assert_ne!(shelves.take(8 << 12).unwrap().offset, offset);
        assert_eq!(shelves.take(40 << 12).unwrap().offset, offset);
    }

    #[test]
    fn more_than_is_kept_is_evicted_oldest_first() {
        let mut shelves = Shelves::new(1 << 40);
        let len = KEEP as usize / 4;
        let blocks: Vec<_> = (0..5).map(|_| shelves.take(len).unwrap()).collect();
        let first = blocks[0].offset;
        blocks.into_iter().for_each(|block| shelves.put(block));
        assert_eq!(shelves.evict(), Some((first, len as u64)));
        assert_eq!(shelves.evict(), None);
        assert_eq!((shelves.idle(), shelves.in_use()), (KEEP, 0));
    }

    #[test]
    fn a_full_range_yields_what_is_large_enough_and_starts_over_when_empty() {
        let mut shelves = Shelves::new(64 * PAGE);
        let whole = shelves.take(64 << 12).unwrap();
        assert_eq!(shelves.take(1), None);
        assert_eq!(shelves.start_over(), None);
        shelves.put(whole);
        let small = shelves.take(1).unwrap();
        assert_eq!(small.offset, 0);
        shelves.put(small);
        assert_eq!(shelves.start_over(), Some(64 * PAGE));
        let (a, b) = (shelves.take(32 << 12).unwrap(), shelves.take(32 << 12).unwrap());
        assert_eq!((a.offset, b.offset), (0, 32 * PAGE));
    }
}
