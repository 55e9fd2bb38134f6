//! How waiters learn that a fork happened: a generation number, raised in the child.
//!
//! Only the forking thread lives on in a child. Every other thread that was queued there is
//! gone, and so is every task whose event loop ran in another thread, although that loop can
//! still be told: a permission given to either would be lost. So a waiter carries the
//! generation in which it queued, and one of an older generation is skipped, unless it is that of
//! a task and the thread in which it queued is the one that forked.

// Plain std atomics even under loom: a fork is outside what a model explores.
use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The thread that made the last fork, by its [`thread`] number. One that queued in any
/// generation before and is this one was the one that lived on in every fork since.
static SURVIVOR: AtomicU64 = AtomicU64::new(0);

/// The current generation.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// To be called in the child after a fork, before anything else of this crate is.
pub fn forked() {
    SURVIVOR.store(thread(), Ordering::Relaxed);
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// A number of this thread that no other has or will have; a fork does not change it.
pub(super) fn thread() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    let known = NUMBER.get();
    if known != 0 {
        return known;
    }
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    NUMBER.set(number);
    number
}

/// Whether the thread of this number made the last fork.
pub(super) fn is_survivor(thread: u64) -> bool {
    SURVIVOR.load(Ordering::Relaxed) == thread
}
