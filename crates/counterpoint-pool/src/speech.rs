//! [`Word`]: what a worker said, on its way to somebody attached; and how much of it there may be.
//!
//! What a worker said and nobody has dealt with *weighs* on it. One with more than [`MOST`] is not
//! read any more: its pipe or socket fills, and then it waits, as for any slow reader, while nobody
//! else does. Once half is dealt with the dispatcher is told, and reads on.
//!
//! What a dead worker left cannot wait. If everything weighs more than [`MOST_OF_ALL`] it is read
//! and dropped, and its length is told: workers that come and go, each with a few last words, are
//! no way around the limit.

use crate::inlet::Inlet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many bytes may weigh on a worker before it is not read any more.
pub(crate) const MOST: usize = 256 << 10;

/// How many bytes may weigh on all before the last words of the dead are dropped.
pub(crate) const MOST_OF_ALL: usize = 64 << 20;

/// What a word costs beside its bytes, about.
pub(crate) const EACH: usize = 128;

/// One thing that the listener has to deal with.
pub enum Word {
    /// A worker, by the number of its station and its pid, said something.
    Said {
        /// Of its station.
        station: u32,
        /// Of its process.
        pid: i32,
        /// Where.
        inlet: Inlet,
        /// What.
        bytes: Box<[u8]>,
        /// To be lifted once it is dealt with.
        weight: Weight,
    },
    /// The worker is gone; so many bytes of its last words were dropped.
    Gone {
        /// Of its station.
        station: u32,
        /// Of its process.
        pid: i32,
        /// Bytes.
        lost: usize,
    },
    /// Nothing follows.
    Over,
}

/// A sum of weights.
#[derive(Clone, Default)]
pub(crate) struct Load(Arc<AtomicUsize>);

impl Load {
    pub(crate) fn bytes(&self) -> usize {
        // ORDERING: Acquire pairs with the Release in `drop`; the bell that follows that orders
        // the rest.
        self.0.load(Ordering::Acquire)
    }
}

/// What one word weighs, on its worker and on the pool.
pub struct Weight {
    bytes: usize,
    loads: [Load; 2],
}

impl Weight {
    pub(crate) fn new(len: usize, worker: &Load, pool: &Load) -> Self {
        let (bytes, loads) = (len + EACH, [worker.clone(), pool.clone()]);
        for load in &loads {
            load.0.fetch_add(bytes, Ordering::Relaxed);
        }
        Self { bytes, loads }
    }

    /// Lifts it. Whether its worker may be read again.
    pub(crate) fn lift(self) -> bool {
        let (bytes, worker) = (self.bytes, self.loads[0].clone());
        drop(self);
        let left = worker.bytes();
        left < MOST / 2 && left + bytes >= MOST / 2
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        for load in &self.loads {
            // ORDERING: Release pairs with the Acquire in `bytes`.
            load.0.fetch_sub(self.bytes, Ordering::Release);
        }
    }
}
