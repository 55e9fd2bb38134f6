//! The parent's end of a lane.

use super::book::Book;
use super::event::Event;
use super::layout::{Memory, RESULT_RING, TASK_RING};
use super::{Corrupt, Counters, HOLD, Incoming, Leftover, Phase, Tag};
use crate::clock;
use crate::door::{Ordering, fence};
use crate::ring::{Consumer, Producer};
#[cfg(not(loom))]
use std::{io, os::fd::BorrowedFd};

/// The parent's end of one worker's lane.
///
/// Whoever submits and whoever drains share it behind a lock of the parent's own; only the worker
/// is on the other side. Nothing that the worker writes is trusted: the worst that it can do is to
/// make this end report [`Corrupt`].
pub struct ParentEnd {
    memory: Memory,
    event: Event,
    tasks: Producer,
    results: Consumer,
    book: Book,
    /// Where a record is copied to before anybody looks at it.
    scratch: Vec<u8>,
    /// How often the worker announced that it would write to the eventfd, and that was not read.
    unread: u64,
    /// Until when the worker may hold results back without a further ring.
    look_at: Option<u64>,
    /// A record did not fit since the last `receive`; then where the worker's cursor was.
    hungry: Option<u64>,
    /// The worker was caught writing what no worker writes.
    corrupt: bool,
}

impl ParentEnd {
    /// A new lane: its segment, with nothing in it, and its eventfd.
    #[cfg(not(loom))]
    pub fn create() -> io::Result<Self> {
        Ok(Self::over(Memory::create()?, Event::create()?))
    }

    pub(super) fn over(memory: Memory, event: Event) -> Self {
        Self {
            memory,
            event,
            tasks: Producer::new(TASK_RING),
            results: Consumer::new(RESULT_RING),
            book: Book::default(),
            scratch: Vec::new(),
            unread: 0,
            look_at: None,
            hungry: None,
            corrupt: false,
        }
    }

