//! What the primitives measure of themselves: durations, as histograms that can be merged.
//!
//! Vocabulary: a *duration* is in nanoseconds; a [`Durations`] is a recorder that costs one
//! pointer until the first duration arrives; a [`Summary`] is what a reader gets to see.
//!
//! Invariants: recording never allocates more than once per recorder, never fails and never
//! loses a count (a duration beyond the histogram's range is counted at its end).
//!
//! This crate never reads a clock, never locks and never calls back.

mod durations;

pub use durations::{Durations, Summary};
