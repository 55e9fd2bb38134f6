//! [`Memory`]: where a channel lies: a sparse sealed memfd, or in a model this process's own.

#[cfg(loom)]
pub(super) use modelled::Memory;
#[cfg(not(loom))]
pub(super) use shared::Memory;

#[cfg(not(loom))]
mod shared {
    use crate::channel::layout::{Control, SEGMENT, SEGMENTS};
    use crate::door::Ordering;
    use crate::memory::Segment;
    use crate::ring::Bytes;
    use crate::sync::close_on_exec;
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

    /// The control words take this many bytes: whole pages.
    const HEAD: usize = size_of::<Control>().next_multiple_of(4096);

    /// The least that is tried when the address space has no room for more.
    const LEAST: usize = 64;

    const KIND: u64 = 0x6c65_6e6e_6168_6370;

    pub(in crate::channel) struct Memory {
        segment: Segment,
        segments: u32,
    }

    impl Memory {
        pub(in crate::channel) fn create() -> io::Result<Self> {
            let mut segments = SEGMENTS;
            let segment = loop {
                match Segment::create(c"counterpoint-channel", HEAD + segments * SEGMENT) {
                    Err(_) if segments > LEAST => segments /= 2,
                    result => break result?,
                }
            };
            let memory = Self { segment, segments: segments as u32 };
            memory.set_up();
            memory.control().kind.store(KIND, Ordering::Relaxed);
            Ok(memory)
        }

        pub(in crate::channel) fn adopt(fd: OwnedFd) -> io::Result<Self> {
            close_on_exec(&fd)?;
            let segment = Segment::adopt(fd)?;
            let segments = segment.len().saturating_sub(HEAD) / SEGMENT;
            let memory = Self { segments: segments.min(SEGMENTS) as u32, segment };
            if segments == 0 || memory.control().kind.load(Ordering::Relaxed) != KIND {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "this is no channel"));
            }
            Ok(memory)
        }

        fn set_up(&self) {
            self.segment.mapping().leave_out_of_core_dumps();
            self.control().heap.set_up();
        }

        pub(in crate::channel) fn control(&self) -> &Control {
            let control: *const Control = self.segment.base().cast();
            // SAFETY: mapped for as long as `self`, at the start of a page and long enough; any
            // bits are a Control, which others change only as atomics.
            unsafe { &*control }
        }

        pub(in crate::channel) fn bytes(&self) -> Bytes<'_> {
            let len = self.segments as usize * SEGMENT;
            // SAFETY: mapped for as long as `self`, from the start of a page on.
            unsafe { Bytes::new(self.segment.base().wrapping_add(HEAD), len) }
        }

        /// How many segments there can be.
        pub(in crate::channel) fn segments(&self) -> u32 {
            self.segments
        }

        pub(in crate::channel) fn fd(&self) -> BorrowedFd<'_> {
            self.segment.fd()
        }

        pub(in crate::channel) fn len(&self) -> usize {
            self.segment.len()
        }

        /// Where a run begins: in the file, and here.
        pub(in crate::channel) fn place(&self, run: u32) -> (u64, *mut u8) {
            let offset = HEAD + run as usize * SEGMENT;
            (offset as u64, self.segment.base().wrapping_add(offset))
        }

        /// Returns the pages of a run to the system. Should that fail, they stay.
        pub(in crate::channel) fn punch(&self, run: u32, len: u64) {
            let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            let (offset, _) = self.place(run);
            let fd = self.segment.fd().as_raw_fd();
            // SAFETY: a plain system call on a descriptor that is open; the run is nobody's.
            unsafe { libc::fallocate64(fd, mode, offset as i64, len as i64) };
        }
    }
}

#[cfg(loom)]
mod modelled {
    use crate::channel::layout::{Control, SEGMENT, SEGMENTS};
    use crate::ring::Bytes;
    use loom::cell::UnsafeCell;

    pub(in crate::channel) struct Memory {
        control: Control,
        cells: Vec<UnsafeCell<u8>>,
    }

    // SAFETY: loom watches every access to the cells.
    unsafe impl Sync for Memory {}
    // SAFETY: as above.
    unsafe impl Send for Memory {}

    impl Memory {
        pub(in crate::channel) fn create() -> Self {
            let cells = (0..SEGMENTS * SEGMENT).map(|_| UnsafeCell::new(0)).collect();
            let memory = Self { control: Control::default(), cells };
            memory.control.heap.set_up();
            memory
        }

        pub(in crate::channel) fn control(&self) -> &Control {
            &self.control
        }

        pub(in crate::channel) fn bytes(&self) -> Bytes<'_> {
            Bytes::new(&self.cells)
        }

        pub(in crate::channel) fn segments(&self) -> u32 {
            SEGMENTS as u32
        }

        pub(in crate::channel) fn punch(&self, _: u32, _: u64) {}
    }
}
