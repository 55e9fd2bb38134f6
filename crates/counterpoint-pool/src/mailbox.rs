//! [`Mailbox`]: what the dispatcher leaves for somebody attached to do.

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
    /// A message of a worker.
    Message(u32, Box<[u8]>),
    /// Tasks of event loops that may go on.
    Wakes(Wakes<N>),
    /// The pool is over; nothing follows.
    Over,
}

/// News in order of arrival, for one reader.
pub struct Mailbox<N, K> {
    news: Mutex<VecDeque<News<N, K>>>,
    some: Condvar,
}

impl<N, K> Default for Mailbox<N, K> {
    fn default() -> Self {
        Self { news: Mutex::new(VecDeque::new()), some: Condvar::new() }
    }
}

impl<N, K> Mailbox<N, K> {
    /// Adds news. `true`: the reader is to be [notified](Self::notify).
    #[must_use]
    pub fn add(&self, news: impl IntoIterator<Item = News<N, K>>) -> bool {
        let mut all = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all.len();
        all.extend(news);
        before == 0 && !all.is_empty()
    }

    /// Wakes the reader.
    pub fn notify(&self) {
        self.some.notify_one();
    }

    /// All that is there, once there is something.
    pub fn wait(&self) -> VecDeque<News<N, K>> {
        let mut all = self.news.lock().unwrap_or_else(PoisonError::into_inner);
        while all.is_empty() {
            all = self.some.wait(all).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut all)
    }
}
