//! The receiver's side: a private mapping of one block.

use crate::memory::{self, Mapping};
use std::io;
use std::os::fd::BorrowedFd;

const PAGE: u64 = memory::PAGE as u64;

/// One block, mapped for its receiver alone: it may write, and the owner does not see it.
///
/// The owner, if it breaks the rules, can change bytes that were not written here, at any time;
/// so what is decoded from a view is checked like any other input.
#[derive(Debug)]
pub struct View(Mapping);

impl View {
    /// Maps `len` bytes at `offset` of an arena that [`sealed_len`](super::sealed_len) found to be
    /// `arena_len` long. A range that is empty, beyond the end or not at the start of a page is
    /// refused. The system limits how many mappings a process has: when it refuses one
    /// (`ENOMEM`), views must go first.
    pub fn map(fd: BorrowedFd<'_>, arena_len: usize, offset: u64, len: usize) -> io::Result<Self> {
        let end = offset.checked_add(len as u64);
        if len == 0 || !offset.is_multiple_of(PAGE) || end.is_none_or(|end| end > arena_len as u64)
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // The range is inside the file, which cannot shrink: no access can fault.
        Mapping::new(fd, offset, len, libc::MAP_PRIVATE | libc::MAP_NORESERVE).map(Self)
    }

    /// The first byte; valid for reading and writing while the view exists.
    pub fn as_ptr(&self) -> *mut u8 {
        self.0.base()
    }

    /// How many bytes; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}
