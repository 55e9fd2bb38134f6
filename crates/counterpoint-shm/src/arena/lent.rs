//! Which blocks a receiver has.

use super::Block;
use std::collections::HashMap;

/// The blocks that one receiver maps. What it says about them is believed only as far as this
/// goes: it can return what it was lent, once.
#[derive(Debug, Default)]
pub struct Lent(HashMap<u64, Block>);

impl Lent {
    /// Notes that the receiver was told of this block, until it returns it. The two numbers are
    /// what it is to be told: offset and length.
    pub fn lend(&mut self, block: Block) -> (u64, usize) {
        let told = (block.offset(), block.len());
        self.0.insert(block.offset(), block);
        told
    }

    /// The block at this offset, which the receiver says it is done with. `None`: it has none
    /// there.
    #[must_use]
    pub fn returned(&mut self, offset: u64) -> Option<Block> {
        self.0.remove(&offset)
    }

    /// All that the receiver had: it died.
    pub fn drain(&mut self) -> impl Iterator<Item = Block> + '_ {
        self.0.drain().map(|(_, block)| block)
    }

    /// How many blocks the receiver has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
