//! Arenas: big payloads, written once by their owner, mapped by their receiver, never sent.
//!
//! An arena is a sparse memfd with one **owner**, which maps all of it, cuts it into **blocks**
//! and writes them. A **receiver** is told a block's offset and length in a record, maps those
//! pages privately ([`View`]: what it writes it alone sees), and says when it is done; then, or
//! when it died, the owner frees the block. Nothing in the memory itself is shared bookkeeping, so
//! there is nothing that a death could leave half done.
//!
//! A private mapping shows later writes of the owner to pages that the receiver has not written
//! to. So a block must not be freed before its receiver unmapped it or died.
//!
//! Measured with 8 MB: a first copy into fresh pages runs at 1.5 GB/s, into pages that have been
//! used at 13. So the allocator hands out what was freed last, and keeps
//! [`KEEP`] bytes of freed blocks before it returns pages to the system.
//!
//! A block of 2 MiB and more starts where a huge page can, and when it is handed out again
//! its pages are put together to huge ones. For 8 MB that takes 0.4 ms off the receiver's page
//! faults and 0.15 ms off its unmapping, once and for all, and costs 2 to 10 ms: what is used once
//! is left as it is. Systems that give huge pages to no shared memory by themselves (most) do so
//! when they are asked.
//!
//! Receivers get a descriptor that cannot write ([`Arena::reader`]). The seal made for that,
//! `F_SEAL_FUTURE_WRITE`, is not used: it also forbids to return pages.

mod lent;
mod shelves;
mod view;

pub use lent::Lent;
pub use shelves::{Block, KEEP};
pub use view::View;

use crate::memory::{Mapping, Segment};
use shelves::Shelves;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// The shortest arena that is tried when the address space has no room for the one wanted.
pub const LEAST: usize = 1 << 30;

/// The owner's side of an arena.
pub struct Arena {
    segment: Segment,
    reader: OwnedFd,
    shelves: Shelves,
    /// Whether the system knows how to put pages together; tried when it is wanted.
    can_collapse: bool,
}

impl Arena {
    /// A new arena of `virtual_len` bytes, or, if so much cannot be mapped, of a half, a quarter
    /// and so on down to [`LEAST`]. It takes memory only for what is written.
    pub fn create(name: &CStr, virtual_len: usize) -> io::Result<Self> {
        Self::over(create_as_long_as_possible(name, virtual_len)?)
    }

    /// A new arena for another process to own, which is to [`adopt`](Self::adopt) the descriptor
    /// (a duplicate of it). As long as [`create`](Self::create) would make it.
    pub fn lay_out(name: &CStr, virtual_len: usize) -> io::Result<OwnedFd> {
        Ok(create_as_long_as_possible(name, virtual_len)?.into_fd())
    }

    /// Becomes the owner of an arena that another process laid out.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let len = sealed_len(fd.as_fd())?;
        let mapping = longest(len, |len| Mapping::new(fd.as_fd(), 0, len, libc::MAP_SHARED))?;
        let segment = Segment::of(fd, mapping);
        Self::over(segment)
    }

    fn over(segment: Segment) -> io::Result<Self> {
        segment.mapping().leave_out_of_core_dumps();
        let reader = reopen_for_reading(segment.fd())?;
        let shelves = Shelves::new(segment.len() as u64);
        Ok(Self { segment, reader, shelves, can_collapse: true })
    }

    /// The descriptor for receivers: it cannot be written to or mapped for shared writing.
    pub fn reader(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }

    /// How long the arena is; receivers learn it from [`sealed_len`].
    pub fn len(&self) -> usize {
        self.segment.len()
    }

    /// Whether no block is in use.
    pub fn is_empty(&self) -> bool {
        self.shelves.in_use() == 0
    }

    /// A block of at least `len` bytes, whose contents are arbitrary. `None`: the arena is full.
    /// Its pages come into being when they are written; should the system be out of memory then,
    /// it kills somebody, as for any other memory.
    #[must_use]
    pub fn alloc(&mut self, len: usize) -> Option<Block> {
        let mut block = self.shelves.take(len).or_else(|| {
            let used = self.shelves.start_over()?;
            self.punch(0, used);
            self.shelves.take(len)
        })?;
        if let Some((offset, len)) = block.claim_huge() {
            self.make_huge(offset as usize, len);
        }
        Some(block)
    }

    fn make_huge(&mut self, offset: usize, len: usize) {
        if self.can_collapse {
            self.can_collapse = self.segment.mapping().collapse(offset, len);
        }
    }

    /// Takes a block back that nobody maps any more.
    pub fn free(&mut self, block: Block) {
        self.shelves.put(block);
        while let Some((offset, len)) = self.shelves.evict() {
            self.punch(offset, len);
        }
    }

    /// Where the owner writes a block's bytes. Valid for `block.len()` bytes while the arena
    /// exists and the block is not freed.
    pub fn bytes(&self, block: &Block) -> *mut u8 {
        assert!(block.offset() as usize + block.len() <= self.segment.len());
        self.segment.base().wrapping_add(block.offset() as usize)
    }

    /// How many bytes are in blocks now, with what their sizes are rounded up by.
    pub fn in_use(&self) -> u64 {
        self.shelves.in_use()
    }

    /// How many bytes of memory the arena takes at most: blocks in use, and freed ones kept warm.
    pub fn resident(&self) -> u64 {
        self.shelves.in_use() + self.shelves.idle()
    }

    /// Returns pages to the system. Should that fail, they stay, and are used again.
    fn punch(&self, offset: u64, len: u64) {
        let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
        let fd = self.segment.fd().as_raw_fd();
        // SAFETY: a plain system call on a descriptor that is open; the pages belong to no block.
        unsafe { libc::fallocate64(fd, mode, offset as i64, len as i64) };
    }
}

/// How long an arena is, if it is sealed against becoming shorter (an error otherwise: touching
/// its pages could kill the receiver). For receivers, once, before they map [`View`]s.
pub fn sealed_len(fd: BorrowedFd<'_>) -> io::Result<usize> {
    crate::memory::sealed_len(fd)
}

fn create_as_long_as_possible(name: &CStr, len: usize) -> io::Result<Segment> {
    longest(len, |len| Segment::create(name, len))
}

/// Tries ever shorter lengths while what fails is a limit on address space or file size.
fn longest<T>(len: usize, mut make: impl FnMut(usize) -> io::Result<T>) -> io::Result<T> {
    let mut len = len;
    loop {
        match make(len) {
            Err(error) if len / 2 >= LEAST && is_limit(&error) => len /= 2,
            result => return result,
        }
    }
}

fn is_limit(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::EINVAL | libc::EFBIG))
}

/// A second open file for the same memory, which only reads. Where /proc is not there it is the
/// first one again: receivers are our own children, this only keeps them from accidents.
fn reopen_for_reading(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    // SAFETY: the path is a C string that lives through the call.
    let reader = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
    if reader < 0 {
        return fd.try_clone_to_owned();
    }
    // SAFETY: the call just returned it; nobody else has it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(reader) })
}
