//! `counterpoint._core.ProcessQueue`: a queue between processes.

use super::parcel::{Packed, unpack, with_encoded, with_inbox};
use super::place::{received, unusable};
use crate::boundary::{block_outside, halts_at_exit, outside_deadline};
use crate::queue::denied;
use counterpoint_shm::channel::{Channel, Inbox, Refusal, UNBOUNDED};
use counterpoint_shm::sync::Owner;
use counterpoint_sync::queue::Denied;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A queue. What is put is in shared memory when `put` returns.
#[pyclass(frozen, subclass, weakref, module = "counterpoint._core")]
pub struct ProcessQueue {
    channel: Arc<Channel>,
    /// By this object: its process is done with it.
    closed: AtomicBool,
    /// This object has put something.
    used: AtomicBool,
}

/// How many items are encoded before they are put.
const BATCH: usize = 128;

/// How an attempt that is not to be repeated ended.
type Ended = Result<usize, Refusal>;

fn once(result: Result<usize, Refusal>) -> Result<Ended, Refusal> {
    match result {
        Ok(count) => Ok(Ok(count)),
        Err(refusal @ (Refusal::Shut | Refusal::Corrupt)) => Ok(Err(refusal)),
        Err(refusal) => Err(refusal),
    }
}

fn refused(py: Python<'_>, refusal: Refusal) -> PyErr {
    match refusal {
        Refusal::Shut => denied(py, Denied::ShutDown),
        _ => crate::process::codec::damaged(py, "a shape that no queue makes"),
    }
}

impl ProcessQueue {
    fn put_packed(
        &self,
        py: Python<'_>,
        deadline: Option<u64>,
        parcels: &[(Packed, std::ops::Range<usize>)],
        bytes: &[u8],
    ) -> PyResult<Option<usize>> {
        let (channel, me) = (&self.channel, Owner::me());
        self.used.store(true, Ordering::Relaxed);
        let attempt = |insist| {
            let parcels = parcels.iter().map(|(packed, at)| packed.parcel(&bytes[at.clone()]));
            once(channel.try_put(me, insist, parcels))
        };
        let sleep = |refusal, until| channel.sleep_to_put(refusal, until);
        match block_outside(py, deadline, attempt, sleep)? {
            Some(Ok(count)) => Ok(Some(count)),
            Some(Err(refusal)) => Err(refused(py, refusal)),
            None => Ok(None),
        }
    }

    /// Puts one value; false if there was no room in time.
    fn put_one(&self, value: &Bound<'_, PyAny>, deadline: Option<u64>) -> PyResult<bool> {
        let (py, channel) = (value.py(), &self.channel);
        with_encoded(|encoded| {
            let packed = Packed::new(channel, value, encoded)?;
            let parcel = std::iter::once(packed.parcel(&encoded.bytes));
            match channel.try_put(Owner::me(), false, parcel) {
                Ok(_) => self.used.store(true, Ordering::Relaxed),
                Err(_) => {
                    let one = [(packed, 0..encoded.bytes.len())];
                    let put = self.put_packed(py, deadline, &one, &encoded.bytes)?.is_some();
                    if put {
                        one.into_iter().for_each(|(packed, _)| packed.sent());
                    }
                    return Ok(put);
                }
            }
            packed.sent();
            Ok(true)
        })
    }

    /// Takes so many at most into `inbox`; false if there was none in time.
    fn take(
        &self,
        py: Python<'_>,
        most: usize,
        deadline: Option<u64>,
        inbox: &mut Inbox,
    ) -> PyResult<bool> {
        let (channel, me) = (&self.channel, Owner::me());
        if channel.try_take(me, false, most, inbox).is_ok() {
            return Ok(true);
        }
        let now = deadline == Some(0);
        let attempt = |insist| {
            let taken = channel.try_take(me, insist, most, inbox);
            let soon = taken == Err(Refusal::Empty) && !now && channel.comes_soon();
            once(if soon { channel.try_take(me, insist, most, inbox) } else { taken })
        };
        let sleep = |refusal, until| channel.sleep_to_take(refusal, until);
        match block_outside(py, deadline, attempt, sleep)? {
            Some(Ok(_)) => Ok(true),
            Some(Err(refusal)) => Err(refused(py, refusal)),
            None => Ok(false),
        }
    }

    fn check_open(slf: &Bound<'_, Self>) -> PyResult<()> {
        if !slf.get().closed.load(Ordering::Relaxed) {
            return Ok(());
        }
        Err(PyValueError::new_err(format!("Queue {} is closed", slf.repr()?)))
    }

    fn put_batch<'py>(
        &self,
        items: &mut Bound<'py, pyo3::types::PyIterator>,
        deadline: Option<u64>,
    ) -> PyResult<bool> {
        let py = items.py();
        with_encoded(|encoded| {
            let mut batch = Vec::new();
            let mut bytes = Vec::new();
            for item in items.take(BATCH) {
                encoded.clear();
                let packed = Packed::new(&self.channel, &item?, encoded)?;
                let start = bytes.len();
                bytes.extend_from_slice(&encoded.bytes);
                batch.push((packed, start..bytes.len()));
            }
            let full = batch.len() == BATCH;
            while !batch.is_empty() {
                let Some(put) = self.put_packed(py, deadline, &batch, &bytes)? else {
                    return Err(denied(py, Denied::Full));
                };
                batch.drain(..put).for_each(|(packed, _)| packed.sent());
            }
            Ok(full)
        })
    }
}

