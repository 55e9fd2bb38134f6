//! A ring of records with one producer and one consumer, in memory that two processes share.
//!
//! Lamport's queue: two cursors that only grow, each written by one side, `tail` where the next
//! record goes and `head` where the oldest is. Ours differs in that records are of any length, and
//! that neither side believes the other: its own cursor it keeps in its own memory and never reads
//! back, and the other's it checks against what it knows.
//!
//! A record is a head word and a payload, contiguous, and takes a multiple of 8 bytes:
//!
//! | bits of the head word | content                                        |
//! |-----------------------|------------------------------------------------|
//! | 0-31                  | bytes of payload; `WRAP`: go on at the start    |
//! | 32-63                 | the tag, which means something to the user only |
//!
//! A record takes half of the ring at most: so wherever the cursors are, it fits once the ring is
//! empty.

mod bytes;
#[cfg(all(test, not(loom)))]
mod tests;

pub(crate) use bytes::Bytes;

use crate::door::{AtomicU64, Ordering};
use std::fmt;
use std::ops::Deref;

/// The other side wrote what it never would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt;

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shared memory was overwritten by the other process")
    }
}

impl std::error::Error for Corrupt {}

/// Keeps what two processes write apart. Two lines of 64 bytes: processors fetch them in pairs.
#[derive(Default)]
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

impl<T> Deref for Line<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// The part of a ring that both sides look at.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Cursors {
    tail: Line<AtomicU64>,
    head: Line<AtomicU64>,
}

impl Cursors {
    /// How far the producer published, by its own account.
    pub(crate) fn published(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `publish`: whoever sees the cursor sees the
        // records before it.
        self.tail.load(Ordering::Acquire)
    }

    fn publish(&self, tail: u64) {
        // ORDERING: Release, see `published`.
        self.tail.store(tail, Ordering::Release);
    }

    /// How far the consumer is, by its own account.
    pub(crate) fn consumed(&self) -> u64 {
        // ORDERING: Acquire pairs with the Release in `consume`: what the producer writes next
        // comes after the consumer's last look at those bytes.
        self.head.load(Ordering::Acquire)
    }

    fn consume(&self, head: u64) {
        // ORDERING: Release, see `consumed`.
        self.head.store(head, Ordering::Release);
    }
}

/// A ring, as both ends see it.
#[derive(Clone, Copy)]
pub(crate) struct Ring<'a> {
    pub(crate) cursors: &'a Cursors,
    pub(crate) bytes: Bytes<'a>,
}

const HEAD: u64 = 8;

/// In place of a length: the rest of the ring is empty.
const WRAP: u32 = u32::MAX;

/// The longest payload in a ring of this capacity.
pub(crate) const fn max_payload(capacity: usize) -> usize {
    capacity / 2 - HEAD as usize
}

/// How much of the ring a record takes.
fn size_of(payload: u64) -> u64 {
    HEAD + payload.next_multiple_of(8)
}

/// The producer's own memory.
pub(crate) struct Producer {
    capacity: u64,
    tail: u64,
    /// Where the consumer was when we last looked; it is there or further on.
    head: u64,
}

impl Producer {
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two());
        Self { capacity: capacity as u64, tail: 0, head: 0 }
    }

    /// What a record of these parts takes; `None` if it is too long for this ring.
    pub(crate) fn size_of(&self, parts: &[&[u8]]) -> Option<u64> {
        let payload = parts.iter().try_fold(0usize, |sum, part| sum.checked_add(part.len()))?;
        (payload <= max_payload(self.capacity as usize)).then(|| size_of(payload as u64))
    }

    /// Whether there is room for a record of this size.
    pub(crate) fn has_room(&mut self, ring: &Ring<'_>, size: u64) -> Result<bool, Corrupt> {
        let needed = self.needed(size);
        if self.free() < needed {
            self.look(ring)?;
        }
        Ok(self.free() >= needed)
    }

    /// Writes a record and publishes it. `false`: no room.
    pub(crate) fn push(
        &mut self,
        ring: &Ring<'_>,
        tag: u32,
        parts: &[&[u8]],
    ) -> Result<bool, Corrupt> {
        let Some(size) = self.size_of(parts) else { return Ok(false) };
        if !self.has_room(ring, size)? {
            return Ok(false);
        }
        if size > self.until_end() {
            ring.bytes.store(self.offset(), WRAP.into());
            self.tail += self.until_end();
        }
        let mut at = self.offset() + HEAD as usize;
        let start = at;
        for part in parts {
            ring.bytes.write(at, part);
            at += part.len();
        }
        ring.bytes.store(self.offset(), u64::from(tag) << 32 | (at - start) as u64);
        self.tail += size;
        ring.cursors.publish(self.tail);
        Ok(true)
    }

    /// The longest payload that there is room for.
    pub(crate) fn free_space(&mut self, ring: &Ring<'_>) -> Result<usize, Corrupt> {
        self.look(ring)?;
        let (free, until_end) = (self.free(), self.until_end());
        let longest = if free <= until_end { free } else { until_end.max(free - until_end) };
        let payload = longest.saturating_sub(HEAD) as usize;
        Ok(payload.min(max_payload(self.capacity as usize)))
    }

    /// Whether half of the ring or more waits to be consumed.
    pub(crate) fn is_half_full(&mut self, ring: &Ring<'_>) -> bool {
        let half = self.capacity / 2;
        self.free() <= half && self.look(ring).is_ok() && self.free() <= half
    }

    /// The consumer's cursor moves forward, by whole records, and never past ours.
    fn look(&mut self, ring: &Ring<'_>) -> Result<(), Corrupt> {
        let head = ring.cursors.consumed();
        if head.wrapping_sub(self.head) > self.tail - self.head || !head.is_multiple_of(8) {
            return Err(Corrupt);
        }
        self.head = head;
        Ok(())
    }

    fn free(&self) -> u64 {
        self.capacity - (self.tail - self.head)
    }

    /// What a record takes with the rest of the ring that it may have to leave empty.
    fn needed(&self, size: u64) -> u64 {
        if size <= self.until_end() { size } else { self.until_end() + size }
    }

    fn until_end(&self) -> u64 {
        self.capacity - self.tail % self.capacity
    }

    fn offset(&self) -> usize {
        (self.tail % self.capacity) as usize
    }
}

