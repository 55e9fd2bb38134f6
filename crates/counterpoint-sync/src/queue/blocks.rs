//! [`Blocks`]: a double-ended queue in linked blocks, the memory of FIFO and LIFO queues.
//!
//! The layout is that of CPython's `collections.deque` and of many others: a chain of blocks of
//! slots. Ours differs in three ways. A block's links sit *behind* its slots, so that the end of
//! the slots, which every push and pop compares with, is also the block's address. The first
//! blocks are small, because most queues hold a handful of items. And a queue that runs empty
//! goes back to the first slot of its block, so that a put and a get in turn touch one cache
//! line for ever.
//!
//! Invariants:
//! 1. `len == 0` implies that there is at most one linked block, and `head == tail`.
//! 2. `len > 0` implies that the first and the last block hold at least one item each.
//! 3. `tail_end.next` is the spare block or null; it holds no item.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull, null_mut};

/// What follows the slots of a block, at the address that is the end of the slots.
struct Links<T> {
    previous: *mut Links<T>,
    next: *mut Links<T>,
    capacity: usize,
}

/// Slots of a block by the number of items queued when it is made. At first about as many as there
/// are, later an ever smaller part of them: so little of the last block is vacant, and few words are
/// links. Each fills what the allocator gives out, a multiple of two words less one.
const SIZES: [(usize, usize); 8] = [
    (4, 4),
    (32, 28),
    (100, 68),
    (250, 150),
    (500, 250),
    (4000, 500),
    (16_000, 1020),
    (usize::MAX, LARGEST),
];
const LARGEST: usize = 2044;

fn capacity_for(len: usize) -> usize {
    SIZES.iter().find(|(below, _)| len < *below).map_or(LARGEST, |(_, capacity)| *capacity)
}

impl<T> Links<T> {
    fn layout(capacity: usize) -> (Layout, usize) {
        let slots = Layout::array::<T>(capacity).expect("a small constant");
        let (layout, offset) = slots.extend(Layout::new::<Self>()).expect("a small constant");
        // The links must be where the slots end.
        assert!(offset == slots.size());
        (layout, offset)
    }

    fn allocate(capacity: usize, previous: *mut Self) -> *mut Self {
        let (layout, offset) = Self::layout(capacity);
        // SAFETY: the layout is never empty, it contains the links.
        let memory = unsafe { alloc(layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
        // SAFETY: `offset` is where the layout has room for the links, aligned.
        unsafe {
            let links = memory.as_ptr().add(offset).cast::<Self>();
            links.write(Self { previous, next: null_mut(), capacity });
            links
        }
    }

    /// Gives a block back; null is nothing.
    ///
    /// # Safety
    /// `block` is null or came from `allocate`, holds no items, and is not used afterwards.
    unsafe fn free(block: *mut Self) {
        if block.is_null() {
            return;
        }
        // SAFETY: allocated with this very layout, as the caller promises.
        unsafe {
            let (layout, offset) = Self::layout((*block).capacity);
            dealloc(block.cast::<u8>().sub(offset), layout);
        }
    }

    /// The first slot.
    ///
    /// # Safety
    /// `block` is a live block.
    unsafe fn start(block: *mut Self) -> *mut T {
        // SAFETY: that many slots lie before the links.
        unsafe { block.cast::<T>().sub((*block).capacity) }
    }
}

/// Items in the order in which they came, reachable at both ends; five words.
pub struct Blocks<T> {
    head: *mut T,
    head_end: *mut Links<T>,
    tail: *mut T,
    tail_end: *mut Links<T>,
    len: usize,
    owns: PhantomData<T>,
}

// SAFETY: it owns its items and blocks as a `Vec` would; the pointers are shared with nobody.
unsafe impl<T: Send> Send for Blocks<T> {}
// SAFETY: `&self` gives out only `&T`.
unsafe impl<T: Sync> Sync for Blocks<T> {}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self {
            head: null_mut(),
            head_end: null_mut(),
            tail: null_mut(),
            tail_end: null_mut(),
            len: 0,
            owns: PhantomData,
        }
    }
}

impl<T> Blocks<T> {
    /// How many items there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends an item.
    #[inline]
    pub fn push_back(&mut self, item: T) {
        if self.tail.cast() == self.tail_end {
            self.append_block();
        }
        // SAFETY: `tail` is before the end of its block, and its slot is free.
        unsafe {
            self.tail.write(item);
            self.tail = self.tail.add(1);
        }
        self.len += 1;
    }

