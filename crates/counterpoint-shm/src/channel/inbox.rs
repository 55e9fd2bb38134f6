//! [`Inbox`]: records that were taken, copied out of shared memory.

use super::Run;

/// One record's part of an inbox.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    bytes_end: usize,
    runs_end: usize,
    /// The last run holds what would otherwise be the content.
    pub apart: bool,
}

/// Records, one after the other. A reused one keeps its memory.
#[derive(Debug, Default)]
pub struct Inbox {
    pub(super) bytes: Vec<u8>,
    pub(super) runs: Vec<Run>,
    items: Vec<Item>,
}

impl Inbox {
    /// Empties it.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.runs.clear();
        self.items.clear();
    }

    /// How many bytes of content it has memory for.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// A record: its content, its runs, and whether the last of them is the content.
    pub fn get(&self, at: usize) -> (&[u8], &[Run], bool) {
        let item = self.items[at];
        let (bytes, runs) = match at.checked_sub(1).map(|before| self.items[before]) {
            Some(before) => (before.bytes_end, before.runs_end),
            None => (0, 0),
        };
        (&self.bytes[bytes..item.bytes_end], &self.runs[runs..item.runs_end], item.apart)
    }

    /// What lies in `bytes` and `runs` behind the last item is one more.
    pub(super) fn close(&mut self, apart: bool) {
        let (bytes_end, runs_end) = (self.bytes.len(), self.runs.len());
        self.items.push(Item { bytes_end, runs_end, apart });
    }

    /// The runs behind the last item.
    pub(super) fn rest(&self) -> &[Run] {
        &self.runs[self.items.last().map_or(0, |item| item.runs_end)..]
    }

    /// Drops what lies behind the last item.
    pub(super) fn drop_rest(&mut self) {
        let ends = self.items.last().map_or((0, 0), |item| (item.bytes_end, item.runs_end));
        self.bytes.truncate(ends.0);
        self.runs.truncate(ends.1);
    }
}
