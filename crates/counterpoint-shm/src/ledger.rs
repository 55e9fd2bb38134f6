//! The ledger: a word for each task that the parent gave the worker, which says whose it is.
//!
//! | state    | who wrote it | what it means                     | what comes next                  |
//! |----------|--------------|-----------------------------------|----------------------------------|
//! | FREE     | parent       | no task                           | SENT, by the parent              |
//! | SENT     | parent       | in the ring, not started          | STARTED, worker; RECALLED, parent |
//! | STARTED  | worker       | runs, or its result is in the ring | FREE, by the parent (result)     |
//! | RECALLED | parent       | taken back; its record still there | SKIPPED, by the worker           |
//! | SKIPPED  | worker       | its record is passed              | FREE, by the parent              |
//!
//! SENT is the only state that two would leave, and both do by compare-and-swap: a task is started
//! or taken back, never both. Whoever finds a worker dead reads here which of its tasks can have
//! run: all but those that are SENT.

use crate::door::{AtomicU32, Ordering};

/// How many tasks a worker can be given at a time.
#[cfg(not(loom))]
pub const ENTRIES: usize = 512;
/// How many tasks a worker can be given at a time; few, in a model.
#[cfg(loom)]
pub const ENTRIES: usize = 2;

const FREE: u32 = 0;
const SENT: u32 = 1;
const STARTED: u32 = 2;
const RECALLED: u32 = 3;
const SKIPPED: u32 = 4;

/// What a ledger entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// There is no task.
    Free,
    /// The worker has not started it.
    Sent,
    /// The worker started it.
    Started,
    /// It was taken back.
    Recalled,
    /// It was taken back, and the worker has passed its record.
    Skipped,
    /// No such entry, or nothing that anybody writes.
    Invalid,
}

/// What the worker is to do with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Start {
    /// It is the worker's now.
    Run,
    /// It was taken back.
    Skip,
    /// It is neither: somebody broke the rules.
    Corrupt,
}

#[repr(transparent)]
pub(crate) struct Ledger([AtomicU32; ENTRIES]);

#[cfg(any(test, loom))]
impl Default for Ledger {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU32::new(FREE)))
    }
}

impl Ledger {
    /// By the parent, of an entry that its own book says is free, before the record is published.
    pub(crate) fn transition_to_sent(&self, entry: u16) {
        // The record's publication orders this.
        self.0[usize::from(entry)].store(SENT, Ordering::Relaxed);
    }

    /// By the worker, on meeting the entry's record.
    pub(crate) fn transition_to_started(&self, entry: u16) -> Start {
        if self.swap(entry, SENT, STARTED) {
            Start::Run
        } else if self.swap(entry, RECALLED, SKIPPED) {
            Start::Skip
        } else {
            Start::Corrupt
        }
    }

    /// By the parent. `true`: the worker has not started it, and will not.
    #[must_use]
    pub(crate) fn transition_to_recalled(&self, entry: u16) -> bool {
        self.swap(entry, SENT, RECALLED)
    }

    /// By the parent, on receiving the entry's result. `false`: it was not started.
    #[must_use]
    pub(crate) fn transition_to_finished(&self, entry: u16) -> bool {
        self.swap(entry, STARTED, FREE)
    }

    /// By the parent, of an entry that it recalled. `true`: the worker passed its record.
    #[must_use]
    pub(crate) fn transition_to_reclaimed(&self, entry: u16) -> bool {
        self.swap(entry, SKIPPED, FREE)
    }

    /// What an entry says.
    pub(crate) fn phase(&self, entry: u16) -> Phase {
        let Some(word) = self.0.get(usize::from(entry)) else { return Phase::Invalid };
        // ORDERING: Acquire pairs with the Release in `swap`: who sees STARTED sees that the
        // worker's clock does not show an earlier task any more.
        match word.load(Ordering::Acquire) {
            FREE => Phase::Free,
            SENT => Phase::Sent,
            STARTED => Phase::Started,
            RECALLED => Phase::Recalled,
            SKIPPED => Phase::Skipped,
            _ => Phase::Invalid,
        }
    }

    fn swap(&self, entry: u16, from: u32, to: u32) -> bool {
        // ORDERING: Release pairs with the Acquire in `phase`, and with the one here: who fails to
        // take a task back because it was started finds the results that were published before.
        // The states order nothing else: what belongs to a task is ordered by the cursor of the
        // ring that its record is in.
        self.0.get(usize::from(entry)).is_some_and(|word| {
            word.compare_exchange(from, to, Ordering::Release, Ordering::Acquire).is_ok()
        })
    }

    #[cfg(all(test, not(loom)))]
    pub(crate) fn overwrite(&self, entry: u16, word: u32) {
        self.0[usize::from(entry)].store(word, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_task_goes_its_way() {
        let ledger = Ledger::default();
        assert_eq!(ledger.phase(7), Phase::Free);
        ledger.transition_to_sent(7);
        assert_eq!(ledger.phase(7), Phase::Sent);
        assert_eq!(ledger.transition_to_started(7), Start::Run);
        assert_eq!(ledger.phase(7), Phase::Started);
        assert!(!ledger.transition_to_recalled(7));
        assert!(ledger.transition_to_finished(7));
        assert_eq!(ledger.phase(7), Phase::Free);
    }

    #[test]
    fn a_task_is_taken_back() {
        let ledger = Ledger::default();
        ledger.transition_to_sent(0);
        assert!(ledger.transition_to_recalled(0));
        assert!(!ledger.transition_to_recalled(0));
        assert_eq!(ledger.phase(0), Phase::Recalled);
        assert!(!ledger.transition_to_reclaimed(0));
        assert_eq!(ledger.transition_to_started(0), Start::Skip);
        assert_eq!(ledger.phase(0), Phase::Skipped);
        assert!(!ledger.transition_to_finished(0));
        assert!(ledger.transition_to_reclaimed(0));
        assert_eq!(ledger.phase(0), Phase::Free);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let ledger = Ledger::default();
        assert_eq!(ledger.transition_to_started(3), Start::Corrupt);
        assert_eq!(ledger.transition_to_started(ENTRIES as u16), Start::Corrupt);
        assert_eq!(ledger.phase(u16::MAX), Phase::Invalid);
        assert!(!ledger.transition_to_finished(3));
        ledger.overwrite(3, 77);
        assert_eq!(ledger.phase(3), Phase::Invalid);
        assert!(!ledger.transition_to_recalled(3));
    }
}
