//! [`Placed`]: one thing in a piece of shared memory of its own.

use crate::memory::Segment;
use std::ffi::CStr;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

/// What can lie in shared memory.
///
/// # Safety
/// It consists of atomics only, all zeros is one, and no value of any of them makes a method of it
/// touch other memory.
pub unsafe trait Shareable: Sync {
    /// Tells it from others, in memory.
    const KIND: u64;
}

// SAFETY: atomics only, and the offsets into `slots` are this process's own.
unsafe impl Shareable for super::Waiters {
    const KIND: u64 = 0x7365_7474_6177_7063;
}
// SAFETY: atomics only.
unsafe impl Shareable for super::Mutex {
    const KIND: u64 = 0x7865_7475_6d63_7063;
}
// SAFETY: atomics only.
unsafe impl Shareable for super::Reentrant {
    const KIND: u64 = 0x6b63_6f6c_7263_7063;
}
// SAFETY: atomics only, and every place in the table is taken modulo its length.
unsafe impl Shareable for super::Semaphore {
    const KIND: u64 = 0x656d_6165_7363_7063;
}
// SAFETY: atomics only.
unsafe impl Shareable for super::Event {
    const KIND: u64 = 0x746e_6576_6563_7063;
}

/// A `T` at the start of a sealed memfd, after its kind.
pub struct Placed<T> {
    segment: Segment,
    content: PhantomData<T>,
}

const HEAD: usize = 64;

impl<T: Shareable> Placed<T> {
    /// A new one, all zeros, called `name` where the system lists mappings.
    pub fn create(name: &CStr) -> io::Result<Self> {
        let segment = Segment::create(name, HEAD + size_of::<T>())?;
        let kind: *mut u64 = segment.base().cast();
        // SAFETY: the start of new memory, which nobody else has yet.
        unsafe { kind.write(T::KIND) };
        Ok(Self { segment, content: PhantomData })
    }

    /// The one that another process made. An error if it made something else.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        close_on_exec(&fd)?;
        let segment = Segment::adopt(fd)?;
        let kind: *const u64 = segment.base().cast();
        // SAFETY: a mapping is at least a page long, and its start is aligned.
        let known =
            segment.len() >= HEAD + size_of::<T>() && unsafe { kind.read_volatile() } == T::KIND;
        if !known {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not what it should be"));
        }
        Ok(Self { segment, content: PhantomData })
    }

    /// The memory, to be given to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.segment.fd()
    }
}

impl<T: Shareable> Deref for Placed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let content: *const T = self.segment.base().wrapping_add(HEAD).cast();
        assert!(content.is_aligned());
        // SAFETY: mapped for as long as `self`, long enough and aligned; any bits are a T, which
        // others change only as atomics.
        unsafe { &*content }
    }
}

/// A descriptor that came through a spawn is open for the programs that we start.
pub(crate) fn close_on_exec(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that is open.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
