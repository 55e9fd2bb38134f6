//! [`Gate`]: where threads of any number of processes sleep until something may have changed.
//!
//! An eventcount: who goes to sleep says so and then looks once more; who changed something looks
//! for sleepers afterwards. With a full fence between the two steps on either side, at least one
//! sees the other. While nobody sleeps a change costs a fence and a load.
//!
//! | word    | content                                                                    |
//! |---------|----------------------------------------------------------------------------|
//! | `flag`  | 1: somebody may sleep. Set by sleepers, cleared by ringers                  |
//! | `crowd` | how many are in `sleep_unless`; too many once one of them was killed there  |
//! | `turn`  | counts the rings; the futex                                                |
//!
//! *Clearing.* The flag may be cleared only if everybody whom it stood for is awake again, or will
//! be. One sleeper is woken by the ring itself. If there is a crowd the flag stays, until a ring
//! finds nobody: then it is cleared, and after that the turn moved and all woken, so that those who
//! were on their way to sleep come back and set it again. A sleeper reads the turn before it sets
//! the flag: if its flag is older than a clearing, so is its turn, and the kernel does not let it
//! sleep.
//!
//! *Deaths.* A ringer that is killed between its change and its ring, and a sleeper that is killed
//! after it was woken and before it used what woke it, leave the others asleep. So nobody sleeps
//! for long without looking for himself: see [`Patience`](super::Patience). A sleeper that is
//! killed leaves `crowd` too high, which costs some system calls and nothing else.

use crate::bell::Slept;
use crate::bell::word::Word;
use crate::door::{AtomicU32, Ordering, fence};

/// As many as there are.
pub(crate) const ALL: u32 = u32::MAX;

/// How often a word is looked at before its thread sleeps: for a few microseconds, about what it
/// costs to sleep and to be woken.
#[cfg(not(loom))]
const LOOKS: u32 = 64;

/// Three words in memory that processes share. All zeros: nobody sleeps.
#[derive(Default)]
#[repr(C)]
pub(crate) struct Gate {
    flag: AtomicU32,
    crowd: AtomicU32,
    turn: Word,
}

impl Gate {
    /// Sleeps until somebody rings, to `until` (monotonic nanoseconds) at most; not at all if
    /// `ready`, which is asked once. The caller looks at what it waits for whatever this returns.
    pub(crate) fn sleep_unless(&self, until: Option<u64>, ready: impl FnOnce() -> bool) -> Slept {
        self.crowd.fetch_add(1, Ordering::Relaxed);
        let slept = self.sleep(until, ready);
        self.crowd.fetch_sub(1, Ordering::Relaxed);
        slept
    }

    fn sleep(&self, until: Option<u64>, ready: impl FnOnce() -> bool) -> Slept {
        // ORDERING: Acquire pairs with the Release in `move_on`: with a new turn comes the clearing
        // before it, which the swap below then follows.
        let turn = self.turn.value().load(Ordering::Acquire);
        // ORDERING: Release pairs with the Acquire of the clearing in `ring`: whoever clears this
        // sees the crowd with us in it.
        self.flag.swap(1, Ordering::Release);
        // ORDERING: pairs with the fence in `ring`: the ringer sees the flag, or `ready` sees what
        // it changed.
        fence(Ordering::SeqCst);
        if ready() { Slept::Woken } else { self.turn.sleep_while(turn, until) }
    }

    /// Wakes `most` sleepers at most. To be called after the change.
    #[inline]
    pub(crate) fn ring(&self, most: u32) {
        // ORDERING: pairs with the fence in `sleep`.
        fence(Ordering::SeqCst);
        if self.flag.load(Ordering::Relaxed) != 0 {
            self.wake(most);
        }
    }

    /// The same for several gates after one change; the fence is the same for all.
    #[inline]
    pub(crate) fn ring_both(&self, most: u32, other: &Gate) {
        self.ring(most);
        if other.flag.load(Ordering::Relaxed) != 0 {
            other.wake(1);
        }
    }

    #[cold]
    fn wake(&self, most: u32) {
        if self.crowd.load(Ordering::Relaxed) > 1 {
            if self.move_on(most) == 0 {
                self.flag.swap(0, Ordering::Relaxed);
                self.move_on(ALL);
            }
            return;
        }
        // ORDERING: Acquire pairs with the Release of the swap in `sleep`.
        if self.flag.swap(0, Ordering::Acquire) != 0 {
            // Somebody who came while the flag was being cleared is not to be left behind it.
            let crowd = self.crowd.load(Ordering::Relaxed);
            self.move_on(if crowd > 1 { ALL } else { 1 });
        }
    }

    fn move_on(&self, most: u32) -> usize {
        // ORDERING: Release pairs with the Acquire in `sleep`.
        self.turn.value().fetch_add(1, Ordering::Release);
        self.turn.wake_many(most)
    }
}

/// Looks for a moment whether `ready` becomes true.
#[cfg(not(loom))]
pub(crate) fn look(mut ready: impl FnMut() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        std::hint::spin_loop();
        ready()
    })
}

/// In a model a look is as good as many.
#[cfg(loom)]
pub(crate) fn look(mut ready: impl FnMut() -> bool) -> bool {
    ready()
}