    /// The segment, to be given to the worker.
    #[cfg(not(loom))]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// What the worker rings: readable when it wants attention. To be given to the worker, and to
    /// be polled, best edge-triggered: then a worker that writes to it without end wakes the
    /// parent once for each write, not without end.
    #[cfg(not(loom))]
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }

    /// Hands the worker one task: a record made of `parts` in a row, and a ledger entry, whose
    /// number is returned. `None`: no room, or no free entry, or more than
    /// [`MAX_PAYLOAD`](super::MAX_PAYLOAD) bytes; unless it is the last, the worker will ring once
    /// it has made room. The worker is told by [`ring`](Self::ring), not by this.
    #[must_use]
    pub fn send(&mut self, kind: u8, flags: u8, parts: &[&[u8]]) -> Option<u16> {
        let look = |this: &mut Self| this.book.free_entry(&this.memory.control().ledger);
        let entry = look(self).or_else(|| self.insist(look))?;
        if !self.room_for(parts) {
            return None;
        }
        // The entry first: the worker must find it SENT when it finds the record.
        self.memory.control().ledger.transition_to_sent(entry);
        self.book.sent(entry);
        self.write(Tag { kind, flags, entry: Some(entry) }, parts);
        Some(entry)
    }

    /// Hands the worker a record without an entry: a control message. `false`: as `None` from
    /// [`send`](Self::send).
    #[must_use]
    pub fn post(&mut self, kind: u8, parts: &[&[u8]]) -> bool {
        if !self.room_for(parts) {
            return false;
        }
        self.write(Tag { kind, flags: 0, entry: None }, parts);
        true
    }

    fn write(&mut self, tag: Tag, parts: &[&[u8]]) {
        let written = self.tasks.push(&self.memory.tasks(), tag.pack(), parts);
        debug_assert_eq!(written, Ok(true));
    }

    fn room_for(&mut self, parts: &[&[u8]]) -> bool {
        let Some(size) = self.tasks.size_of(parts) else { return false };
        let look = |this: &mut Self| {
            let room = this.tasks.has_room(&this.memory.tasks(), size);
            this.check(room).unwrap_or(false).then_some(())
        };
        look(self).or_else(|| self.insist(look)).is_some()
    }

    /// Tells the worker that the parent waits for room, and looks once more: either that look
    /// finds what the worker freed, or the worker finds that it is to ring.
    fn insist<T>(&mut self, look: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let control = self.memory.control();
        self.hungry.get_or_insert(control.tasks.consumed());
        control.hungry.store(1, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `WorkerEnd::ring_parent`: the store above comes before
        // the worker's look at `hungry`, or its freeing before the look below.
        fence(Ordering::SeqCst);
        look(self)
    }

    /// Wakes the worker if it sleeps. To be called after one `send` or `post` or several; costs a
    /// fence and a load when it is awake. Returns whether it slept.
    pub fn ring(&self) -> bool {
        self.memory.control().task_bell.ring()
    }

    /// Takes a task back that the worker has not started, to cancel it or to send it elsewhere.
    /// `false`: it was started, or is not in flight.
    #[must_use]
    pub fn recall(&mut self, entry: u16) -> bool {
        let recalled =
            self.book.is_out(entry) && self.memory.control().ledger.transition_to_recalled(entry);
        if recalled {
            self.book.recalled(entry);
        }
        recalled
    }

    /// Whether the worker began this task, and its result has not been received.
    pub fn is_started(&self, entry: u16) -> bool {
        self.book.is_out(entry) && self.state(entry) == Phase::Started
    }

    /// What the ledger says of an entry.
    pub fn state(&self, entry: u16) -> Phase {
        self.memory.control().ledger.phase(entry)
    }

    /// Drains what the worker had published when this was called: each record is copied, checked,
    /// and given to `f`; an entry is free again before `f` hears of its result. Returns how many
    /// there were. After [`Corrupt`] (records before it have been given to `f`) nothing further
    /// comes from this lane: kill the worker, and see [`leftover`](Self::leftover).
    pub fn receive(&mut self, mut f: impl FnMut(Incoming<'_>)) -> Result<usize, Corrupt> {
        self.no_longer_hungry();
        let until = self.published()?;
        let mut count = 0;
        while self.results.position() != until {
            let Some(tag) = self.take()? else { break };
            count += 1;
            f(Incoming { kind: tag.kind, entry: tag.entry, bytes: &self.scratch });
        }
        if count > 0 {
            self.memory.control().room_bell.ring();
        }
        Ok(count)
    }

    fn published(&mut self) -> Result<u64, Corrupt> {
        if self.corrupt {
            return Err(Corrupt);
        }
        let until = self.results.look(&self.memory.results());
        self.check(until)
    }

    /// Copies the next record into the scratch buffer; if it is a result, its entry becomes free.
    fn take(&mut self) -> Result<Option<Tag>, Corrupt> {
        let taken = self.results.take(&self.memory.results(), &mut self.scratch);
        let Some(tag) = self.check(taken)?.map(Tag::unpack) else { return Ok(None) };
        if let Some(entry) = tag.entry {
            let finished = self.book.is_out(entry)
                && self.memory.control().ledger.transition_to_finished(entry);
            self.check(finished.then_some(()).ok_or(Corrupt))?;
            self.book.finished(entry);
        }
        Ok(Some(tag))
    }

    fn check<T>(&mut self, verdict: Result<T, Corrupt>) -> Result<T, Corrupt> {
        self.corrupt |= verdict.is_err();
        verdict
    }

    /// Whoever receives looks for room by itself afterwards.
    fn no_longer_hungry(&mut self) {
        if self.hungry.take().is_some() {
            self.memory.control().hungry.store(0, Ordering::Relaxed);
        }
    }

    /// How many tasks were sent and neither received nor recalled.
    pub fn in_flight(&self) -> usize {
        self.book.in_flight()
    }

    /// How many bytes a task may have now; 0 when no ledger entry is free.
    pub fn free_space(&mut self) -> usize {
        if self.book.free_entry(&self.memory.control().ledger).is_none() {
            return 0;
        }
        let space = self.tasks.free_space(&self.memory.tasks());
        self.check(space).unwrap_or(0)
    }

    /// The first step of going to sleep: from here on the worker rings. Then look at
    /// [`pending`](Self::pending); if it is false, sleep until the eventfd is readable, or, if
    /// this returned a moment (monotonic nanoseconds), until then at most; then call
    /// [`awake`](Self::awake) and [`receive`](Self::receive) in any case.
    #[must_use]
    pub fn prepare_sleep(&mut self) -> Option<u64> {
        self.memory.control().parent.announce();
        self.look_at
    }

    /// Whether there is something to [`receive`](Self::receive) or, after a `send` or `post` in
    /// vain, new room.
    pub fn pending(&self) -> bool {
        let control = self.memory.control();
        self.corrupt
            || control.results.published() != self.results.position()
            || self.hungry.is_some_and(|then| control.tasks.consumed() != then)
    }

    /// Ends the sleep, or the preparation for it. [`receive`](Self::receive) must follow.
    pub fn awake(&mut self) {
        if self.memory.control().parent.transition_to_awake() {
            self.unread += 1;
            // From that ring until HOLD after it the worker may hold results back.
            self.look_at = Some(clock::now() + HOLD);
        } else if self.look_at.is_some_and(|at| clock::now() >= at) {
            self.look_at = None;
        }
        if self.unread > 0 {
            self.unread = self.unread.saturating_sub(self.event.clear());
        }
    }

    /// When the task that the worker runs began, in monotonic nanoseconds; 0: none runs, or it is
    /// not that far. Read [`is_started`](Self::is_started) first: then this is that task's, or a
    /// later one's. The worker wrote it: use it in arithmetic that saturates.
    pub fn started_at(&self) -> u64 {
        self.memory.control().meters.started_at()
    }

    /// What the worker counted.
    pub fn counters(&self) -> Counters {
        self.memory.control().meters.read()
    }

    /// Sleeps as the dispatcher does, with time passing as it must.
    #[cfg(loom)]
    pub fn sleep(&self, until: Option<u64>) {
        match until {
            Some(moment) => clock::pass(moment),
            None => self.event.wait(),
        }
    }

    /// After the worker died, and after a last [`receive`](Self::receive): which tasks it had
    /// started, and which it had not, in the order in which they were sent. Nothing is in flight
    /// afterwards, and the lane is of no further use.
    #[must_use]
    pub fn leftover(&mut self) -> Leftover {
        let ledger = &self.memory.control().ledger;
        let (unstarted, started) =
            self.book.drain().into_iter().partition(|entry| ledger.transition_to_recalled(*entry));
        Leftover { started, unstarted }
    }
}
