//! The one door through which atomics and `Arc` enter this crate: std's, or loom's under
//! `--cfg loom`, where every interleaving is explored.

#[cfg(not(loom))]
pub use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

#[cfg(loom)]
pub use loom::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

// Only tests lock by themselves; the states' lock is their user's.
#[cfg(all(test, loom))]
pub use loom::sync::Mutex;
#[cfg(all(test, not(loom)))]
pub use std::sync::Mutex;
