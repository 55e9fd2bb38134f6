//! How waiters learn that a fork happened: a generation number, raised in the child.
//!
//! Only the forking thread lives on in a child. Every other thread that was queued there is
//! gone, and a permission given to it would be lost; so a thread's waiter carries the generation
//! in which it queued, and one of an older generation is skipped.

// Plain std atomics even under loom: a fork is outside what a model explores.
use std::sync::atomic::{AtomicU32, Ordering};

static GENERATION: AtomicU32 = AtomicU32::new(0);

/// The current generation.
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}

/// To be called in the child after a fork, before anything else of this crate is.
pub fn forked() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}
