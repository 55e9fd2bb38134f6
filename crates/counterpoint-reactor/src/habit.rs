//! [`Habit`]: whether what is written is better held back a little.
//!
//! Who has written several pieces in each of the last few callbacks, as a server does that writes a
//! head and a body, is expected to do so again. One callback that writes a single piece ends that.
//!
//! Who was written to by a few callbacks that were scheduled, as a server's tasks are, is expected to be
//! one of many to whom the same turn writes. If what was held back was sent late, for a callback took
//! long, that is not expected for a while.

use crate::door::{AtomicBool, AtomicI8, AtomicU8, AtomicU32, Ordering};

/// After so many callbacks in a row with several pieces each, several are expected.
const STREAK: u8 = 3;

/// After so many scheduled callbacks others are expected in the same turn.
const USUAL: i8 = 4;

/// So many go by after one of them was late.
const PENALTY: i8 = i8::MAX;

/// Which callback writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    /// None, or not one of the loop's.
    Nobody,
    /// One that an event runs, of that number.
    Event(u32),
    /// One that was scheduled, of that number.
    Scheduled(u32),
}

/// Until when something is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// Until the callback that writes it has ended: it writes more.
    CallbackEnds,
    /// Until the callbacks of the turn have run: others write too.
    TurnEnds,
}

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
    /// So many scheduled ones have written; negative: so many are missing.
    scheduled: AtomicI8,
}

impl Habit {
    /// A piece is written; until when to hold it back, if at all.
    #[inline(always)]
    pub fn holds(&self, writer: Writer) -> Option<Until> {
        let (callback, is_scheduled) = match writer {
            Writer::Nobody => return None,
            Writer::Event(number) => (number, false),
            Writer::Scheduled(number) => (number, true),
        };
        if self.callback.load(Ordering::Relaxed) == callback {
            self.several.store(true, Ordering::Relaxed);
            return None;
        }
        let before = self.streak.load(Ordering::Relaxed);
        let several = self.several.load(Ordering::Relaxed);
        let streak = if several { (before + 1).min(STREAK) } else { 0 };
        self.callback.store(callback, Ordering::Relaxed);
        self.several.store(false, Ordering::Relaxed);
        self.streak.store(streak, Ordering::Relaxed);
        if is_scheduled && self.is_usual() {
            return Some(Until::TurnEnds);
        }
        (streak == STREAK).then_some(Until::CallbackEnds)
    }

    fn is_usual(&self) -> bool {
        let before = self.scheduled.load(Ordering::Relaxed);
        if before < USUAL {
            self.scheduled.store(before + 1, Ordering::Relaxed);
        }
        before == USUAL
    }

    /// What was held back was sent late.
    pub fn was_late(&self) {
        self.scheduled.store(-PENALTY, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Habit, PENALTY, USUAL, Until, Writer};

    /// Whether the first piece of each callback, with so many pieces, is held back.
    fn held(pieces: &[usize]) -> Vec<bool> {
        let habit = Habit::default();
        let numbered = (1..).zip(pieces);
        numbered
            .map(|(callback, pieces)| {
                let first = habit.holds(Writer::Event(callback));
                assert!((1..*pieces).all(|_| habit.holds(Writer::Event(callback)).is_none()));
                first == Some(Until::CallbackEnds)
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
        assert!((0..10).all(|_| habit.holds(Writer::Nobody).is_none()));
    }

    #[test]
    fn what_is_written_outside_of_callbacks_does_not_end_the_habit() {
        let habit = Habit::default();
        let expected = |callback| {
            let first = habit.holds(Writer::Event(callback)).is_some();
            assert_eq!(habit.holds(Writer::Nobody), None);
            assert_eq!(habit.holds(Writer::Event(callback)), None);
            first
        };
        assert_eq!([1, 2, 3, 4].map(expected), [false, false, false, true]);
    }

    /// How many scheduled callbacks write before one is held back until the turn ends.
    fn sent_before(habit: &Habit) -> usize {
        let held = |number: &u32| habit.holds(Writer::Scheduled(*number)) == Some(Until::TurnEnds);
        (1..).take_while(|number| !held(number)).count()
    }

    #[test]
    fn who_is_written_to_by_scheduled_callbacks_is_expected_to_be() {
        let habit = Habit::default();
        assert_eq!(sent_before(&habit), USUAL as usize);
        assert_eq!(
            habit.holds(Writer::Event(100)),
            None,
            "an event's own callback is sent at once"
        );
        assert_eq!(habit.holds(Writer::Scheduled(101)), Some(Until::TurnEnds));
        assert_eq!(habit.holds(Writer::Scheduled(101)), None, "it has begun");
    }

    #[test]
    fn who_was_late_is_not_held_back_for_a_while() {
        let habit = Habit::default();
        habit.was_late();
        assert_eq!(sent_before(&habit), PENALTY as usize + USUAL as usize);
    }

    #[test]
    fn whose_scheduled_callbacks_are_late_but_write_several_pieces_waits_for_their_ends() {
        let habit = Habit::default();
        let write = |number| {
            let first = habit.holds(Writer::Scheduled(number));
            assert_eq!(habit.holds(Writer::Scheduled(number)), None);
            first
        };
        habit.was_late();
        let until = [1, 2, 3, 4, 5].map(write);
        assert_eq!(until[..3], [None; 3]);
        assert_eq!(until[3..], [Some(Until::CallbackEnds); 2]);
    }
}
