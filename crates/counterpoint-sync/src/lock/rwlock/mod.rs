//! [`RwLockState`]: many readers or one writer.
//!
//! Two lists, one order: a waiter's age tells who came first across both. Whatever changes who
//! may enter (a release, a downgrade, a waiter that gives up) ends in `admit`, which lets in
//! whom the mode prefers:
//!
//! - [`Mode::Writer`]: a writer that waits keeps new readers out and is served before those that
//!   wait. It may be overtaken by another writer until it has waited
//!   [`HAND_OFF_AFTER`]. After [`PATIENCE`] writers have passed
//!   them, the readers that wait go first, so that they do not starve either.
//! - [`Mode::Fair`]: strictly first come first; nobody overtakes anybody. Readers that stand next
//!   to each other in line enter together.
//!
//! Readers are always handed the lock, all that are due at once: they do not exclude each other,
//! so nothing is gained by letting them race.
//!
//! Every holder is known. A reader may read again at any time, even while a writer waits (it
//! would wait for itself otherwise); what could only wait for itself is a [`Misuse`].

mod readers;
mod sources;
#[cfg(all(test, not(loom)))]
mod tests;

use super::Who;
use super::mutex::NOBODY;
use crate::clock::HAND_OFF_AFTER;
use crate::door::Arc;
use crate::wait::State;
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};
use counterpoint_trace::Durations;
use readers::Readers;
pub use sources::{AcquireRead, AcquireWrite};

/// How many writers may enter before readers that wait.
pub const PATIENCE: u32 = 16;

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Writers.
    Writer,
    /// Whoever came first.
    Fair,
}

/// What the lock refuses, because it would wait for ever or is nobody's to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// A reader wants to write: it would wait for itself, and two of them for each other.
    Upgrade,
    /// The writer wants to write again: the write lock is not reentrant.
    WriteAgain,
    /// The writer wants to read: it may [`downgrade`](RwLockState::downgrade) instead.
    ReadWhileWriting,
    /// A release by one who does not hold it.
    NotHeld,
}

/// Who holds it and who waits.
pub struct RwLockState<N> {
    mode: Mode,
    writer: usize,
    writer_task: Option<Arc<Waiter<N>>>,
    readers: Readers<N>,
    /// How many writers have entered while readers waited.
    passed_by: u32,
    /// Who waits to read.
    pub reads: WaitList<N>,
    /// Who waits to write.
    pub writes: WaitList<N>,
    /// How long those waited who had to, to read or to write.
    pub waits: Durations,
}

