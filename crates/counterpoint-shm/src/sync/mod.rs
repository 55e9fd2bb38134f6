//! Locks and the like between processes, any number of them, in shared memory; robust.
//!
//! What a process does to one of these may end between any two instructions, by SIGKILL. Then
//! nothing is left that keeps anybody else waiting for ever: a lock is taken from the dead, and the
//! taker is told; a wake-up that was never sent is made up for. How, is said with each; the two
//! means are [`Owner`], who holds it, in one word, and [`Patience`].
//!
//! Nothing in here waits by itself for long, except [`Mutex::lock`]: the caller tries, sleeps for a
//! while, and tries again, and in between does what it has to do (signal handlers).

mod event;
pub(crate) mod gate;
mod life;
mod mutex;
mod patience;
#[cfg(not(loom))]
mod placed;
mod reentrant;
mod semaphore;
mod waiters;

pub use event::{Event, Seen};
pub use life::Owner;
pub use mutex::{Locked, Mutex};
pub use patience::Patience;
#[cfg(not(loom))]
pub(crate) use placed::close_on_exec;
#[cfg(not(loom))]
pub use placed::{Placed, Shareable};
pub use reentrant::Reentrant;
pub use semaphore::{HOLDERS, MOST, Semaphore};
pub use waiters::{SLOTS, Waiters};
