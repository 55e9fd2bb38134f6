//! What is put into a channel, and what comes out of it: values of Python as records.

use crate::boundary::halts_at_exit;
use crate::process::block::Block;
use crate::process::codec::{Encoded, damaged, decode_result, encode_item};
use crate::process::payload::{Target, place};
use counterpoint_shm::channel::{Channel, Held, INLINE, Inbox, Parcel, Run};
use pyo3::prelude::*;
use std::cell::Cell;
use std::sync::Arc;

thread_local! {
    /// Kept for the next record; gone while one is being made, as that may put another.
    static ENCODED: Cell<Option<Box<Encoded>>> = const { Cell::new(None) };
    static INBOX: Cell<Option<Box<Inbox>>> = const { Cell::new(None) };
}

/// From how many bytes on memory is not kept for the next record.
const KEEP: usize = 64 << 10;

/// Runs `work` with an empty record.
pub fn with_encoded<R>(work: impl FnOnce(&mut Encoded) -> R) -> R {
    halts_at_exit();
    let mut encoded = ENCODED.take().unwrap_or_default();
    let result = work(&mut encoded);
    encoded.clear();
    if encoded.bytes.capacity() <= KEEP {
        ENCODED.set(Some(encoded));
    }
    result
}

/// Runs `work` with an empty inbox.
pub fn with_inbox<R>(work: impl FnOnce(&mut Inbox) -> R) -> R {
    halts_at_exit();
    let mut inbox = INBOX.take().unwrap_or_default();
    let result = work(&mut inbox);
    inbox.clear();
    if inbox.capacity() <= KEEP {
        INBOX.set(Some(inbox));
    }
    result
}

impl Target for Held {
    fn memory(&mut self) -> *mut u8 {
        self.as_ptr()
    }
}

/// A value, ready to be put.
#[derive(Default)]
pub struct Packed {
    /// What is freed if it is not put.
    pub held: Vec<Held>,
    runs: Vec<Run>,
    apart: bool,
}

impl Packed {
    /// Encodes a value to the end of `encoded`, and what is large into runs.
    #[inline]
    pub fn new(
        channel: &Arc<Channel>,
        value: &Bound<'_, PyAny>,
        encoded: &mut Encoded,
    ) -> PyResult<Self> {
        encode_item(value.as_borrowed(), encoded)?;
        let apart = encoded.bytes.len() > INLINE;
        if encoded.buffers.is_empty() && !apart {
            return Ok(Self::default());
        }
        let held = place(value.py(), encoded, apart, |len| channel.alloc(len))?;
        let runs = held.iter().map(Held::run).collect();
        Ok(Self { held, runs, apart })
    }

    /// As the channel takes it; `content` is what was encoded.
    #[inline]
    pub fn parcel<'a>(&'a self, content: &'a [u8]) -> Parcel<'a> {
        let content = if self.apart { &[] } else { content };
        Parcel { runs: &self.runs, content, apart: self.apart }
    }

    /// It was put.
    #[inline]
    pub fn sent(self) {
        self.held.into_iter().for_each(Held::sent);
    }
}

/// The value of a record that was taken.
#[inline]
pub fn unpack<'py>(
    py: Python<'py>,
    channel: &Arc<Channel>,
    (content, runs, apart): (&[u8], &[Run], bool),
) -> PyResult<Bound<'py, PyAny>> {
    if runs.is_empty() {
        let missing = &mut |_| Err(damaged(py, "a buffer that did not come with it"));
        return decode_result(py, content, missing);
    }
    let mut held: Vec<_> = runs.iter().map(|run| Some(channel.held(*run))).collect();
    let own = if apart { held.pop().flatten() } else { None };
    let content = match &own {
        // SAFETY: the run is held by this thread, and nobody else writes to it; what is in it is
        // checked like any other record.
        Some(own) => unsafe { std::slice::from_raw_parts(own.as_ptr(), own.len()) },
        None => content,
    };
    let buffers = &mut |number: u32| {
        let run = held.get_mut(number as usize).and_then(Option::take);
        let run = run.ok_or_else(|| damaged(py, "a buffer that did not come with it"))?;
        Block::of_channel(py, run)
    };
    decode_result(py, content, buffers)
}
