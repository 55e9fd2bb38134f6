//! Shared memory between a pool and its worker processes.
//!
//! Purpose: everything that two processes do to the same memory, free of Python, so that loom and
//! the sanitizers can run it and a fuzzer can attack it.
//!
//! Vocabulary: a *lane* is what a parent shares with one worker ([`lane::ParentEnd`],
//! [`lane::WorkerEnd`]): two *rings* of *records*, the *ledger* (a word per task in flight), the
//! *bells* by which one wakes the other. An *arena* holds big payloads in *blocks*
//! ([`arena::Arena`]), which the other side maps ([`arena::View`]).
//!
//! Invariants:
//! 1. Every word in shared memory has one writer at any time, or is changed by compare-and-swap
//!    between two; there is no lock, so a death at any instant leaves nothing locked.
//! 2. A record is there when the last store of its publisher, with release, says so; until then it
//!    is not there at all.
//! 3. What one side has to rely on it keeps in its own memory. What it reads from shared memory it
//!    copies, checks, and then uses the copy. A worker gone mad costs a worker.
//! 4. There are offsets in shared memory, never pointers.
//!
//! What this crate never does: name pyo3, spin, start a process, or share a lock between two.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod arena;
mod bell;
#[cfg(any(test, not(loom)))]
pub mod channel;
pub mod clock;
mod door;
pub mod lane;
mod ledger;
#[cfg(all(test, loom))]
mod loom_models;
pub mod memory;
pub mod parcel;
mod ring;
#[cfg(any(test, not(loom)))]
pub mod sync;