impl<N> RwLockState<N> {
    /// A free lock.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            writer: NOBODY,
            writer_task: None,
            readers: Readers::default(),
            passed_by: 0,
            reads: WaitList::new(),
            writes: WaitList::new(),
            waits: Durations::new(),
        }
    }

    /// Who goes first.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Who writes; [`NOBODY`] if nobody does.
    pub fn writer(&self) -> usize {
        self.writer
    }

    /// The task that writes, if it is one.
    pub fn writer_task(&self) -> Option<&Arc<Waiter<N>>> {
        self.writer_task.as_ref()
    }

    /// Who reads: owner, how often, and the task if it is one.
    pub fn readers(&self) -> impl Iterator<Item = (usize, usize, Option<&Arc<Waiter<N>>>)> {
        self.readers.iter()
    }

    /// How many read.
    pub fn reader_count(&self) -> usize {
        self.readers.len()
    }

    /// How many wait, for either.
    pub fn waiters(&self) -> usize {
        self.reads.len() + self.writes.len()
    }

    /// Enters as a reader; `None` if that has to wait.
    pub fn try_read(&mut self, who: &Who<N>, wakes: &mut Wakes<N>) -> Option<Result<(), Misuse>> {
        if self.writer == who.owner() {
            return Some(Err(Misuse::ReadWhileWriting));
        }
        let enters = self.readers.contains(who.owner())
            || self.writer == NOBODY && !self.keeps_readers_out(wakes);
        enters.then(|| {
            self.readers.add(who.owner(), who.task());
            Ok(())
        })
    }

    fn keeps_readers_out(&mut self, wakes: &mut Wakes<N>) -> bool {
        self.writes.is_awaited(wakes) || self.mode == Mode::Fair && self.reads.is_awaited(wakes)
    }

    /// Enters as the writer; `None` if that has to wait. In fair mode a lock that is free has
    /// nobody waiting, so this overtakes nobody.
    pub fn try_write(&mut self, who: &Who<N>) -> Option<Result<(), Misuse>> {
        if self.writer == who.owner() {
            return Some(Err(Misuse::WriteAgain));
        }
        if self.readers.contains(who.owner()) {
            return Some(Err(Misuse::Upgrade));
        }
        let enters = self.writer == NOBODY && self.readers.is_empty();
        enters.then(|| {
            self.write_as(who.owner(), who.task());
            Ok(())
        })
    }

    fn write_as(&mut self, owner: usize, task: Option<&Arc<Waiter<N>>>) {
        self.writer = owner;
        self.writer_task = task.cloned();
        self.passed_by += u32::from(!self.reads.is_empty());
    }

    /// Undoes one [`try_read`](Self::try_read) of `owner`.
    pub fn release_read(
        &mut self,
        owner: usize,
        now: impl FnOnce() -> u64,
        wakes: &mut Wakes<N>,
    ) -> Result<(), Misuse> {
        if !self.readers.remove(owner, wakes) {
            return Err(Misuse::NotHeld);
        }
        self.admit(now, wakes);
        Ok(())
    }

    /// The writer `owner` leaves.
    pub fn release_write(
        &mut self,
        owner: usize,
        now: impl FnOnce() -> u64,
        wakes: &mut Wakes<N>,
    ) -> Result<(), Misuse> {
        let task = self.end_write(owner)?;
        task.into_iter().for_each(|task| wakes.discard(task));
        self.admit(now, wakes);
        Ok(())
    }

    /// The writer `owner` becomes a reader, with nobody writing in between.
    pub fn downgrade(&mut self, owner: usize, wakes: &mut Wakes<N>) -> Result<(), Misuse> {
        let task = self.end_write(owner)?;
        self.readers.add(owner, task.as_ref());
        task.into_iter().for_each(|task| wakes.discard(task));
        self.admit(|| 0, wakes);
        Ok(())
    }

    fn end_write(&mut self, owner: usize) -> Result<Option<Arc<Waiter<N>>>, Misuse> {
        if self.writer == NOBODY || self.writer != owner {
            return Err(Misuse::NotHeld);
        }
        self.writer = NOBODY;
        Ok(self.writer_task.take())
    }

    /// Lets in who is next, if the lock allows it.
    fn admit(&mut self, now: impl FnOnce() -> u64, wakes: &mut Wakes<N>) {
        if self.writer != NOBODY || self.waiters() == 0 {
            return;
        }
        if self.readers_are_next(wakes) {
            self.admit_readers(wakes);
        } else if self.readers.is_empty() {
            self.admit_writer(now, wakes);
        }
    }

    fn readers_are_next(&mut self, wakes: &mut Wakes<N>) -> bool {
        let Some(writer) = self.writes.first(wakes) else { return true };
        let reader = self.reads.first(wakes);
        reader.is_some_and(|reader| match self.mode {
            Mode::Writer => self.passed_by >= PATIENCE,
            Mode::Fair => reader.since() <= writer.since(),
        })
    }

    /// In fair mode those ahead of the first writer, otherwise all.
    fn admit_readers(&mut self, wakes: &mut Wakes<N>) {
        let writer = self.writes.first(wakes).filter(|_| self.mode == Mode::Fair);
        let until = writer.map_or(u64::MAX, |writer| writer.since());
        while let Some(reader) = self.reads.first(wakes)
            && reader.since() <= until
        {
            if self.reads.claim_first(Claim::Granted, wakes) {
                self.readers.add(reader.owner(), reader.notify().is_some().then_some(&reader));
            }
        }
        self.passed_by = 0;
    }

    fn admit_writer(&mut self, now: impl FnOnce() -> u64, wakes: &mut Wakes<N>) {
        let Some(writer) = self.writes.first(wakes) else { return };
        let due = self.mode == Mode::Fair || now().saturating_sub(writer.since()) >= HAND_OFF_AFTER;
        let claim = if due { Claim::Granted } else { Claim::Permission };
        if self.writes.claim_first(claim, wakes) && due {
            self.write_as(writer.owner(), writer.notify().is_some().then_some(&writer));
        }
    }

    /// Forgets holders and waiters, for a child after a fork; the result is to be dropped
    /// outside the lock.
    pub fn reset(&mut self) -> Self {
        let mut old = std::mem::replace(self, Self::new(self.mode));
        (old.reads, old.writes) = (old.reads.disband(), old.writes.disband());
        old
    }
}

impl<N: Notify> State for RwLockState<N> {
    type Notify = N;

    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        if waiter.claimed() == Claim::Granted {
            match self.end_write(waiter.owner()) {
                Ok(task) => task.into_iter().for_each(|task| wakes.discard(task)),
                Err(_) => drop(self.readers.remove(waiter.owner(), wakes)),
            }
        }
        self.admit(|| 0, wakes);
    }
}
