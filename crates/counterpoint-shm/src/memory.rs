//! Memory that processes share: a sealed memfd, mapped whole.
//!
//! It has no name, so nothing is left behind whoever dies, and none of the limits of /dev/shm.
//! The seals come first: a file that cannot shrink is one whose pages can be touched without the
//! other side being able to answer with SIGBUS.

use std::ffi::CStr;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::{self, NonNull};

const SEALS: i32 = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// Says that nobody will execute the file; kernels before 6.3 do not know it, and some newer ones
/// are set up to insist on it.
const MFD_NOEXEC_SEAL: u32 = 8;

pub(crate) const PAGE: usize = 4096;
/// The size of a huge page.
pub(crate) const HUGE: usize = 2 << 20;

/// A part of this process's address space, until it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY: a mapping is an address and a length; what is done through the address is the business
// of whoever does it.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `flags` are `MAP_SHARED` or `MAP_PRIVATE` and so on; reads and writes are allowed.
    pub(crate) fn new(fd: BorrowedFd<'_>, offset: u64, len: usize, flags: i32) -> io::Result<Self> {
        // Huge pages are mapped as such where the address is aligned as they are.
        let room = if len < HUGE { None } else { Room::of(len) };
        let (at, fixed) = room.as_ref().map_or((ptr::null_mut(), 0), |room| (room.start, FIXED));
        // SAFETY: at an address that the system chooses, or in a room that is ours, it touches no
        // other mapping.
        let base = unsafe { map(at, len, READ_AND_WRITE, flags | fixed, fd.as_raw_fd(), offset)? };
        if let Some(room) = room {
            room.leave(len);
        }
        Ok(Self { base, len })
    }

    /// Has the pages of a part, which starts where a huge page does, put together to huge ones. If
    /// that fails they stay as they are. `false`: the system does not know how to.
    pub(crate) fn collapse(&self, offset: usize, len: usize) -> bool {
        assert!(offset.is_multiple_of(HUGE) && offset + len <= self.len);
        // SAFETY: advice on a mapping of our own, which changes no contents.
        let result =
            unsafe { libc::madvise(self.base().wrapping_add(offset).cast(), len, MADV_COLLAPSE) };
        result == 0 || io::Error::last_os_error().raw_os_error() != Some(libc::EINVAL)
    }

    pub(crate) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// A core dump would walk the whole range, hole or not.
    pub(crate) fn leave_out_of_core_dumps(&self) {
        // SAFETY: advice on a mapping of our own, which changes no contents. It may fail.
        unsafe { libc::madvise(self.base().cast(), self.len, libc::MADV_DONTDUMP) };
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; whoever uses the address has borrowed or owns us.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.len) };
    }
}

const FIXED: i32 = libc::MAP_FIXED;
const READ_AND_WRITE: i32 = libc::PROT_READ | libc::PROT_WRITE;
/// Linux 6.1.
const MADV_COLLAPSE: i32 = 25;

/// # Safety
/// With `MAP_FIXED`, the range is the caller's.
unsafe fn map(
    at: *mut u8,
    len: usize,
    protection: i32,
    flags: i32,
    fd: i32,
    offset: u64,
) -> io::Result<NonNull<u8>> {
    let offset = i64::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the caller's promise.
    let base = unsafe { libc::mmap64(at.cast(), len, protection, flags, fd, offset) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast()).ok_or_else(|| io::ErrorKind::OutOfMemory.into())
}

/// Addresses that nothing uses, for a mapping that starts where a huge page could.
struct Room {
    whole: Mapping,
    start: *mut u8,
}

impl Room {
    /// `None`: there is none, and the mapping may have to be anywhere.
    fn of(len: usize) -> Option<Self> {
        let len = len.checked_add(HUGE)?.checked_next_multiple_of(PAGE)?;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: at an address that the system chooses.
        let base = unsafe { map(ptr::null_mut(), len, libc::PROT_NONE, flags, -1, 0) }.ok()?;
        let start = base.as_ptr().wrapping_add(base.as_ptr().align_offset(HUGE));
        Some(Self { whole: Mapping { base, len }, start })
    }

