//! [`shed`]: dropping what a dying object holds, on a stack that stays shallow.
//!
//! An object may hold an object that holds an object, and so on. The interpreter's own destructors
//! have a way of putting some aside; ours have this one.

use super::reference::Ref;
use crate::boundary::halts_at_exit;
use std::cell::{Cell, RefCell};

/// So many of our destructors may be on a stack: beyond, what they hold is put aside.
const DEEP: usize = 50;

thread_local! {
    /// How many of our destructors are on this thread's stack. Each thread's own: a destructor may
    /// take as long as it likes, and a fork takes the other threads away.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// What they have put aside.
    static ASIDE: RefCell<Vec<Ref>> = const { RefCell::new(Vec::new()) };
    /// Whether there is something: asked first, because a thread at its end has no list any more.
    static USED: Cell<bool> = const { Cell::new(false) };
}

/// Drops them here, or, on a deep stack, where the first of these destructors ends.
#[inline(always)]
pub fn shed(held: impl Iterator<Item = Ref>) {
    halts_at_exit();
    let depth = DEPTH.get() + 1;
    DEPTH.set(depth);
    if depth > DEEP {
        USED.set(true);
        ASIDE.with_borrow_mut(|aside| aside.extend(held));
    } else {
        held.for_each(drop);
    }
    // What is dropped may put more aside.
    while depth == 1 && USED.replace(false) {
        drop(ASIDE.take());
    }
    DEPTH.set(depth - 1);
}
