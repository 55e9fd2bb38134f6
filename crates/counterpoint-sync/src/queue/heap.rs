//! [`Heap`]: a binary heap whose comparison may fail, and which is unchanged when it does.
//!
//! The textbook heap (Williams 1964), as in Python's `heapq`; the difference is that every
//! comparison is made before the first item moves. A comparison that cannot be decided here, or
//! that raises an exception in the caller's language, so leaves heap and item as they were.

/// A heap. The comparison is an argument of each operation: `less(a, b)` tells whether `a` comes
/// out before `b`, or fails. So is `placed`, which hears of every entry that has a new place.
pub struct Heap<E> {
    entries: Vec<E>,
}

impl<E> Default for Heap<E> {
    fn default() -> Self {
        Self { entries: Vec::new() }
    }
}

impl<E> Heap<E> {
    /// The entries; the first one is the next to come out, the others in no useful order.
    pub fn entries(&self) -> &[E] {
        &self.entries
    }

    /// How many bytes it has allocated.
    pub fn allocated(&self) -> usize {
        self.entries.capacity() * size_of::<E>()
    }

    /// Takes the entries out, in heap order.
    pub fn into_entries(self) -> Vec<E> {
        self.entries
    }

    /// A heap of entries that are in heap order already.
    pub fn from_entries(entries: Vec<E>) -> Self {
        Self { entries }
    }

    /// Adds an entry; a failed comparison gives it back.
    #[inline]
    pub fn push<X>(
        &mut self,
        entry: E,
        mut less: impl FnMut(&E, &E) -> Result<bool, X>,
        placed: impl FnMut(&E, usize),
    ) -> Result<(), (X, E)> {
        let mut place = self.entries.len();
        while place > 0 {
            let parent = (place - 1) / 2;
            match less(&entry, &self.entries[parent]) {
                Ok(true) => place = parent,
                Ok(false) => break,
                Err(error) => return Err((error, entry)),
            }
        }
        self.make_room();
        self.entries.push(entry);
        self.raise(self.entries.len() - 1, place, placed);
        Ok(())
    }

    /// Takes the first entry.
    #[inline]
    pub fn pop<X>(
        &mut self,
        less: impl FnMut(&E, &E) -> Result<bool, X>,
        placed: impl FnMut(&E, usize),
    ) -> Result<Option<E>, X> {
        match self.entries.len() {
            0 | 1 => Ok(self.entries.pop()),
            len => {
                let place = self.find_below(0, len - 1, less)?;
                Ok(self.replace_by_last(0, place, placed))
            }
        }
    }

    /// Takes the entry at `at` of [`entries`](Self::entries).
    pub fn remove<X>(
        &mut self,
        at: usize,
        mut less: impl FnMut(&E, &E) -> Result<bool, X>,
        placed: impl FnMut(&E, usize),
    ) -> Result<Option<E>, X> {
        let last = self.entries.len() - 1;
        if at == last {
            return Ok(self.entries.pop());
        }
        let mut above = at;
        while above > 0 && less(&self.entries[last], &self.entries[(above - 1) / 2])? {
            above = (above - 1) / 2;
        }
        if above == at {
            let place = self.find_below(at, last, less)?;
            return Ok(self.replace_by_last(at, place, placed));
        }
        let entry = self.entries.swap_remove(at);
        self.raise(at, above, placed);
        Ok(Some(entry))
    }

    /// Where the last entry belongs if it starts at `top`, in the heap without it.
    fn find_below<X>(
        &self,
        top: usize,
        last: usize,
        mut less: impl FnMut(&E, &E) -> Result<bool, X>,
    ) -> Result<usize, X> {
        let entries = &self.entries;
        let mut place = top;
        loop {
            let mut child = 2 * place + 1;
            if child >= last {
                return Ok(place);
            }
            if child + 1 < last && !less(&entries[child], &entries[child + 1])? {
                child += 1;
            }
            if !less(&entries[child], &entries[last])? {
                return Ok(place);
            }
            place = child;
        }
    }

    /// Puts the last entry at `place`, moves those between there and `top` up by one, and returns
    /// the one that was at `top`.
    fn replace_by_last(
        &mut self,
        top: usize,
        place: usize,
        mut placed: impl FnMut(&E, usize),
    ) -> Option<E> {
        let mut carried = self.entries.pop()?;
        let mut at = place;
        loop {
            std::mem::swap(&mut self.entries[at], &mut carried);
            placed(&self.entries[at], at);
            if at == top {
                return Some(carried);
            }
            at = (at - 1) / 2;
        }
    }

    /// Moves the entry at `from` up to its ancestor's place `to`.
    fn raise(&mut self, from: usize, to: usize, mut placed: impl FnMut(&E, usize)) {
        let mut at = from;
        while at != to {
            let parent = (at - 1) / 2;
            self.entries.swap(at, parent);
            placed(&self.entries[at], at);
            at = parent;
        }
        placed(&self.entries[at], at);
    }

    /// Grows by an eighth and a bit, to a multiple of four: as CPython's `list`, so that it never
    /// has more room than the stdlib's heap would.
    fn make_room(&mut self) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            let wanted = len + 1;
            let room = (wanted + wanted / 8 + 6) & !3;
            self.entries.reserve_exact(room - len);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn less(a: &u64, b: &u64) -> Result<bool, ()> {
        Ok(a < b)
    }

    fn ignore(_: &u64, _: usize) {}

    fn filled(seed: u64, n: u64) -> Heap<u64> {
        let mut heap = Heap::default();
        let mut random = seed;
        for _ in 0..n {
            random = random.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            heap.push((random >> 33) % 64, less, ignore).unwrap();
        }
        heap
    }

    fn drained(mut heap: Heap<u64>) -> Vec<u64> {
        std::iter::from_fn(|| heap.pop(less, ignore).unwrap()).collect()
    }

    #[test]
    fn comes_out_in_order() {
        for seed in 0..50 {
            let out = drained(filled(seed, seed * 5));
            assert_eq!(out.len() as u64, seed * 5);
            assert!(out.is_sorted());
        }
    }

    #[test]
    fn removing_any_entry_keeps_the_order() {
        for at in 0..40 {
            let mut heap = filled(at as u64 + 1, 40);
            let mut expected = heap.entries().to_vec();
            let removed = expected.swap_remove(at);
            expected.sort();
            assert_eq!(heap.remove(at, less, ignore), Ok(Some(removed)));
            assert_eq!(drained(heap), expected);
        }
    }

    #[test]
    fn a_failed_comparison_changes_nothing() {
        for failing in 0..8 {
            let mut heap = filled(7, 100);
            let before = heap.entries().to_vec();
            let mut left = failing;
            let mut flaky = |a: &u64, b: &u64| {
                left -= 1;
                if left < 0 { Err("no order") } else { Ok(a < b) }
            };
            if let Err((error, entry)) = heap.push(0, &mut flaky, ignore) {
                assert_eq!((error, entry), ("no order", 0));
                assert_eq!(heap.entries(), before);
                assert_eq!(heap.pop(&mut flaky, ignore), Err("no order"));
                assert_eq!(heap.remove(3, &mut flaky, ignore), Err("no order"));
                assert_eq!(heap.entries(), before);
            }
        }
    }
}
