//! [`Sizes`]: where to receive what comes next, by what came last.

/// So little is copied out of a buffer sooner than it is received where it belongs.
const LITTLE: u32 = 4 * 1024;

/// Who received so much gets the next into an object of its own, which is cut to size: a copy costs more
/// then than an allocation that is too large.
const LARGE: u32 = 16 * 1024;

/// A size beyond this is none that messages have: so much comes in pieces, of any size.
const MOST: u32 = 32 * 1024;

/// Where to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Into a buffer, to be copied.
    Buffer,
    /// Into an object of that size.
    Exactly(usize),
    /// Into an object that is cut to size.
    Object,
}

/// How much a connection received the last times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sizes {
    last: u32,
    /// The one before was the same.
    again: bool,
}

impl Sizes {
    /// Where to receive what comes next, if the connection waits for more in any case.
    #[inline]
    pub fn place(self) -> Place {
        match self.last {
            last @ LITTLE..=MOST if self.again => Place::Exactly(last as usize),
            _ => self.place_of_any(),
        }
    }

    /// The same, where a place that turns out to be too small is not to be.
    #[inline]
    pub fn place_of_any(self) -> Place {
        if self.last < LARGE { Place::Buffer } else { Place::Object }
    }

    /// So much was received.
    #[inline]
    pub fn received(&mut self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        *self = Self { last: count, again: count == self.last };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Place, Sizes};

    fn after(counts: &[usize]) -> Sizes {
        let mut sizes = Sizes::default();
        counts.iter().for_each(|count| sizes.received(*count));
        sizes
    }

    #[test]
    fn little_is_copied_and_much_is_cut() {
        assert_eq!(Sizes::default().place(), Place::Buffer);
        for (count, place) in [(1, Place::Buffer), (16_383, Place::Buffer), (16_384, Place::Object)]
        {
            assert_eq!(after(&[count]).place(), place);
            assert_eq!(after(&[count]).place_of_any(), place);
        }
        assert_eq!(after(&[100_000, 100]).place(), Place::Buffer);
    }

    #[test]
    fn a_size_that_comes_again_is_expected() {
        assert_eq!(after(&[10_240, 10_240]).place(), Place::Exactly(10_240));
        assert_eq!(after(&[20_000, 20_000]).place(), Place::Exactly(20_000));
        assert_eq!(after(&[10_240, 10_240, 10_241]).place(), Place::Buffer);
        assert_eq!(after(&[10_240, 1, 10_240]).place(), Place::Buffer);
        assert_eq!(after(&[10_240, 10_240]).place_of_any(), Place::Buffer);
    }

    #[test]
    fn neither_a_small_one_nor_a_piece_is() {
        assert_eq!(after(&[1024, 1024]).place(), Place::Buffer);
        assert_eq!(after(&[65_536, 65_536]).place(), Place::Object);
        assert_eq!(after(&[usize::MAX, usize::MAX]).place(), Place::Object);
    }
}