/// Where a record is, as its consumer read and checked it once.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    offset: usize,
    len: usize,
    tag: u32,
}

impl Record {
    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }
}

/// The consumer's own memory.
pub(crate) struct Consumer {
    capacity: u64,
    head: u64,
    /// How far the producer was when we last looked; it is there or further on.
    tail: u64,
}

impl Consumer {
    pub(crate) fn new(capacity: usize) -> Self {
        assert!(capacity.is_power_of_two());
        Self { capacity: capacity as u64, head: 0, tail: 0 }
    }

    /// Where the oldest record is, or will be.
    pub(crate) fn position(&self) -> u64 {
        self.head
    }

    /// Looks how far the producer published. Its cursor moves forward, by whole records, and never
    /// more than a ring's length ahead of ours.
    pub(crate) fn look(&mut self, ring: &Ring<'_>) -> Result<u64, Corrupt> {
        let tail = ring.cursors.published();
        let ahead = tail.wrapping_sub(self.head);
        if ahead > self.capacity || ahead < self.tail - self.head || !tail.is_multiple_of(8) {
            return Err(Corrupt);
        }
        self.tail = tail;
        Ok(tail)
    }

    /// The oldest record, if there is one. Looks at the producer only when all that was known of
    /// is consumed.
    pub(crate) fn peek(&mut self, ring: &Ring<'_>) -> Result<Option<Record>, Corrupt> {
        if self.head == self.tail && self.look(ring)? == self.head {
            return Ok(None);
        }
        let mut head = ring.bytes.load(self.offset());
        if head as u32 == WRAP {
            self.skip_to_start()?;
            head = ring.bytes.load(self.offset());
        }
        let (len, tag) = (head as u32, (head >> 32) as u32);
        let size = size_of(len.into());
        if size > self.tail - self.head || size > self.capacity - self.head % self.capacity {
            return Err(Corrupt);
        }
        Ok(Some(Record { offset: self.offset() + HEAD as usize, len: len as usize, tag }))
    }

    /// A producer that wraps has published the record at the start too.
    fn skip_to_start(&mut self) -> Result<(), Corrupt> {
        let until_end = self.capacity - self.head % self.capacity;
        if until_end >= self.tail - self.head {
            return Err(Corrupt);
        }
        self.head += until_end;
        Ok(())
    }

    /// Copies the payload of the record that `peek` returned, which must not be used afterwards.
    pub(crate) fn copy(&self, ring: &Ring<'_>, record: Record, to: &mut Vec<u8>) {
        ring.bytes.read(record.offset, record.len, to);
    }

    /// Gives the record that `peek` returned back to the producer.
    pub(crate) fn advance(&mut self, ring: &Ring<'_>, record: Record) {
        self.head += size_of(record.len as u64);
        ring.cursors.consume(self.head);
    }

    /// `peek`, `copy` and `advance` in one. Returns the tag.
    pub(crate) fn take(
        &mut self,
        ring: &Ring<'_>,
        to: &mut Vec<u8>,
    ) -> Result<Option<u32>, Corrupt> {
        let Some(record) = self.peek(ring)? else { return Ok(None) };
        self.copy(ring, record, to);
        self.advance(ring, record);
        Ok(Some(record.tag))
    }

    fn offset(&self) -> usize {
        (self.head % self.capacity) as usize
    }
}
