//! The word by which the parent says that it sleeps, and the worker that it rings.

use crate::door::{AtomicU32, Ordering, fence};

/// The parent looks by itself. Zero, as all of a new segment is.
const AWAKE: u32 = 0;
/// The parent sleeps, or is about to look once more and then sleep.
const ASLEEP: u32 = 1;
/// The worker writes, wrote or is about to write to the eventfd.
const RUNG: u32 = 2;

#[derive(Default)]
#[repr(transparent)]
pub(super) struct Sleeper(AtomicU32);

impl Sleeper {
    /// By the parent, which looks once more after this.
    pub(super) fn announce(&self) {
        // A store will do: while the word is AWAKE nobody else changes it.
        self.0.store(ASLEEP, Ordering::Relaxed);
        // ORDERING: pairs with the fence in `WorkerEnd::ring_parent`: the worker sees ASLEEP, or
        // the look that follows sees what it published.
        fence(Ordering::SeqCst);
    }

    /// By the parent, which looks after this. Returns whether it was rung. Orders nothing: what
    /// that look misses, the look after the next announcement sees.
    #[must_use]
    pub(super) fn transition_to_awake(&self) -> bool {
        self.0.swap(AWAKE, Ordering::Relaxed) == RUNG
    }

    /// By the worker, after publishing and a full fence. `true`: the parent sleeps, and the
    /// caller is to write to the eventfd; once for each sleep.
    #[must_use]
    pub(super) fn transition_to_rung(&self) -> bool {
        let relaxed = Ordering::Relaxed;
        self.0.load(relaxed) == ASLEEP
            && self.0.compare_exchange(ASLEEP, RUNG, relaxed, relaxed).is_ok()
    }
}
