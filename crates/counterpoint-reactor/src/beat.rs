//! [`Beat`]: what tells another thread that a loop is stuck in one callback, and [`Sight`], how that
//! thread finds out.
//!
//! The loop says what it runs, and counts: two stores when a callback begins, and two when it ends.
//! Who watches looks now and then. A count that it has seen before, with something running, is the
//! same callback still; so what it reports did take that long, however late it came to look.

use crate::door::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::ptr;

/// What one loop says of its callbacks. Only the loop's thread changes it.
// ORDERING: `count` and `subject` are stored with release and looked at with acquire, the subject
// first. Who sees a subject sees its callback's number, or a later one; who has seen a number sees
// no older subject. Otherwise a callback could look as old as the idleness before it. The rest is
// relaxed: a watcher that sees it late reports later, or at the next look. Who follows the subject
// has stopped the loop's thread by other means.
#[derive(Debug, Default)]
pub struct Beat {
    count: AtomicU64,
    subject: AtomicPtr<()>,
    awaited: AtomicBool,
    ended: AtomicU64,
}

impl Beat {
    /// A callback begins; what ran before, which it interrupts: null for nothing, as a rule.
    #[inline(always)]
    pub fn enter(&self, subject: *mut ()) -> *mut () {
        let before = self.subject.load(Ordering::Relaxed);
        // In this order: with the number of what ran before it would look as old as that.
        self.tick();
        // ORDERING: Release pairs with the Acquire in `look` and `subject`: who sees it sees its number.
        self.subject.store(subject, Ordering::Release);
        before
    }

    /// It has ended; whether somebody waits for that, who is then to be told by
    /// [`end`](Self::end).
    #[inline(always)]
    #[must_use]
    pub fn leave(&self, before: *mut ()) -> bool {
        // ORDERING: Release, as in `enter`.
        self.subject.store(before, Ordering::Release);
        self.tick();
        self.awaited.load(Ordering::Relaxed)
    }

    /// Whether a callback runs. Of use in the loop's thread only.
    pub fn is_running(&self) -> bool {
        !self.subject.load(Ordering::Relaxed).is_null()
    }

    #[inline(always)]
    fn tick(&self) {
        // One thread writes: no need for one step.
        // ORDERING: Release pairs with the Acquire in `look` and `subject`: who sees the number of what
        // comes after a callback does not take the subject of that for what runs.
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// The callback that is awaited has ended at `now`.
    #[cold]
    pub fn end(&self, now: u64) {
        self.ended.store(now, Ordering::Relaxed);
        self.awaited.store(false, Ordering::Relaxed);
    }

    /// What runs, if it is the callback of that number still.
    pub fn subject(&self, count: u64) -> Option<ptr::NonNull<()>> {
        // ORDERING: Acquire pairs with the Release in `enter`, `leave` and `tick`.
        let subject = ptr::NonNull::new(self.subject.load(Ordering::Acquire));
        // ORDERING: as above.
        subject.filter(|_| self.count.load(Ordering::Acquire) == count)
    }
}

/// News of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// It takes long: its number, and when it was first seen.
    Stalled(u64, u64),
    /// The one that took long has ended: after so many nanoseconds.
    Over(u64),
}

/// What a watcher remembers of a loop.
#[derive(Debug, Default)]
pub struct Sight {
    count: u64,
    since: u64,
    reported: bool,
}

impl Sight {
    /// Looks at the loop, at `now`. One that stalls is told once, and its end once.
    #[must_use]
    pub fn look(&mut self, beat: &Beat, threshold: u64, now: u64) -> Option<News> {
        // ORDERING: Acquire pairs with the Release in `enter`, `leave` and `tick`; in this order: the
        // number belongs to what runs, or to what came after it.
        let runs = !beat.subject.load(Ordering::Acquire).is_null();
        // ORDERING: as above.
        let count = beat.count.load(Ordering::Acquire);
        if count != self.count {
            let over = self.reported.then(|| News::Over(self.lasted(beat, now)));
            *self = Self { count, since: now, reported: false };
            return over;
        }
        if self.reported || !runs || now.saturating_sub(self.since) < threshold {
            return None;
        }
        self.reported = true;
        beat.ended.store(0, Ordering::Relaxed);
        beat.awaited.store(true, Ordering::Relaxed);
        Some(News::Stalled(count, self.since))
    }

    /// How long the callback took that was reported and has ended.
    fn lasted(&self, beat: &Beat, now: u64) -> u64 {
        beat.awaited.store(false, Ordering::Relaxed);
        let ended = beat.ended.load(Ordering::Relaxed);
        let ended = if (self.since..=now).contains(&ended) { ended } else { now };
        ended.saturating_sub(self.since)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Beat, News, Sight};
    use std::ptr;

    fn subject() -> *mut () {
        ptr::without_provenance_mut(8)
    }

    #[test]
    fn a_stall_is_told_once_and_its_end_once() {
        let (beat, mut sight) = (Beat::default(), Sight::default());
        let before = beat.enter(subject());
        assert_eq!(sight.look(&beat, 100, 10), None, "first seen");
        assert_eq!(sight.look(&beat, 100, 109), None, "not long enough");
        assert_eq!(sight.look(&beat, 100, 110), Some(News::Stalled(1, 10)));
        assert!(beat.subject(1).is_some());
        assert_eq!(sight.look(&beat, 100, 200), None, "told already");
        assert!(beat.leave(before), "its end is awaited");
        beat.end(230);
        assert_eq!(sight.look(&beat, 100, 250), Some(News::Over(220)));
        assert_eq!(sight.look(&beat, 100, 999), None, "nothing runs");
        assert!(beat.subject(1).is_none());
    }

    #[test]
    fn callbacks_that_keep_coming_do_not_stall() {
        let (beat, mut sight) = (Beat::default(), Sight::default());
        for now in (0..1000).step_by(50) {
            let before = beat.enter(subject());
            assert_eq!(sight.look(&beat, 100, now), None);
            assert!(!beat.leave(before));
        }
    }

    #[test]
    fn an_end_that_nobody_saw_is_when_it_was_looked_for() {
        let (beat, mut sight) = (Beat::default(), Sight::default());
        let before = beat.enter(subject());
        assert_eq!(sight.look(&beat, 5, 1), None);
        assert_eq!(sight.look(&beat, 5, 6), Some(News::Stalled(1, 1)));
        let _ = beat.leave(before); // as if it had read the word too early
        assert_eq!(sight.look(&beat, 5, 21), Some(News::Over(20)));
        let before = beat.enter(subject());
        assert!(!beat.leave(before), "it is not awaited any more");
    }

    #[test]
    fn a_loop_inside_a_callback_gives_back_what_it_interrupted() {
        let (beat, mut sight) = (Beat::default(), Sight::default());
        let outer = beat.enter(subject());
        let inner = beat.enter(ptr::without_provenance_mut(16));
        assert!(!beat.leave(inner));
        assert_eq!(sight.look(&beat, 5, 1), None);
        assert_eq!(sight.look(&beat, 5, 9), Some(News::Stalled(3, 1)), "the outer one runs again");
        assert!(beat.leave(outer));
    }
}
