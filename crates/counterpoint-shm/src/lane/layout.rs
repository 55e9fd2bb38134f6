//! Where in the segment what is:
//!
//! | offset                  | content                                                 |
//! |-------------------------|---------------------------------------------------------|
//! | 0                       | `Control`: magic, cursors, bells, meters, the ledger    |
//! | `CONTROL`               | the bytes of the task ring                              |
//! | `CONTROL` + `TASK_RING` | the bytes of the result ring                            |
//!
//! Everything is zero at first, and that is what everything starts with.

use super::meters::Meters;
use super::sleeper::Sleeper;
use crate::bell::Bell;
use crate::door::{AtomicU32, AtomicU64};
use crate::ledger::Ledger;
use crate::ring::{Cursors, Line, max_payload};

#[cfg(not(loom))]
pub(super) use mapped::Memory;
#[cfg(loom)]
pub(super) use modelled::Memory;

/// The bytes of the ring from parent to worker.
pub const TASK_RING: usize = if cfg!(loom) { 64 } else { 256 << 10 };

/// The bytes of the ring from worker to parent.
pub const RESULT_RING: usize = if cfg!(loom) { 64 } else { 256 << 10 };

/// The longest payload of a record, in either direction.
pub const MAX_PAYLOAD: usize =
    max_payload(if TASK_RING < RESULT_RING { TASK_RING } else { RESULT_RING });

/// What both sides look at, grouped by who writes it and when.
#[cfg_attr(any(test, loom), derive(Default))]
#[repr(C)]
pub(super) struct Control {
    /// Tells a lane from any other memory, and one version from another.
    magic: Line<AtomicU64>,
    pub(super) tasks: Cursors,
    pub(super) results: Cursors,
    /// The worker sleeps for a record.
    pub(super) task_bell: Line<Bell>,
    /// The worker sleeps for room in the result ring.
    pub(super) room_bell: Line<Bell>,
    pub(super) parent: Line<Sleeper>,
    /// Not 0: the parent had something to send, and no room.
    pub(super) hungry: Line<AtomicU32>,
    pub(super) meters: Line<Meters>,
    pub(super) ledger: Ledger,
}

#[cfg(not(loom))]
mod mapped {
    use super::{Control, RESULT_RING, TASK_RING};
    use crate::door::Ordering;
    use crate::memory::Segment;
    use crate::ring::{Bytes, Cursors, Ring};
    use std::io;
    use std::os::fd::{BorrowedFd, OwnedFd};

    /// "cpln", and the version of the layout.
    const MAGIC: u64 = 0x6370_6c6e_0000_0001;

    const CONTROL: usize = 8192;
    const LEN: usize = CONTROL + TASK_RING + RESULT_RING;
    const _: () = assert!(size_of::<Control>() <= CONTROL);

    /// A lane's segment, and what is in it.
    pub(in super::super) struct Memory(Segment);

    impl Memory {
        pub(in super::super) fn create() -> io::Result<Self> {
            let memory = Self(Segment::create(c"counterpoint-lane", LEN)?);
            memory.control().magic.store(MAGIC, Ordering::Relaxed);
            Ok(memory)
        }

        pub(in super::super) fn adopt(fd: OwnedFd) -> io::Result<Self> {
            let foreign =
                || io::Error::new(io::ErrorKind::InvalidData, "not a lane of this version");
            let segment = Segment::adopt(fd)?;
            if segment.len() != LEN {
                return Err(foreign());
            }
            let memory = Self(segment);
            match memory.control().magic.load(Ordering::Relaxed) {
                MAGIC => Ok(memory),
                _ => Err(foreign()),
            }
        }

        pub(in super::super) fn fd(&self) -> BorrowedFd<'_> {
            self.0.fd()
        }

        pub(in super::super) fn control(&self) -> &Control {
            // SAFETY: the segment is mapped while `self` is borrowed, is long enough, and starts
            // at a page. `Control` is nothing but atomics, which any bits are and which others
            // may write to.
            unsafe { &*self.0.base().cast::<Control>() }
        }

        pub(in super::super) fn tasks(&self) -> Ring<'_> {
            self.ring(&self.control().tasks, CONTROL, TASK_RING)
        }

        pub(in super::super) fn results(&self) -> Ring<'_> {
            self.ring(&self.control().results, CONTROL + TASK_RING, RESULT_RING)
        }

        fn ring<'a>(&'a self, cursors: &'a Cursors, offset: usize, len: usize) -> Ring<'a> {
            assert!(offset + len <= self.0.len());
            // SAFETY: in range, as just asserted, and mapped while `self` is borrowed; offsets are
            // multiples of a page.
            let bytes = unsafe { Bytes::new(self.0.base().wrapping_add(offset), len) };
            Ring { cursors, bytes }
        }
    }
}

#[cfg(loom)]
mod modelled {
    use super::{Control, RESULT_RING, TASK_RING};
    use crate::ring::{Bytes, Ring};
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;

    struct Modelled {
        control: Control,
        tasks: Vec<UnsafeCell<u8>>,
        results: Vec<UnsafeCell<u8>>,
    }

    // SAFETY: none by itself; loom checks every access to the cells.
    unsafe impl Sync for Modelled {}
    // SAFETY: as above.
    unsafe impl Send for Modelled {}

    /// What a segment has in it, in loom's terms.
    #[derive(Clone)]
    pub(in super::super) struct Memory(Arc<Modelled>);

    impl Default for Memory {
        fn default() -> Self {
            let cells = |len| (0..len).map(|_| UnsafeCell::new(0)).collect();
            let (tasks, results) = (cells(TASK_RING), cells(RESULT_RING));
            Self(Arc::new(Modelled { control: Control::default(), tasks, results }))
        }
    }

    impl Memory {
        pub(in super::super) fn control(&self) -> &Control {
            &self.0.control
        }

        pub(in super::super) fn tasks(&self) -> Ring<'_> {
            Ring { cursors: &self.0.control.tasks, bytes: Bytes::new(&self.0.tasks) }
        }

        pub(in super::super) fn results(&self) -> Ring<'_> {
            Ring { cursors: &self.0.control.results, bytes: Bytes::new(&self.0.results) }
        }
    }
}