#[pymethods]
impl ProcessQueue {
    #[new]
    #[pyo3(signature = (maxsize = 0, *_args, _fd = None, **_kwargs))]
    fn new(
        maxsize: i64,
        _args: &Bound<'_, PyTuple>,
        _fd: Option<i32>,
        _kwargs: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let limit = if maxsize <= 0 { UNBOUNDED } else { maxsize as u64 };
        let channel = match _fd {
            None => Channel::create(limit),
            Some(fd) => Channel::adopt(received(fd)),
        };
        let (closed, used) = (AtomicBool::new(false), AtomicBool::new(false));
        Ok(Self { channel: channel.map_err(unusable)?, closed, used })
    }

    /// Puts an item; waits for room for `timeout` seconds at most.
    #[pyo3(signature = (obj, block = true, timeout = None))]
    fn put(
        slf: &Bound<'_, Self>,
        obj: &Bound<'_, PyAny>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        Self::check_open(slf)?;
        let deadline = outside_deadline(block, timeout)?;
        if slf.get().put_one(obj, deadline)? { Ok(()) } else { Err(denied(slf.py(), Denied::Full)) }
    }

    /// Puts an item if there is room.
    fn put_nowait(slf: &Bound<'_, Self>, obj: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::put(slf, obj, false, None)
    }

    /// Takes an item out; waits for one for `timeout` seconds at most.
    #[pyo3(signature = (block = true, timeout = None))]
    fn get<'py>(
        slf: &Bound<'py, Self>,
        block: bool,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        Self::check_open(slf)?;
        let (py, queue) = (slf.py(), slf.get());
        let deadline = outside_deadline(block, timeout)?;
        with_inbox(|inbox| match queue.take(py, 1, deadline, inbox)? {
            true => unpack(py, &queue.channel, inbox.get(0)),
            false => Err(denied(py, Denied::Empty)),
        })
    }

    /// Takes an item out if there is one.
    fn get_nowait<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        Self::get(slf, false, None)
    }

    /// Puts all items, many at a time; waits for room for `timeout` seconds at most.
    #[pyo3(signature = (items, timeout = None))]
    fn put_many(
        slf: &Bound<'_, Self>,
        items: &Bound<'_, PyAny>,
        timeout: Option<f64>,
    ) -> PyResult<()> {
        Self::check_open(slf)?;
        let deadline = outside_deadline(true, timeout)?;
        halts_at_exit();
        let mut items = items.try_iter()?;
        while slf.get().put_batch(&mut items, deadline)? {}
        Ok(())
    }

    /// Takes `max` items at most, one at least; waits for that for `timeout` seconds at most.
    #[pyo3(signature = (max, timeout = None))]
    fn get_many<'py>(
        slf: &Bound<'py, Self>,
        max: isize,
        timeout: Option<f64>,
    ) -> PyResult<Bound<'py, PyList>> {
        Self::check_open(slf)?;
        let max = match usize::try_from(max) {
            Ok(max) if max > 0 => max,
            _ => return Err(PyValueError::new_err(format!("max must be at least 1, not {max}"))),
        };
        let (py, queue) = (slf.py(), slf.get());
        let deadline = outside_deadline(true, timeout)?;
        with_inbox(|inbox| {
            if !queue.take(py, max, deadline, inbox)? {
                return Err(denied(py, Denied::Empty));
            }
            let items = PyList::empty(py);
            for at in 0..inbox.len() {
                items.append(unpack(py, &queue.channel, inbox.get(at))?)?;
            }
            Ok(items)
        })
    }

    /// How many items there are.
    fn qsize(&self) -> u64 {
        self.channel.len()
    }

    /// Whether there are none.
    fn empty(&self) -> bool {
        self.channel.is_empty()
    }

    /// Whether there are as many as there may be.
    fn full(&self) -> bool {
        self.channel.is_full()
    }

    /// Accepts no more items, in any process. With `immediate`, drops those that there are.
    #[pyo3(signature = (immediate = false))]
    fn shutdown(&self, py: Python<'_>, immediate: bool) {
        let channel = &self.channel;
        py.detach(|| if immediate { channel.close() } else { channel.shut() });
    }

    /// The most items there may be; 0 for any number.
    #[getter]
    fn _limit(&self) -> u64 {
        let limit = self.channel.limit();
        if limit == UNBOUNDED { 0 } else { limit }
    }

    /// Whether it was shut down.
    #[getter]
    fn is_shutdown(&self) -> bool {
        self.channel.is_shut()
    }

    /// This process is done with it. Whether it has put anything.
    fn _close(&self) -> bool {
        self.closed.store(true, Ordering::Relaxed);
        self.used.load(Ordering::Relaxed)
    }

    #[getter]
    fn _closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// How many items were put and not finished.
    fn _unfinished(&self) -> u64 {
        self.channel.unfinished()
    }

    /// An item is finished; False if there is none that was not.
    fn _finish(&self) -> bool {
        self.channel.finish(1)
    }

    /// Waits until all items are finished; False if that took longer than `timeout` seconds.
    #[pyo3(signature = (timeout = None))]
    fn _join(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        let channel = &self.channel;
        let attempt = |_| if channel.unfinished() == 0 { Ok(()) } else { Err(()) };
        let sleep = |(), until| channel.sleep_to_join(until);
        let deadline = outside_deadline(true, timeout)?;
        Ok(block_outside(py, deadline, attempt, sleep)?.is_some())
    }

    fn _fd(&self) -> i32 {
        self.channel.fd().as_raw_fd()
    }
}