    /// Gives back what is before and behind so many bytes from the start.
    fn leave(self, len: usize) {
        let whole = ManuallyDrop::new(self.whole);
        let before = self.start.addr() - whole.base().addr();
        let end = before + len.next_multiple_of(PAGE);
        for (start, end) in [(0, before), (end, whole.len())] {
            if start < end {
                // SAFETY: ours, and nothing is mapped there.
                unsafe { libc::munmap(whole.base().wrapping_add(start).cast(), end - start) };
            }
        }
    }
}

/// A mapped, shared, sealed memfd.
#[derive(Debug)]
pub struct Segment {
    fd: OwnedFd,
    mapping: Mapping,
}

impl Segment {
    /// New memory, all zeros, called `name` where the system lists mappings.
    pub fn create(name: &CStr, len: usize) -> io::Result<Self> {
        let fd = memfd(name)?;
        let size = i64::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
        // SAFETY: plain system calls on a descriptor that is open.
        check(unsafe { libc::ftruncate64(fd.as_raw_fd(), size) })?;
        // SAFETY: as above.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
        let mapping = Mapping::new(fd.as_fd(), 0, len, libc::MAP_SHARED)?;
        Ok(Self { fd, mapping })
    }

    /// The memory of another process. An error if that could still make it shorter.
    pub fn adopt(fd: OwnedFd) -> io::Result<Self> {
        let len = sealed_len(fd.as_fd())?;
        let mapping = Mapping::new(fd.as_fd(), 0, len, libc::MAP_SHARED)?;
        Ok(Self { fd, mapping })
    }

    /// A file that is known to be sealed, and its start, mapped shared.
    pub(crate) fn of(fd: OwnedFd, mapping: Mapping) -> Self {
        Self { fd, mapping }
    }

    /// The file, to be given to another process.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The first byte, at the start of a page.
    pub fn base(&self) -> *mut u8 {
        self.mapping.base()
    }

    /// How many bytes are mapped; never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.mapping
    }

    /// Unmaps it; the file remains.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

pub(crate) fn memfd(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string that lives through the call.
    let mut fd = unsafe { libc::memfd_create(name.as_ptr(), flags | MFD_NOEXEC_SEAL) };
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        // SAFETY: as above.
        fd = unsafe { libc::memfd_create(name.as_ptr(), flags) };
    }
    check(fd)?;
    // SAFETY: the call just returned it; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The length of a file that cannot become shorter.
pub(crate) fn sealed_len(fd: BorrowedFd<'_>) -> io::Result<usize> {
    // SAFETY: a plain system call on a descriptor that is open.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    check(seals)?;
    if seals & libc::F_SEAL_SHRINK == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "shared memory is not sealed"));
    }
    // SAFETY: all zeros is a valid `stat64`.
    let mut stat: libc::stat64 = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is valid and exclusive for the duration of the call.
    check(unsafe { libc::fstat64(fd.as_raw_fd(), &mut stat) })?;
    usize::try_from(stat.st_size).map_err(|_| io::ErrorKind::InvalidInput.into())
}

pub(crate) fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn what_one_mapping_writes_the_other_reads() {
        let ours = Segment::create(c"test", 1 << 16).unwrap();
        let theirs = Segment::adopt(ours.fd().try_clone_to_owned().unwrap()).unwrap();
        assert_eq!(theirs.len(), 1 << 16);
        // SAFETY: both pointers are valid for the segments' length; one thread uses them.
        unsafe {
            ours.base().add(65_535).write_volatile(7);
            assert_eq!(theirs.base().add(65_535).read_volatile(), 7);
        }
    }

    #[test]
    fn nobody_can_change_the_length() {
        let segment = Segment::create(c"test", 1 << 16).unwrap();
        for len in [0, 4096, 1 << 17] {
            // SAFETY: a plain system call on a descriptor that is open.
            let result = unsafe { libc::ftruncate64(segment.fd().as_raw_fd(), len) };
            assert_eq!(result, -1);
        }
    }

    #[test]
    fn a_file_that_can_shrink_is_refused() {
        let fd = memfd(c"test").unwrap();
        // SAFETY: a plain system call on a descriptor that is open.
        assert_eq!(unsafe { libc::ftruncate64(fd.as_raw_fd(), 4096) }, 0);
        assert_eq!(Segment::adopt(fd).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_is_no_memory_at_all_is_refused() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(Segment::adopt(file.into()).is_err());
    }
}
