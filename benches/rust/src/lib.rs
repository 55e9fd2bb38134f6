//! What the two programs that event loops are measured with have in common.
//!
//! `echo-server` is the 100 % line: one thread, level-triggered epoll, one `recv` and one `send` for
//! each message, nothing else. `load` is the client: compiled, so that it is not what is measured.
//!
//! Vocabulary: a *request* is what a connection sends, whole, before it waits for the *answer*; an
//! *exchange* is both. Each connection has one exchange in flight.
//!
//! What this crate never does: start a thread, or allocate for each message; only rustls does that.

#![deny(clippy::undocumented_unsafe_blocks)]

pub mod answer;
pub mod connection;
pub mod generator;
pub mod limits;
pub mod options;
pub mod poll;
pub mod tls;