    /// Takes the oldest item.
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        self.len -= 1;
        // SAFETY: by invariant 2 `head` points to an item, which is forgotten here.
        let item = unsafe { self.head.read() };
        // SAFETY: at most one past the last slot.
        self.head = unsafe { self.head.add(1) };
        if self.len == 0 {
            self.rewind();
        } else if self.head.cast() == self.head_end {
            self.leave_first();
        }
        Some(item)
    }

    /// Takes the youngest item.
    #[inline]
    pub fn pop_back(&mut self) -> Option<T> {
        if self.len == 0 {
            return None;
        }
        self.len -= 1;
        // SAFETY: by invariant 2 an item lies before `tail`; it is forgotten here.
        let item = unsafe {
            self.tail = self.tail.sub(1);
            self.tail.read()
        };
        if self.len == 0 {
            self.rewind();
        // SAFETY: not empty, so `tail_end` is a live block.
        } else if self.tail == unsafe { Links::start(self.tail_end) } {
            self.leave_last();
        }
        Some(item)
    }

    /// The oldest item.
    pub fn front(&self) -> Option<&T> {
        // SAFETY: not empty, so `head` points to an item.
        (self.len > 0).then(|| unsafe { &*self.head })
    }

    /// The youngest item.
    pub fn back(&self) -> Option<&T> {
        // SAFETY: not empty, so an item lies before `tail`.
        (self.len > 0).then(|| unsafe { &*self.tail.sub(1) })
    }

    /// How many bytes it has allocated.
    pub fn allocated(&self) -> usize {
        let (mut at, mut bytes) = (self.head_end, 0);
        while !at.is_null() {
            // SAFETY: `at` is a block of the chain, or the spare behind it.
            unsafe {
                bytes += Links::<T>::layout((*at).capacity).0.size();
                at = (*at).next;
            }
        }
        bytes
    }

    /// All items, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        let (mut at, mut end, mut left) = (self.head, self.head_end, self.len);
        std::iter::from_fn(move || {
            left = left.checked_sub(1)?;
            if at.cast() == end {
                // SAFETY: items are left, so this block is not the last.
                unsafe {
                    end = (*end).next;
                    at = Links::start(end);
                }
            }
            // SAFETY: `at` is one of the `len` items; the borrow of `self` keeps it there.
            unsafe {
                let item = &*at;
                at = at.add(1);
                Some(item)
            }
        })
    }

    /// Back to the first slot of the only block.
    #[inline]
    fn rewind(&mut self) {
        // SAFETY: an item was just taken, so there is a block; by invariant 1 it is the only one.
        self.head = unsafe { Links::start(self.tail_end) };
        self.tail = self.head;
    }

    /// Links the spare block, if it is large enough, or a new one, behind the last.
    #[cold]
    fn append_block(&mut self) {
        let wanted = capacity_for(self.len);
        let last = self.tail_end;
        // SAFETY: `last` and its spare are live blocks or null; nobody else points to the spare.
        let block = unsafe {
            let spare = if last.is_null() { null_mut() } else { (*last).next };
            if spare.is_null() || (*spare).capacity < wanted {
                Links::free(spare);
                let block = Links::allocate(wanted, last);
                if !last.is_null() {
                    (*last).next = block;
                }
                block
            } else {
                spare
            }
        };
        self.tail_end = block;
        // SAFETY: `block` is live.
        self.tail = unsafe { Links::start(block) };
        if last.is_null() {
            (self.head, self.head_end) = (self.tail, block);
        }
    }

    /// The first block has run empty, and there are more: it becomes the spare.
    #[cold]
    fn leave_first(&mut self) {
        let block = self.head_end;
        // SAFETY: by invariant 2 there is a next block, with items.
        unsafe {
            self.head_end = (*block).next;
            self.head = Links::start(self.head_end);
            (*self.head_end).previous = null_mut();
            self.keep(block);
        }
    }

    /// The last block has run empty, and there are others: it becomes the spare.
    #[cold]
    fn leave_last(&mut self) {
        let block = self.tail_end;
        // SAFETY: not empty and the last block has no item, so there is a previous one; the
        // previous spare hangs on `block` and is given back.
        unsafe {
            Links::free((*block).next);
            self.tail_end = (*block).previous;
            self.tail = self.tail_end.cast();
            (*self.tail_end).next = null_mut();
            self.keep(block);
        }
    }

    /// Keeps `block` as the spare if it is the larger of the two.
    ///
    /// # Safety
    /// `block` is live, holds no item, and is linked nowhere.
    unsafe fn keep(&mut self, block: *mut Links<T>) {
        // SAFETY: the caller's promise, and `tail_end` is live.
        unsafe {
            let spare = (*self.tail_end).next;
            if !spare.is_null() && (*spare).capacity > (*block).capacity {
                return Links::free(block);
            }
            Links::free(spare);
            (*block).previous = self.tail_end;
            (*block).next = null_mut();
            (*self.tail_end).next = block;
        }
    }
}

