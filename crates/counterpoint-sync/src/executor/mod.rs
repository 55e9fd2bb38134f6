//! Futures and thread pools: when somebody is told, woken, started or let go.
//!
//! Vocabulary: a *phase* is where a future stands ([`Phase`](future::Phase)); a *task* is what a pool queues and
//! never looks into; a worker is *idle* while it sleeps, *arriving* once it was woken or started
//! and has not asked for a task yet, *blocked* while its task waits for another of the same pool.
//!
//! The thread that runs tasks, the objects that users hold and the clock belong to the binding.

pub mod collector;
#[cfg(all(test, loom))]
mod end_models;
pub mod future;
#[cfg(all(test, loom))]
mod models;
pub mod pool;
pub mod tasks;
pub mod timers;
