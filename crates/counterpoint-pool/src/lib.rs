//! The process pool without Python: which worker gets which task, and what a death costs.
//!
//! Purpose: everything between a submitted task and its outcome that needs neither an interpreter
//! nor the thread that submitted. One *dispatcher* thread for each pool drains the workers' lanes,
//! completes jobs, hands out more, and deals with deaths and time limits; it never attaches to an
//! interpreter, so it goes on while Python code holds the GIL.
//!
//! Vocabulary: a *job* is one submitted task ([`Job`]); a *station* is the parent's side of one
//! worker process ([`Station`]); the *window* of a station is how many jobs it may have at once;
//! *news* is what somebody attached has to do ([`News`]): the *courier* of the binding. *Words* are
//! what workers say beside their results ([`Word`]), which its *listener* deals with.
//!
//! Invariants:
//! 1. A job is in one place: the queue, one station, or over. Whoever moves it holds the pool's
//!    lock.
//! 2. A job's own lock is taken inside the pool's, never the other way round; nothing is woken,
//!    and no job is dropped, under either.
//! 3. A worker's death ends exactly the jobs it had started; all others go back to the head of the
//!    queue, in order.
//! 4. What a worker says is checked before it is believed; the worst it can do is to lose its own
//!    tasks.
//!
//! What this crate never does: name pyo3, start a process or a thread, look into a payload.
//!
//! Under loom it is empty: its states are plain data under one mutex, and what processes and
//! threads race for is modelled in `counterpoint-shm` and `counterpoint-sync`.
#![cfg(not(loom))]
#![deny(clippy::undocumented_unsafe_blocks)]

mod blocks;
mod death;
mod delivery;
mod dispatcher;
mod drain;
pub mod forks;
mod inlet;
mod job;
mod limits;
mod lookout;
mod mailbox;
mod memory;
mod parcel;
mod patrol;
mod refill;
mod room;
mod shared;
pub mod sideband;
mod size;
mod speech;
mod state;
mod station;
mod system;
pub mod wire;

pub use blocks::{Link, Loan, Received};
pub use dispatcher::run;
pub use inlet::Inlet;
pub use job::{Content, Fate, Job, Options, Outcome, Place, Record};
pub use mailbox::{Mailbox, News};
pub use parcel::Parcel;
pub use room::Room;
pub use shared::Shared;
pub use speech::{Weight, Word};
pub use state::{Counts, Limits, PoolState, Pushed, Refusal, Stillborn};
pub use station::{Station, StationReport};
pub use system::Doorbell;

#[cfg(test)]
mod tests;
