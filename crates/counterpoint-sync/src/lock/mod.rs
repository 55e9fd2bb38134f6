//! The locks: plain state machines, one a file, and the sources that wait for them.

pub mod barrier;
pub mod condition;
#[cfg(all(test, not(loom)))]
mod hand_off_tests;
pub mod limiter;
pub mod mutex;
pub mod reentrant;
pub mod rwlock;
pub mod semaphore;
mod who;

pub use who::Who;