impl<T> Drop for Blocks<T> {
    fn drop(&mut self) {
        while let Some(item) = self.pop_front() {
            drop(item);
        }
        if !self.tail_end.is_null() {
            // SAFETY: empty: only the last block and its spare are left.
            unsafe {
                Links::free((*self.tail_end).next);
                Links::free(self.tail_end);
            }
        }
        self.tail_end = ptr::null_mut();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::rc::Rc;

    #[test]
    fn an_empty_one_is_small_and_owns_nothing() {
        assert_eq!(size_of::<Blocks<usize>>(), 5 * size_of::<usize>());
        assert_eq!(Blocks::<usize>::default().allocated(), 0);
    }

    #[test]
    fn blocks_fill_the_allocator_s_sizes() {
        for (_, capacity) in SIZES {
            assert_eq!(Links::<usize>::layout(capacity).0.size() % 16, 8, "{capacity}");
        }
    }

    /// CPython's `list` costs 8.8, 8.7 and 8.03 bytes an item here, its `deque` 10.6, 8.4 and 8.5,
    /// and the ring of 3.13's SimpleQueue 10.2, 8.2 and 10.5.
    #[test]
    fn items_cost_little_more_than_their_own_size() {
        for (count, most) in [(100, 8.8), (1000, 8.2), (10_000, 8.2), (100_000, 8.03)] {
            let mut blocks = Blocks::default();
            (0..count).for_each(|n| blocks.push_back(n));
            let each = blocks.allocated() as f64 / count as f64;
            assert!(each < most, "{each} of {count}");
            while blocks.pop_front().is_some() {}
            // The block it works in and a spare one.
            assert!(blocks.allocated() <= 2 * Links::<usize>::layout(LARGEST).0.size());
        }
    }

    /// However many there are, little is vacant.
    #[test]
    fn no_number_of_items_is_a_bad_one() {
        for (from, most) in [(33, 27.0), (101, 21.0), (251, 17.0), (1001, 12.2), (4002, 10.2)] {
            let mut blocks = Blocks::default();
            for count in 1..from + 3000usize {
                blocks.push_back(count);
                let each = blocks.allocated() as f64 / count as f64;
                assert!(count < from || each < most, "{each} of {count}");
            }
        }
    }

    #[test]
    fn first_in_first_out_over_many_blocks() {
        let mut blocks = Blocks::default();
        (0..2000).for_each(|n| blocks.push_back(n));
        assert!(blocks.iter().copied().eq(0..2000));
        assert!((0..2000).all(|n| blocks.pop_front() == Some(n)));
        assert_eq!(blocks.pop_front(), None);
    }

    #[test]
    fn last_in_first_out_over_many_blocks() {
        let mut blocks = Blocks::default();
        (0..2000).for_each(|n| blocks.push_back(n));
        assert!((0..2000).rev().all(|n| blocks.pop_back() == Some(n)));
        assert_eq!(blocks.pop_back(), None);
    }

    /// Every operation against the standard library's deque, from a generator with fixed seeds.
    #[test]
    fn behaves_as_vec_deque() {
        for seed in 1..200u64 {
            let (mut ours, mut theirs) = (Blocks::default(), VecDeque::new());
            let mut random = seed;
            for step in 0..3000u64 {
                random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let growing = (step / 500) % 2 == 0;
                match (random >> 33) % 8 {
                    0 | 1 => assert_eq!(ours.pop_front(), theirs.pop_front()),
                    2 | 3 => assert_eq!(ours.pop_back(), theirs.pop_back()),
                    4 if !growing => assert_eq!(ours.pop_front(), theirs.pop_front()),
                    5 if !growing => assert_eq!(ours.pop_back(), theirs.pop_back()),
                    _ => {
                        ours.push_back(step);
                        theirs.push_back(step);
                    }
                }
                assert_eq!((ours.len(), ours.front()), (theirs.len(), theirs.front()));
                assert_eq!(ours.back(), theirs.back());
            }
            assert!(ours.iter().eq(theirs.iter()));
        }
    }

    #[test]
    fn drops_what_is_left_exactly_once() {
        let item = Rc::new(());
        let mut blocks = Blocks::default();
        (0..300).for_each(|_| blocks.push_back(item.clone()));
        (0..100).for_each(|_| drop(blocks.pop_front()));
        assert_eq!(Rc::strong_count(&item), 201);
        drop(blocks);
        assert_eq!(Rc::strong_count(&item), 1);
    }
}
