#![doc = include_str!("README.md")]

mod book;
mod event;
mod layout;
mod meters;
mod parent;
mod sleeper;
#[cfg(all(test, not(any(loom, miri))))]
mod tests;
mod worker;

pub use layout::{MAX_PAYLOAD, RESULT_RING, TASK_RING};
pub use parent::ParentEnd;
pub use worker::WorkerEnd;

pub use crate::bell::Slept;
pub use crate::ledger::{ENTRIES, Phase};
pub use crate::ring::Corrupt;

/// How long a worker that is busy may hold results back: nanoseconds since its last ring.
pub const HOLD: u64 = 200_000;

/// What heads a record, packed into the ring's tag word:
///
/// | bits  | content                       |
/// |-------|-------------------------------|
/// | 0-7   | kind                          |
/// | 8-15  | flags                         |
/// | 16-31 | ledger entry + 1, or 0        |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tag {
    kind: u8,
    flags: u8,
    entry: Option<u16>,
}

impl Tag {
    fn pack(self) -> u32 {
        let entry = self.entry.map_or(0, |entry| u32::from(entry) + 1);
        u32::from(self.kind) | u32::from(self.flags) << 8 | entry << 16
    }

    /// Any word is a tag; whether its entry exists is for the ledger to say.
    fn unpack(word: u32) -> Self {
        let [kind, flags, ..] = word.to_le_bytes();
        Self { kind, flags, entry: ((word >> 16) as u16).checked_sub(1) }
    }
}

/// What the parent receives.
#[derive(Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// What kind of record; the two processes' business.
    pub kind: u8,
    /// The task whose result this is: it was in flight and started, and is neither any more.
    pub entry: Option<u16>,
    /// The payload, in memory of the parent's own; to be copied by whoever wants to keep it.
    pub bytes: &'a [u8],
}

/// What the worker receives.
#[derive(Debug, PartialEq, Eq)]
pub struct Task<'a> {
    /// What kind of record; the two processes' business.
    pub kind: u8,
    /// As given to [`ParentEnd::send`]; 0 in a record that was posted.
    pub flags: u8,
    /// The task's number, to be returned with its result; `None` in a record that was posted.
    pub entry: Option<u16>,
    /// The payload, in memory of the worker's own.
    pub bytes: &'a [u8],
}

/// What a worker counts. It is the worker's word: shown to people, never relied on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Tasks that ended.
    pub tasks: u64,
    /// Nanoseconds spent in them.
    pub busy_ns: u64,
    /// Bytes of payload received.
    pub bytes_in: u64,
    /// Bytes of payload published.
    pub bytes_out: u64,
}

/// What a dead worker leaves: the entries that were in flight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leftover {
    /// Started and not finished: at most one, unless the worker broke the rules. They may have
    /// run, in part or whole.
    pub started: Vec<u16>,
    /// Certainly not started, oldest first: to be sent to another worker.
    pub unstarted: Vec<u16>,
}

/// The two ends of one lane, for a model.
#[cfg(loom)]
pub fn pair() -> (ParentEnd, WorkerEnd) {
    let (memory, event) = (layout::Memory::default(), event::Event::default());
    (ParentEnd::over(memory.clone(), event.clone()), WorkerEnd::over(memory, event))
}
