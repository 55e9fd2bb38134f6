//! [`Mailbox`]: what the dispatcher leaves for somebody attached to do: [`News`] for the courier,
//! [words](crate::Word) for the listener.

use crate::job::{Job, Outcome};
use crate::station::StationReport;
use counterpoint_sync::waiter::Wakes;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// One thing to do.
pub enum News<N, K> {
    /// A job with a keeper ended.
    Ended(Arc<Job<N, K>>),
    /// A job that is judged failed: end it, or have it sent again.
    Judge(Arc<Job<N, K>>, Outcome),
    /// A worker is gone; these jobs it had started.
    Died(StationReport, Vec<Arc<Job<N, K>>>),
    /// A worker could not be set up: its initializer raised this.
    Unfit(Box<[u8]>),
    /// Start a worker.
    Wanted,
    /// One that was asked for has begun, or should have by now.
    Begun(u32),
    /// Tasks of event loops that may go on.
    Wakes(Wakes<N>),
    /// The pool is over; nothing follows.
    Over,
}

/// Letters in order of arrival, for one reader.
pub struct Mailbox<T> {
    letters: Mutex<VecDeque<T>>,
    some: Condvar,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self { letters: Mutex::new(VecDeque::new()), some: Condvar::new() }
    }
}

impl<T> Mailbox<T> {
    /// Adds letters. `true`: the reader is to be [notified](Self::notify).
    #[must_use]
    pub fn add(&self, letters: impl IntoIterator<Item = T>) -> bool {
        let mut all = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.extend(letters);
        before == 0 && !all.is_empty()
    }

    /// Adds one and wakes the reader.
    pub fn send(&self, letter: T) {
        if self.add([letter]) {
            self.notify();
        }
    }

    /// Wakes the reader.
    pub fn notify(&self) {
        self.some.notify_one();
    }

    /// All that is there, once there is something.
    pub fn wait(&self) -> VecDeque<T> {
        let mut all = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        while all.is_empty() {
            all = self.some.wait(all).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut all)
    }
}
