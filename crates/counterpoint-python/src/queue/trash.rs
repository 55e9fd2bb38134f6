//! [`let_go`]: dropping the contents of an object that dies, however deep objects are nested.
//!
//! A queue that holds a queue that holds a queue… would be dropped by as many calls in calls, and
//! exhaust the stack. From some depth on the contents are laid aside, and the outermost call
//! drops them when it is done. CPython's trashcan does the same for its own containers; its
//! functions differ between versions.

use std::any::Any;
use std::cell::{Cell, RefCell};

/// How many calls in calls are made before contents are laid aside.
const DEEP: usize = 50;

thread_local! {
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    static ASIDE: RefCell<Vec<Box<dyn Any>>> = const { RefCell::new(Vec::new()) };
}

/// Drops the contents, now or when the outermost call ends.
pub fn let_go<T: Any>(contents: T) {
    let depth = DEPTH.get();
    if depth >= DEEP {
        ASIDE.with_borrow_mut(|aside| aside.push(Box::new(contents)));
        return;
    }
    DEPTH.set(depth + 1);
    drop(contents);
    if depth == 0 {
        // Dropping these may lay more aside.
        while let Some(next) = ASIDE.with_borrow_mut(Vec::pop) {
            drop(next);
        }
    }
    DEPTH.set(depth);
}
