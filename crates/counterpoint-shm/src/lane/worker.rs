//! The worker's end of a lane.

use super::event::Event;
use super::layout::{MAX_PAYLOAD, Memory, RESULT_RING, TASK_RING};
use super::{Corrupt, HOLD, Slept, Tag, Task};
use crate::clock;
use crate::door::{Ordering, fence};
use crate::ledger::Start;
use crate::ring::{Consumer, Producer};
#[cfg(not(loom))]
use std::{io, os::fd::OwnedFd};

/// The worker's end of its lane; one thread's.
pub struct WorkerEnd {
    memory: Memory,
    event: Event,
    tasks: Consumer,
    results: Producer,
    /// The bytes of the task that `next` returned last.
    scratch: Vec<u8>,
    /// Something was published since the parent was last told, or found awake.
    owed: bool,
    last_ring: u64,
    began: u64,
}

impl WorkerEnd {
    /// Opens the lane that the parent created, from the two descriptors that it handed over.
    #[cfg(not(loom))]
    pub fn adopt(lane: OwnedFd, event: OwnedFd) -> io::Result<Self> {
        Ok(Self::over(Memory::adopt(lane)?, Event::adopt(event)))
    }

    pub(super) fn over(memory: Memory, event: Event) -> Self {
        Self {
            memory,
            event,
            tasks: Consumer::new(TASK_RING),
            results: Producer::new(RESULT_RING),
            scratch: Vec::new(),
            owed: false,
            last_ring: 0,
            began: 0,
        }
    }

    /// The next record; a task is marked as started, one that was recalled is skipped. `None`:
    /// nothing there.
    // No iterator can lend out what it has.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Task<'_>>, Corrupt> {
        loop {
            let ring = self.memory.tasks();
            let Some(record) = self.tasks.peek(&ring)? else { return Ok(None) };
            let tag = Tag::unpack(record.tag());
            let start = match tag.entry {
                Some(entry) => self.memory.control().ledger.transition_to_started(entry),
                None => Start::Run,
            };
            match start {
                Start::Run => self.tasks.copy(&ring, record, &mut self.scratch),
                Start::Skip => {}
                Start::Corrupt => return Err(Corrupt),
            }
            self.tasks.advance(&ring, record);
            if let Start::Run = start {
                self.memory.control().meters.count_in(self.scratch.len());
                let Tag { kind, flags, entry } = tag;
                return Ok(Some(Task { kind, flags, entry, bytes: &self.scratch }));
            }
        }
    }

    /// The payload of the record that [`next`](Self::next) returned last, again.
    pub fn payload(&self) -> &[u8] {
        &self.scratch
    }

    /// Whether [`next`](Self::next) would find a record (which may turn out to be recalled).
    pub fn has_next(&self) -> bool {
        self.memory.control().tasks.published() != self.tasks.position()
    }

    /// Notes that the task just taken begins, for the parent to see.
    pub fn begin(&mut self, now: u64) {
        self.began = now;
        self.memory.control().meters.begin(now);
    }

    /// Notes that it ended.
    pub fn end(&mut self, now: u64) {
        self.memory.control().meters.end(now.saturating_sub(self.began));
    }

    /// Counts bytes that came or go beside the records, in memory of which these only say where.
    pub fn count_beside(&self, came: usize, go: usize) {
        let meters = &self.memory.control().meters;
        meters.count_in(came);
        meters.count_out(go);
    }

    /// Publishes a record for the parent: with an entry the result of that task, which ends it;
    /// without, a message. `false`: the ring has no room (see [`room_sleep`](Self::room_sleep)),
    /// or there are more than [`MAX_PAYLOAD`] bytes. Not for the same entry
    /// twice. The parent is told by [`flush`](Self::flush).
    #[must_use]
    pub fn publish(&mut self, kind: u8, entry: Option<u16>, parts: &[&[u8]]) -> bool {
        let tag = Tag { kind, flags: 0, entry };
        let published = self.results.push(&self.memory.results(), tag.pack(), parts) == Ok(true);
        if published {
            self.owed = true;
            self.memory.control().meters.count_out(parts.iter().map(|part| part.len()).sum());
        }
        published
    }

    /// Rings the parent if it sleeps and is owed something, and if this is worth it: the worker
    /// has nothing else to do (`idle`), or has not rung for [`HOLD`], or the ring is half full.
    ///
    /// `now` must have been read *after* the last [`publish`](Self::publish): the proof that a
    /// result held back is not held back for ever rests on it. Returns whether it rang.
    pub fn flush(&mut self, now: u64, idle: bool) -> bool {
        let due = idle
            || (self.owed
                && (now.saturating_sub(self.last_ring) >= HOLD
                    || self.results.is_half_full(&self.memory.results())));
        due && self.ring_parent(now)
    }

    /// Rings the parent if it sleeps, and is owed something or waits for room.
    fn ring_parent(&mut self, now: u64) -> bool {
        let control = self.memory.control();
        // ORDERING: pairs with the fence in `Sleeper::announce` (what was published comes before
        // this look at the parent, or its announcement before its look at the ring), and with the
        // one in `ParentEnd::insist` (likewise for the room that was made).
        fence(Ordering::SeqCst);
        let wanted = self.owed || control.hungry.load(Ordering::Relaxed) != 0;
        self.owed = false;
        let rung = wanted && control.parent.transition_to_rung();
        if rung {
            self.last_ring = now;
            self.event.raise();
        }
        rung
    }

    /// Sleeps until there is a record, or until `deadline` (monotonic nanoseconds) at most. Tells
    /// the parent first what it is owed.
    pub fn sleep(&mut self, deadline: Option<u64>) -> Slept {
        self.ring_parent(clock::now());
        let control = self.memory.control();
        let position = self.tasks.position();
        control.task_bell.sleep_unless(deadline, || control.tasks.published() != position)
    }

    /// Sleeps until the parent made room in the result ring, for `len` bytes if that is what it
    /// takes; call it after [`publish`](Self::publish) returned `false`, then try again. Tells the
    /// parent first what it is owed, which is why there is no room.
    pub fn room_sleep(&mut self, len: usize, deadline: Option<u64>) -> Slept {
        self.owed = true;
        self.ring_parent(clock::now());
        let Self { memory, results, .. } = self;
        let ring = memory.results();
        let fits = || results.free_space(&ring).is_ok_and(|free| free >= len.min(MAX_PAYLOAD));
        memory.control().room_bell.sleep_unless(deadline, fits)
    }
}
