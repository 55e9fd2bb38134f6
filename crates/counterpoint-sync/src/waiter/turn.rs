//! Turns: how often a thread of this process let go of what only one has at a time (the
//! interpreter), to sleep.
//!
//! A claim bears the number of the turn in which it was made. As long as that turn lasts, the
//! claimer may have the interpreter still, and a waiter that asked for it would fall asleep on the
//! interpreter's own lock. This is advice: no protocol depends on it, so no model counts it.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

static TURN: AtomicU32 = AtomicU32::new(0);

thread_local! {
    /// Whether this thread never has the interpreter.
    static OUTSIDE: Cell<bool> = const { Cell::new(false) };
}

/// To be called by every thread that parks, once it has let go of the interpreter.
#[inline(always)]
pub fn end() {
    // ORDERING: Release pairs with the Acquire in `current`: the interpreter was let go before.
    TURN.fetch_add(1, Ordering::Release);
}

/// The number of this turn.
#[inline(always)]
pub fn current() -> u32 {
    // ORDERING: Acquire pairs with the Release in `end`.
    TURN.load(Ordering::Acquire)
}

/// To be called by a thread that never has the interpreter: who is claimed by it need not wait.
pub fn stand_outside() {
    OUTSIDE.set(true);
}

/// Runs `f` as a thread that stands outside, for as long as that takes.
pub fn outside<R>(f: impl FnOnce() -> R) -> R {
    let before = OUTSIDE.replace(true);
    let result = f();
    OUTSIDE.set(before);
    result
}

/// The number for a claim by this thread; one that is over if it has no interpreter to let go of.
#[inline(always)]
pub(super) fn stamp() -> u32 {
    current().wrapping_sub(u32::from(OUTSIDE.get()))
}
