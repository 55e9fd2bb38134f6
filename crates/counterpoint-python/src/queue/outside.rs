//! Comparing in Python: with the items taken out of the queue, and no lock held.

use super::errors::{denied, within_itself};
use super::kind::{ItemOf, Kind, PopOf};
use super::layout::RawQueue;
use super::object::Object;
use crate::boundary::{Timeout, thread_owner, wake};
use counterpoint_sync::queue::blocks::Blocks;
use counterpoint_sync::queue::{Change, Store};
use pyo3::prelude::*;

/// The store of a queue that is busy with this thread; comes back when `finish` is called.
struct CheckedOut<'a, K: Kind> {
    queue: &'a RawQueue<K>,
    store: K::Store,
    change: Change,
}

impl<'a, K: Kind> CheckedOut<'a, K> {
    fn new(py: Python<'_>, queue: &'a RawQueue<K>) -> Self {
        let store = queue.state.with(py, |state| state.check_out());
        Self { queue, store, change: Change::default() }
    }

    /// Stores what was put from within comparisons, then gives the store back. An item of those
    /// that cannot be compared is dropped: the call that put it has returned.
    fn finish(mut self, py: Python<'_>) {
        let next = |store: &K::Store| self.queue.state.with(py, |state| state.next_in_inbox(store));
        while let Some(item) = next(&self.store) {
            match K::push(py, &mut self.store, item) {
                Ok(()) => self.change.put += 1,
                Err((error, item)) => error.write_unraisable(py, Some(&K::object(item).bind(py))),
            }
        }
        let Self { queue, store, change } = self;
        drop(wake(py, &queue.state, |state, wakes| state.check_in(store, change, wakes)));
    }
}

/// Ends a put that was left undecided: stores `item` (`None`: it is in already) and, while the queue
/// is then over its bound and does that at all, throws the oldest away, to `dropped`.
pub fn put<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    item: Option<ItemOf<K>>,
    dropped: &mut Blocks<ItemOf<K>>,
) -> PyResult<()> {
    let mut out = CheckedOut::new(py, queue);
    let result = store_one(py, &mut out, item, dropped);
    out.finish(py);
    result
}

fn store_one<K: Kind>(
    py: Python<'_>,
    out: &mut CheckedOut<'_, K>,
    item: Option<ItemOf<K>>,
    dropped: &mut Blocks<ItemOf<K>>,
) -> PyResult<()> {
    if let Some(item) = item {
        K::push(py, &mut out.store, item).map_err(|(error, item)| {
            drop(K::object(item));
            error
        })?;
        out.change.put += 1;
    }
    while out.queue.state.with(py, |state| state.drops_oldest_of(out.store.len())) {
        let oldest = K::pop_oldest(py, &mut out.store)?;
        out.change.dropped += 1;
        oldest.into_iter().for_each(|item| dropped.push_back(item));
    }
    Ok(())
}

/// Ends a get that was left undecided.
pub fn get<K: Kind>(py: Python<'_>, queue: &RawQueue<K>) -> PopOf<K> {
    let mut out = CheckedOut::new(py, queue);
    let item = K::pop(py, &mut out.store);
    out.change.taken += usize::from(matches!(item, Ok(Some(_))));
    out.finish(py);
    item
}

/// Ends a get of several that was left undecided after `items`. What has been taken is kept when
/// a comparison fails: only a get without any outcome raises.
pub fn get_many<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    items: &mut Vec<ItemOf<K>>,
    wanted: usize,
) -> PyResult<()> {
    let mut out = CheckedOut::new(py, queue);
    let mut result = Ok(());
    for _ in 0..wanted {
        match K::pop(py, &mut out.store) {
            Ok(Some(item)) => {
                out.change.taken += 1;
                items.push(item);
            }
            Ok(None) => break,
            Err(error) => {
                result = if items.is_empty() { Err(error) } else { Ok(()) };
                break;
            }
        }
    }
    out.finish(py);
    result
}

/// Whether this thread is comparing for this very queue, and called back.
pub fn is_within<K: Kind>(py: Python<'_>, queue: &RawQueue<K>) -> bool {
    queue.state.with(py, |state| state.is_busy_with(thread_owner()))
}

/// A put from within a comparison: the outer call finds the item when it is done.
pub fn put_within<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    item: ItemOf<K>,
    timeout: Timeout,
) -> PyResult<()> {
    let refused = queue.state.with(py, |state| state.put_in_inbox(item));
    refused.map_err(|(why, item)| {
        drop(K::object(item));
        match (why, timeout) {
            (counterpoint_sync::queue::Denied::Full, Timeout::Never) => within_itself("put"),
            _ => denied(py, why),
        }
    })
}

/// A get from within a comparison: there is nothing that it could take.
pub fn get_within(py: Python<'_>, timeout: Timeout) -> PyResult<Object> {
    Err(match timeout {
        Timeout::Now => denied(py, counterpoint_sync::queue::Denied::Empty),
        _ => within_itself("get"),
    })
}
