//! Blocks of memory on their way: [`Loan`] to a worker, [`Received`] from one.

use crate::system::Doorbell;
use counterpoint_shm::arena::{Arena, Block, View};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// A block of the pool's own arena. It is freed when the last owner lets go: the job, whoever
/// shares it, and every station whose worker was told of it and has not returned it.
pub struct Loan {
    arena: Arc<Mutex<Arena>>,
    block: Option<Block>,
    at: (u64, u64),
    memory: *mut u8,
}

// SAFETY: the pointer is into the arena's mapping, which `arena` keeps; the bytes are written once
// by whoever made the loan, before anybody is told of it.
unsafe impl Send for Loan {}
// SAFETY: as above; shared loans are only read.
unsafe impl Sync for Loan {}

impl Loan {
    /// A block of `len` bytes; `None`: the arena is full.
    pub fn new(arena: &Arc<Mutex<Arena>>, len: usize) -> Option<Self> {
        let mut locked = arena.lock().unwrap_or_else(PoisonError::into_inner);
        let block = locked.alloc(len)?;
        let memory = locked.bytes(&block);
        let at = (block.offset(), block.len() as u64);
        Some(Self { arena: arena.clone(), block: Some(block), at, memory })
    }

    /// Where its owner writes it, before it is shared; as long as asked for.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory
    }

    /// Offset and length, as a worker is told.
    pub fn place(&self) -> (u64, u64) {
        self.at
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.arena.lock().unwrap_or_else(PoisonError::into_inner).free(block);
        }
    }
}

/// What connects received blocks with the worker whose arena they are in, and parcels with the
/// workers that have them.
pub struct Link {
    arena: OwnedFd,
    len: usize,
    returned: Mutex<Vec<u64>>,
    forgotten: Mutex<Vec<u64>>,
    bell: Arc<Doorbell>,
}

impl Link {
    /// Of a worker whose arena this is, `len` bytes long, in the pool that `bell` wakes.
    pub fn new(arena: OwnedFd, len: usize, bell: Arc<Doorbell>) -> Arc<Self> {
        Arc::new(Self { arena, len, returned: Mutex::default(), forgotten: Mutex::default(), bell })
    }

    /// The worker's arena.
    pub fn arena(&self) -> &OwnedFd {
        &self.arena
    }

    /// Takes what the worker may be told is free again.
    pub fn take_returned(&self) -> Vec<u64> {
        std::mem::take(&mut *self.returned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// This parcel is not needed any more: soon, since it may be large.
    pub(crate) fn forget(&self, parcel: u64) {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).push(parcel);
        self.bell.ring();
    }

    /// Takes the parcels that the worker is to forget.
    pub(crate) fn take_forgotten(&self) -> Vec<u64> {
        std::mem::take(&mut *self.forgotten.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Undoes `take_forgotten` when there was no room to tell.
    pub(crate) fn forget_later(&self, parcels: Vec<u64>) {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner).extend(parcels);
    }

    /// Undoes `take_returned` when there was no room to tell.
    pub fn put_back(&self, offsets: Vec<u64>) {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner).extend(offsets);
    }
}

/// A block that a worker wrote. When it is dropped the worker is told, with the next task.
pub struct Received {
    link: Arc<Link>,
    offset: u64,
    len: u64,
}

impl Received {
    /// The worker says that this is a block of its arena; whether that is so shows in `map`.
    pub fn new(link: &Arc<Link>, (offset, len): (u64, u64)) -> Self {
        Self { link: link.clone(), offset, len }
    }

    /// Maps it, privately.
    pub fn map(&self) -> io::Result<View> {
        let len = usize::try_from(self.len).map_err(io::Error::other)?;
        View::map(self.link.arena.as_fd(), self.link.len, self.offset, len)
    }

    /// How many bytes the worker says it has.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has none, which no valid one does.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        let mut returned = self.link.returned.lock().unwrap_or_else(PoisonError::into_inner);
        returned.push(self.offset);
    }
}
