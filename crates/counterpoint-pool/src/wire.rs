//! What the records between a pool and its workers are.
//!
//! | record | who | content |
//! |---|---|---|
//! | [`CALL`] | parent | with [`LIMITED`] the limit: u64; blocks, call |
//! | [`DEFINE`] | parent | number of a function: u32, its definition |
//! | [`RETURN`] | either | offsets of blocks of the other side's arena: u64 each |
//! | [`STOP`] | parent | nothing |
//! | [`FORGET`] | parent | numbers of parcels: u64 each |
//! | [`RESULT`], [`ERROR`] | worker | when it began, how long it took: u64 each, blocks, outcome |
//! | [`READY`] | worker | nothing |
//! | [`UNFIT`] | worker | the error of its initializer |
//! | [`BEGUN`] | worker | entry: u16 |
//!
//! *Blocks* is a count (u16) and an offset and a length (u64 each) for each block. If the count's
//! highest bit is set, the last block holds what would otherwise follow.

/// A task.
pub const CALL: u8 = 1;
/// A function that calls name by number.
pub const DEFINE: u8 = 2;
/// Blocks that the sender does not map any more.
pub const RETURN: u8 = 3;
/// Leave.
pub const STOP: u8 = 4;

/// Parcels that no task will name again. With none: look at the sideband, which is full.
pub const FORGET: u8 = 5;

/// A task returned.
pub const RESULT: u8 = 16;
/// A task raised.
pub const ERROR: u8 = 17;
/// The worker is set up.
pub const READY: u8 = 18;
/// The worker could not be set up.
pub const UNFIT: u8 = 19;
/// A task began that was to be announced.
pub const BEGUN: u8 = 20;

/// A flag of [`CALL`]: say when it begins.
pub const ANNOUNCE: u8 = 1;
/// A flag of [`CALL`]: interrupt it when its time, in nanoseconds, is over.
pub const LIMITED: u8 = 2;

/// The most blocks of one record.
pub const MAX_BLOCKS: usize = 0x3FF;

/// From how many bytes on a record's content travels in a block of its own.
pub const INLINE: usize = 16 << 10;

const APART: u16 = 1 << 15;

/// The first part of a record with blocks. `apart`: the content is in the last one.
pub fn write_blocks(blocks: &[(u64, u64)], apart: bool, out: &mut Vec<u8>) {
    let count = blocks.len() as u16 | if apart { APART } else { 0 };
    out.extend_from_slice(&count.to_le_bytes());
    for (offset, len) in blocks {
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&len.to_le_bytes());
    }
}

/// A part of a record that is being read; every reading is checked.
#[derive(Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next so many bytes.
    pub fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    /// The next number.
    pub fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    /// The next number.
    pub fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    /// The next number.
    pub fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    /// Blocks, and whether the last one holds the content.
    pub fn blocks(&mut self) -> Option<(Vec<(u64, u64)>, bool)> {
        let count = self.u16()?;
        let apart = count & APART != 0;
        let count = usize::from(count & !APART);
        if count > MAX_BLOCKS || (apart && count == 0) {
            return None;
        }
        let blocks: Option<Vec<_>> = (0..count).map(|_| Some((self.u64()?, self.u64()?))).collect();
        Some((blocks?, apart))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_arrive_as_written_and_damage_is_noticed() {
        for (blocks, apart) in [(vec![], false), (vec![(4096, 7)], true), (vec![(0, 1); 9], false)]
        {
            let mut out = Vec::new();
            write_blocks(&blocks, apart, &mut out);
            out.extend_from_slice(b"rest");
            let mut reader = Reader(&out);
            assert_eq!(reader.blocks(), Some((blocks, apart)));
            assert_eq!(reader.0, b"rest");
            for cut in 0..out.len() - 4 {
                assert_eq!(Reader(&out[..cut]).blocks(), None);
            }
        }
        assert_eq!(Reader(&APART.to_le_bytes()).blocks(), None);
    }
}
