//! The bytes of a ring: plain memory that another process writes, or under loom cells that report
//! every race.

#[cfg(loom)]
pub(crate) use modelled::Bytes;
#[cfg(not(loom))]
pub(crate) use shared::Bytes;

#[cfg(not(loom))]
mod shared {
    use crate::door::{AtomicU64, Ordering};
    use std::marker::PhantomData;
    use std::ptr;

    /// Memory shared with a process that may break every rule, so never a slice: what is read is
    /// copied, and only then looked at.
    #[derive(Clone, Copy)]
    pub(crate) struct Bytes<'a> {
        base: *mut u8,
        len: usize,
        memory: PhantomData<&'a [AtomicU64]>,
    }

    impl Bytes<'_> {
        /// # Safety
        /// `base` is aligned to 8, and `len` bytes from there stay mapped for this lifetime.
        pub(crate) unsafe fn new(base: *mut u8, len: usize) -> Self {
            Self { base, len, memory: PhantomData }
        }

        fn at(&self, offset: usize, len: usize) -> *mut u8 {
            assert!(offset <= self.len && len <= self.len - offset, "beyond the ring");
            self.base.wrapping_add(offset)
        }

        fn word(&self, offset: usize) -> &AtomicU64 {
            let word: *mut AtomicU64 = self.at(offset, 8).cast();
            assert!(word.is_aligned());
            // SAFETY: in range and aligned, as just asserted; an atomic may be written to by
            // anybody, and any bits are one.
            unsafe { &*word }
        }

        pub(crate) fn load(&self, offset: usize) -> u64 {
            self.word(offset).load(Ordering::Relaxed)
        }

        pub(crate) fn store(&self, offset: usize, word: u64) {
            self.word(offset).store(word, Ordering::Relaxed);
        }

        /// Copies `from` to `offset`.
        pub(crate) fn write(&self, offset: usize, from: &[u8]) {
            let to = self.at(offset, from.len());
            // SAFETY: in range; `from` is memory of this process alone. By the protocol the other
            // side does not read here now; if it does, it reads garbage, which is its loss.
            unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
        }

        /// Copies `len` bytes at `offset` into `to`, in place of what it had.
        pub(crate) fn read(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
            to.clear();
            self.append(offset, len, to);
        }

        /// Copies `len` bytes at `offset` to the end of `to`.
        pub(crate) fn append(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
            let from = self.at(offset, len);
            to.reserve(len);
            // SAFETY: in range; `to` has the capacity, and is memory of this process alone. By
            // the protocol the other side does not write here now. If it does, no reference is
            // there to be violated: the copy, of whichever bytes, is all that anybody looks at,
            // and any bytes are valid.
            unsafe {
                let had = to.len();
                ptr::copy_nonoverlapping(from, to.as_mut_ptr().add(had), len);
                to.set_len(had + len);
            }
        }
    }
}

#[cfg(loom)]
mod modelled {
    use loom::cell::UnsafeCell;

    /// A cell for each byte.
    #[derive(Clone, Copy)]
    pub(crate) struct Bytes<'a>(&'a [UnsafeCell<u8>]);

    impl<'a> Bytes<'a> {
        pub(crate) fn new(cells: &'a [UnsafeCell<u8>]) -> Self {
            Self(cells)
        }

        pub(crate) fn load(&self, offset: usize) -> u64 {
            let mut word = Vec::new();
            self.read(offset, 8, &mut word);
            word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
        }

        pub(crate) fn store(&self, offset: usize, word: u64) {
            self.write(offset, &word.to_le_bytes());
        }

        pub(crate) fn write(&self, offset: usize, from: &[u8]) {
            for (cell, byte) in self.0[offset..].iter().zip(from) {
                // SAFETY: loom checks that nobody else reads or writes meanwhile.
                cell.with_mut(|cell| unsafe { *cell = *byte });
            }
        }

        pub(crate) fn read(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
            to.clear();
            self.append(offset, len, to);
        }

        pub(crate) fn append(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
            // SAFETY: loom checks that nobody writes meanwhile.
            let byte = |cell: &UnsafeCell<u8>| cell.with(|cell| unsafe { *cell });
            to.extend(self.0[offset..offset + len].iter().map(byte));
        }
    }
}
