//! [`At`]: a place in a channel and how many records lie before it, in one word.
//!
//! | bits  | content                                          |
//! |-------|--------------------------------------------------|
//! | 0-32  | how many records were passed, modulo 2^33         |
//! | 33-47 | offset in the segment, in units of 8 bytes        |
//! | 48-63 | the segment                                      |

use super::layout::SEGMENT;

const COUNT_BITS: u32 = 33;
const OFFSET_BITS: u32 = 15;

/// So many records can be counted.
pub(super) const COUNTS: u64 = 1 << COUNT_BITS;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) segment: u32,
    pub(super) offset: usize,
    pub(super) count: u64,
}

impl At {
    pub(super) fn unpack(word: u64) -> Self {
        Self {
            segment: (word >> (COUNT_BITS + OFFSET_BITS)) as u32,
            offset: (word >> COUNT_BITS) as usize % (1 << OFFSET_BITS) * 8,
            count: word % COUNTS,
        }
    }

    pub(super) fn pack(self) -> u64 {
        let place = (u64::from(self.segment) << OFFSET_BITS) | (self.offset as u64 / 8);
        (place << COUNT_BITS) | (self.count % COUNTS)
    }

    /// The place in the channel's memory.
    pub(super) fn place(self) -> usize {
        self.segment as usize * SEGMENT + self.offset
    }

    /// Behind a record of so many bytes.
    pub(super) fn after(self, bytes: usize) -> Self {
        Self { offset: self.offset + bytes, count: (self.count + 1) % COUNTS, ..self }
    }

    /// At the start of another segment.
    pub(super) fn moved_to(self, segment: u32) -> Self {
        Self { segment, offset: 0, ..self }
    }
}

/// How many records lie between two counts.
pub(super) fn between(head: u64, tail: u64) -> u64 {
    tail.wrapping_sub(head) % COUNTS
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_part_comes_back() {
        for segment in [0, 1, 65_535] {
            for offset in [0, 8, SEGMENT - 8] {
                for count in [0, 5, COUNTS - 1] {
                    let at = At { segment, offset, count };
                    assert_eq!(At::unpack(at.pack()), at);
                }
            }
        }
        assert_eq!(between(COUNTS - 1, 1), 2);
    }
}
