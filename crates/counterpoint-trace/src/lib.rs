//! What the primitives measure of themselves: durations, as histograms that can be merged.
//!
//! Vocabulary: a *duration* is in nanoseconds; a [`Durations`] is a recorder that costs one
//! pointer until the first duration arrives; a [`Summary`] is what a reader gets to see. [`Stalls`]
//! are the callbacks that kept an event loop for long.
//!
//! Invariants: recording never allocates more than once per recorder, never fails and never
//! loses a count (a duration beyond the histogram's range is counted at its end; a count has 64
//! bits). A recorder has a lock of its own, because a share of it is read in another thread: it is
//! held while a few numbers change, or are copied, and nothing else happens meanwhile.
//!
//! This crate never reads a clock and never calls back.

mod durations;
mod stalls;

pub use durations::{Durations, Summary};
pub use stalls::{Line, Stall, Stalls};
