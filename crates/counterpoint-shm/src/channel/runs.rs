//! [`Held`]: a run that this process fills or reads, and how a channel is made and shared.

use super::heap::class_of;
use super::{CLOSED, Channel, Inbox, Run};
use crate::arena::View;
use crate::channel::memory::Memory;
use crate::door::Ordering;
use crate::sync::Owner;
use crate::sync::gate::ALL;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

impl Channel {
    /// A new channel, for at most so many records.
    pub fn create(limit: u64) -> io::Result<Arc<Self>> {
        let channel = Self { memory: Memory::create()? };
        channel.set_limit(limit);
        Ok(Arc::new(channel))
    }

    /// The channel that another process made.
    pub fn adopt(fd: OwnedFd) -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { memory: Memory::adopt(fd)? }))
    }

    /// The memory, to be given to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.memory.fd()
    }

    /// A run of so many bytes, whose contents are arbitrary. `None`: there is no room.
    pub fn alloc(self: &Arc<Self>, len: usize) -> Option<Held> {
        let class = class_of(len as u64)?;
        let heap = &self.control().heap;
        let segment = heap.take(class, Some(Owner::me()), self.memory.segments())?;
        Some(Held { channel: self.clone(), run: Run { segment, len: len as u64 }, sent: false })
    }

    /// A run that came with a record that was taken; to be called once for each.
    pub fn held(self: &Arc<Self>, run: Run) -> Held {
        Held { channel: self.clone(), run, sent: false }
    }

    /// Accepts no more records, gives none any more, and drops those that there are.
    pub fn close(self: &Arc<Self>) {
        let control = self.control();
        control.shut.store(CLOSED, Ordering::Relaxed);
        self.shut();
        let (mut inbox, me) = (Inbox::default(), Owner::me());
        let mut dropped = 0;
        loop {
            inbox.clear();
            let _ = control.head.mutex.lock(me);
            let taken = self.consume(&control.head, me, 64, &mut inbox);
            control.head.mutex.unlock_and_ring(&control.not_full, ALL);
            inbox.runs.iter().for_each(|run| drop(self.held(*run)));
            match taken {
                Ok(count) => dropped += count as u64,
                Err(_) => break,
            }
        }
        self.finish(dropped);
    }
}

/// A run of this process's: to be put with a record, or taken with one. Freed when dropped, unless
/// it was sent, or is another process's, as in a fork of its holder.
pub struct Held {
    channel: Arc<Channel>,
    run: Run,
    sent: bool,
}

impl Held {
    /// What a parcel is told.
    pub fn run(&self) -> Run {
        self.run
    }

    /// A record that was put refers to it: it is for whoever takes that.
    pub fn sent(mut self) {
        self.sent = true;
    }

    /// Where it begins, for its one holder; valid while this exists.
    pub fn as_ptr(&self) -> *mut u8 {
        self.channel.memory.place(self.run.segment).1
    }

    /// How many bytes it has.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.run.len as usize
    }

    /// Maps it for this process alone.
    pub fn map(&self) -> io::Result<View> {
        let (offset, _) = self.channel.memory.place(self.run.segment);
        View::map(self.channel.fd(), self.channel.memory.len(), offset, self.len())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What was sent may be held by another thread of this process by now.
        let heap = &self.channel.control().heap;
        if !self.sent && heap.is_ours(self.run.segment, Owner::me()) {
            self.channel.free(self.run.segment);
        }
    }
}
