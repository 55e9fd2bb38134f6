//! The queues: where items are kept ([`store`]), the state machine ([`state`]) and the operations
//! that wait ([`sources`]).
//!
//! # Why no item is lost
//!
//! An item is in the store, in the operation that brings it, or returned to the caller; it is
//! never in a waiter. A put claims the first getter, which *permits* that one to try; a getter
//! that gives up instead passes the permission on ([`wait`](crate::wait)), and the item stays
//! where it is. The same holds for room.
//!
//! # Why no wake-up is lost
//!
//! Whoever finds no item (no room) queues under the same lock, and every put (get) claims one
//! under that lock; so n items in a store have at least min(n, waiting getters) permissions
//! under way. Somebody who barges in takes an item from a getter with a permission, which then
//! waits again in its old place, for the next put.

mod arrivals;
pub mod blocks;
pub mod doze;
pub mod heap;
pub mod join;
pub mod ordered;
pub mod priority;
pub mod sources;
pub mod state;
pub mod store;

#[cfg(test)]
mod tests;

pub use join::Join;
pub use ordered::Ordered;
pub use priority::{Comparable, Priority, Ranked};
pub use sources::{Caller, Emigrate, Ended, Get, GetMany, Got, Peek, Put};
pub use state::{Change, Counters, Denied, Overflow, QueueState};
pub use store::{Fifo, Store, Undecided};
