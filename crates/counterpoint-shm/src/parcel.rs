//! Parcels: memory that is written once and then never again, by anybody.
//!
//! A memfd of its own for each, sealed against every change when its content is complete. The
//! kernel counts who has it open or mapped, so there is nothing to hand back and no name that could
//! be left behind: with its last holder, however that one ends, the memory is gone.

use crate::arena::View;
use crate::memory::{Mapping, check, memfd, sealed_len};
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

const SEALS: i32 = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;

/// A parcel of `len` bytes, which `fill` writes: it is given the first one's address.
pub fn create(name: &CStr, len: usize, fill: impl FnOnce(*mut u8)) -> io::Result<OwnedFd> {
    let fd = memfd(name)?;
    let size = i64::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EFBIG))?;
    // SAFETY: plain system calls on a descriptor that is open.
    check(unsafe { libc::ftruncate64(fd.as_raw_fd(), size) })?;
    let mapping = Mapping::new(fd.as_fd(), 0, len, libc::MAP_SHARED)?;
    fill(mapping.base());
    // A file that somebody may write to by way of a mapping cannot be sealed.
    drop(mapping);
    // SAFETY: as above.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, SEALS) })?;
    Ok(fd)
}

/// Maps all of a parcel, privately; an error if it is not sealed as parcels are, since then its
/// content could change while it is read.
pub fn open(fd: BorrowedFd<'_>) -> io::Result<View> {
    let len = sealed_len(fd)?;
    // SAFETY: a plain system call on a descriptor that is open.
    let seals = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) };
    if seals & libc::F_SEAL_WRITE == 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "a parcel is not sealed"));
    }
    View::map(fd, len, 0, len)
}

#[cfg(all(test, not(any(loom, miri))))]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_changed_by_nobody_else() {
        // SAFETY: the address is valid for the length asked for.
        let fd = create(c"test", 5000, |base| unsafe { base.add(4999).write(7) }).unwrap();
        let (one, other) = (open(fd.as_fd()).unwrap(), open(fd.as_fd()).unwrap());
        assert_eq!((one.len(), other.len()), (5000, 5000));
        // SAFETY: both mappings are as long; this thread alone uses them.
        unsafe {
            one.as_ptr().add(4999).write(8);
            assert_eq!(other.as_ptr().add(4999).read(), 7);
        }
        assert!(Mapping::new(fd.as_fd(), 0, 5000, libc::MAP_SHARED).is_err());
    }

    #[test]
    fn memory_that_may_change_is_refused() {
        let segment = crate::memory::Segment::create(c"test", 4096).unwrap();
        assert_eq!(open(segment.fd()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}
