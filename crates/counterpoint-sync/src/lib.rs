//! Waiters, locks and queues that threads and asyncio tasks share.
//!
//! Purpose: every algorithm that waits, free of Python, so that loom and the sanitizers can run
//! it. The binding puts its own lock around a state ([`wait::Shared`]), its own way to tell a
//! task ([`waiter::Notify`]) and its own payload into it, and adds nothing that could race.
//!
//! Vocabulary: a [`waiter::Waiter`] is one who waits; it is *claimed* by exactly one party; a
//! [`wait::State`] is an object's data, a [`wait::Source`] an operation on it, a [`wait::Wait`]
//! such an operation in progress.
//!
//! Invariants:
//! 1. States are plain data under one lock per object; only the waiter's word is atomic.
//! 2. Nobody is woken, and no payload or task handle is dropped, while that lock is held.
//! 3. A claim is permission, not the item; a claim that goes unused is passed on.
//!
//! What this crate never does: name pyo3, poll, spin, or call back under a lock.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod clock;
mod door;
pub mod executor;
pub mod lock;
#[cfg(all(test, loom))]
mod loom_models;
pub mod queue;
#[cfg(all(test, not(loom)))]
mod testing;
pub mod wait;
pub mod waiter;

pub use door::Arc;
