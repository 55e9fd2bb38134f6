//! [`Habit`]: whether more is to be expected from a callback that writes.
//!
//! Who has written several pieces in each of the last few callbacks, as a server does that writes a
//! head and a body, is expected to do so again. One callback that writes a single piece ends that.

use crate::door::{AtomicBool, AtomicU8, AtomicU32, Ordering};

/// After so many callbacks in a row with several pieces each, several are expected.
const STREAK: u8 = 3;

/// How a connection is written to.
// ORDERING: relaxed throughout. It is a guess, from which nothing follows but whether a piece is
// sent at once or a little later.
#[derive(Debug, Default)]
pub struct Habit {
    /// The number of the callback that has written last.
    callback: AtomicU32,
    /// It has written several pieces.
    several: AtomicBool,
    /// So many before it, in a row, have.
    streak: AtomicU8,
}

impl Habit {
    /// A piece is written by the callback of that number (0: by none); whether more are expected
    /// from it.
    #[inline(always)]
    pub fn expects_more(&self, callback: u32) -> bool {
        if callback == 0 {
            return false;
        }
        if self.callback.load(Ordering::Relaxed) == callback {
            self.several.store(true, Ordering::Relaxed);
            return false;
        }
        let before = self.streak.load(Ordering::Relaxed);
        let several = self.several.load(Ordering::Relaxed);
        let streak = if several { (before + 1).min(STREAK) } else { 0 };
        self.callback.store(callback, Ordering::Relaxed);
        self.several.store(false, Ordering::Relaxed);
        self.streak.store(streak, Ordering::Relaxed);
        streak == STREAK
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Habit;

    /// Whether the first piece of each callback, with so many pieces, is held back.
    fn held(pieces: &[usize]) -> Vec<bool> {
        let habit = Habit::default();
        let numbered = (1..).zip(pieces);
        numbered
            .map(|(callback, pieces)| {
                let first = habit.expects_more(callback);
                assert!((1..*pieces).all(|_| !habit.expects_more(callback)));
                first
            })
            .collect()
    }

    #[test]
    fn who_writes_several_pieces_each_time_is_expected_to() {
        assert_eq!(held(&[2, 3, 2, 2, 2]), [false, false, false, true, true]);
    }

    #[test]
    fn who_writes_one_is_not() {
        assert_eq!(held(&[1, 1, 1, 1, 1]), [false; 5]);
        assert_eq!(held(&[2, 2, 2, 1, 2, 2, 2, 2])[3..], [true, false, false, false, true]);
    }

    #[test]
    fn outside_of_a_callback_nothing_is_expected() {
        let habit = Habit::default();
        assert!((0..10).all(|_| !habit.expects_more(0)));
    }

    #[test]
    fn what_is_written_outside_of_callbacks_does_not_end_the_habit() {
        let habit = Habit::default();
        let expected = |callback| {
            let first = habit.expects_more(callback);
            assert!(!habit.expects_more(0) && !habit.expects_more(callback));
            first
        };
        assert_eq!([1, 2, 3, 4].map(expected), [false, false, false, true]);
    }
}
