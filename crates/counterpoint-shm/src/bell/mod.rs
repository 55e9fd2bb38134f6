//! The bell by which the parent wakes its worker: no system call while the worker is awake.
//!
//! Dekker's entry protocol, as in every eventcount: who goes to sleep says so and then looks once
//! more; who has news publishes it and then looks for a sleeper. With a full fence between the two
//! steps on either side, at least one sees the other.

pub(crate) mod word;

use crate::door::{Ordering, fence};
use word::Word;

/// Why a sleeper runs again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Slept {
    /// There is what it slept for, or it was rung; look.
    Woken,
    /// The deadline passed.
    TimedOut,
    /// A signal handler ran in this thread; the caller decides whether to sleep on.
    Interrupted,
}

/// Nobody sleeps. Zero, as all of a new segment is.
const AWAKE: u32 = 0;
const ASLEEP: u32 = 1;

/// One word, in memory that both processes share. One sleeper, one ringer.
#[derive(Default)]
#[repr(transparent)]
pub(crate) struct Bell(Word);

impl Bell {
    /// Sleeps until somebody rings, to `deadline` (monotonic nanoseconds) at most; not at all if
    /// `ready`, which is asked once.
    pub(crate) fn sleep_unless(
        &self,
        deadline: Option<u64>,
        ready: impl FnOnce() -> bool,
    ) -> Slept {
        // A swap and not a store: it comes after a ringer's swap, of which we need not have heard.
        self.0.value().swap(ASLEEP, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `ring`: the ringer sees ASLEEP, or `ready` sees what
        // it published.
        fence(Ordering::SeqCst);
        let slept = if ready() { Slept::Woken } else { self.0.sleep_while(ASLEEP, deadline) };
        let before = self.0.value().swap(AWAKE, Ordering::Relaxed);
        if before == AWAKE { Slept::Woken } else { slept }
    }

    /// Wakes the sleeper, if there is one. To be called after publishing. Returns whether there
    /// was one.
    pub(crate) fn ring(&self) -> bool {
        // ORDERING: pairs with the fence in `sleep_unless`.
        fence(Ordering::SeqCst);
        let word = self.0.value();
        // A load first: a swap would take the sleeper's cache line away for each record.
        let asleep = word.load(Ordering::Relaxed) != AWAKE
            // What the sleeper is to see it reads by the cursors, which order themselves.
            && word.swap(AWAKE, Ordering::Relaxed) != AWAKE;
        if asleep {
            self.0.wake();
        }
        asleep
    }
}
