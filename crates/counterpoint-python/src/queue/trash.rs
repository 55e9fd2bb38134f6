//! [`let_go`]: dropping the contents of an object that dies, however deep objects are nested.
//!
//! A queue that holds a queue that holds a queue… would be dropped by as many calls in calls, and
//! exhaust the stack. From some depth on the contents are laid aside, and the outermost call
//! drops them when it is done. CPython's trashcan does the same for its own containers; its
//! functions differ between versions.

use crate::boundary::halts_at_exit;
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
    halts_at_exit();
    // A thread that ends destroys its variables before the last objects die that it owned; these are
    // not nested deeply by then, or the stack has to bear it.
    let depth = DEPTH.try_with(Cell::get).unwrap_or(0);
    if depth >= DEEP {
        lay_aside(contents);
        return;
    }
    let _ = DEPTH.try_with(|place| place.set(depth + 1));
    drop(contents);
    if depth == 0 {
        // Dropping these may lay more aside.
        while let Some(next) = ASIDE.try_with(|aside| aside.borrow_mut().pop()).ok().flatten() {
            drop(next);
        }
    }
    let _ = DEPTH.try_with(|place| place.set(depth));
}

/// Keeps the contents for the outermost call; drops them here if there is no place any more.
fn lay_aside<T: Any>(contents: T) {
    let mut contents: Option<Box<dyn Any>> = Some(Box::new(contents));
    let _ = ASIDE.try_with(|aside| aside.borrow_mut().extend(contents.take()));
}
