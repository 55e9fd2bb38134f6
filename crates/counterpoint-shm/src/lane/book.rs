//! What the parent itself remembers of the entries, so that it need not believe the ledger.

use crate::ledger::{ENTRIES, Ledger};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Free,
    /// Sent, as the so manyth task, and neither recalled nor finished.
    Out(u64),
    Recalled,
}

pub(super) struct Book {
    slots: Vec<Slot>,
    /// What was freed last is used first: its word is in the cache.
    free: Vec<u16>,
    recalled: Vec<u16>,
    in_flight: usize,
    sent: u64,
}

impl Default for Book {
    fn default() -> Self {
        let free = (0..ENTRIES as u16).rev().collect();
        Self { slots: vec![Slot::Free; ENTRIES], free, recalled: Vec::new(), in_flight: 0, sent: 0 }
    }
}

impl Book {
    /// An entry that can be sent. Asks the ledger only when there would be none otherwise.
    pub(super) fn free_entry(&mut self, ledger: &Ledger) -> Option<u16> {
        if self.free.is_empty() {
            let Self { slots, free, recalled, .. } = self;
            recalled.retain(|entry| {
                let skipped = ledger.transition_to_reclaimed(*entry);
                if skipped {
                    slots[usize::from(*entry)] = Slot::Free;
                    free.push(*entry);
                }
                !skipped
            });
        }
        self.free.last().copied()
    }

    /// `entry` is what `free_entry` returned last.
    pub(super) fn sent(&mut self, entry: u16) {
        let popped = self.free.pop();
        debug_assert_eq!(popped, Some(entry));
        self.slots[usize::from(entry)] = Slot::Out(self.sent);
        self.sent += 1;
        self.in_flight += 1;
    }

    /// Whether the entry was sent and is neither finished nor recalled. Of any number.
    pub(super) fn is_out(&self, entry: u16) -> bool {
        matches!(self.slots.get(usize::from(entry)), Some(Slot::Out(_)))
    }

    /// Of an entry that is out.
    pub(super) fn finished(&mut self, entry: u16) {
        self.slots[usize::from(entry)] = Slot::Free;
        self.free.push(entry);
        self.in_flight -= 1;
    }

    /// Of an entry that is out.
    pub(super) fn recalled(&mut self, entry: u16) {
        self.slots[usize::from(entry)] = Slot::Recalled;
        self.recalled.push(entry);
        self.in_flight -= 1;
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// All that are out, oldest first; none is afterwards, nor ever will be.
    pub(super) fn drain(&mut self) -> Vec<u16> {
        let slots = std::mem::take(&mut self.slots);
        let order = |(entry, slot): (usize, &Slot)| match slot {
            Slot::Out(order) => Some((*order, entry as u16)),
            _ => None,
        };
        let mut out: Vec<_> = slots.iter().enumerate().filter_map(order).collect();
        out.sort_unstable();
        (self.free, self.recalled, self.in_flight) = (Vec::new(), Vec::new(), 0);
        out.into_iter().map(|(_, entry)| entry).collect()
    }
}
