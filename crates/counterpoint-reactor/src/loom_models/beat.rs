//! A loop that runs callbacks, and a thread that looks whether one takes long.
//!
//! The loop is the thread that loom runs first. Of one that comes second, and reads a word before
//! it writes it, loom 0.7 forgets that the first has read that word: it tries one schedule only.

use super::check;
use crate::beat::{Beat, News, Sight};
use loom::sync::Arc;
use loom::thread;
use std::ptr;

/// Runs a callback, whose number is the next odd one.
fn run(beat: &Beat, now: u64) {
    let before = beat.enter(ptr::without_provenance_mut(8));
    if beat.leave(before) {
        beat.end(now);
    }
}

#[test]
fn a_stall_is_that_of_a_callback_that_was_seen_before_and_ends_once() {
    check(|| {
        let beat = Arc::new(Beat::default());
        let theirs = beat.clone();
        let other = thread::spawn(move || {
            let mut sight = Sight::default();
            let news = [1, 2].map(|now| sight.look(&theirs, 0, now));
            (sight, news.to_vec())
        });
        run(&beat, 3);
        let (mut sight, mut news) = other.join().unwrap();
        news.extend([4, 5].map(|now| sight.look(&beat, 0, now)));
        let mut news = news.into_iter().flatten();
        if let Some(stall) = news.next() {
            assert_eq!(stall, News::Stalled(1, 1), "there was one callback");
            assert!(matches!(news.next(), Some(News::Over(2 | 3))));
        }
        assert_eq!(news.next(), None);
        let before = beat.enter(ptr::without_provenance_mut(8));
        assert!(!beat.leave(before), "nobody waits for its end any more");
    });
}

#[test]
fn a_callback_that_follows_others_does_not_look_as_old_as_they_are() {
    check(|| {
        let beat = Arc::new(Beat::default());
        let theirs = beat.clone();
        let other = thread::spawn(move || {
            let mut sight = Sight::default();
            // A threshold that is reached only by what was there at the first look.
            let _ = sight.look(&theirs, 10, 1);
            sight.look(&theirs, 10, 11)
        });
        run(&beat, 12);
        run(&beat, 12);
        if let Some(stall) = other.join().unwrap() {
            assert!(matches!(stall, News::Stalled(1 | 3, 1)), "{stall:?}");
        }
    });
}

#[test]
fn one_that_goes_on_after_it_was_interrupted_does_not_look_older() {
    check(|| {
        let beat = Arc::new(Beat::default());
        let theirs = beat.clone();
        let other = thread::spawn(move || Sight::default().look(&theirs, 0, 1));
        let idle = beat.enter(ptr::without_provenance_mut(8));
        let outer = beat.enter(ptr::without_provenance_mut(16));
        let is_awaited = beat.leave(outer) | beat.leave(idle);
        assert!(!is_awaited);
        assert_eq!(other.join().unwrap(), None, "whatever it is, it is first seen");
    });
}
