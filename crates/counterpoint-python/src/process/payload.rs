//! What is sent: from an encoded record to blocks and bytes.

use super::codec::{Buffer, Encoded};
use counterpoint_pool::{Loan, Record, wire};
use counterpoint_shm::arena::Arena;
use pyo3::exceptions::PyMemoryError;
use pyo3::prelude::*;
use std::sync::{Arc, Mutex};

/// From how many bytes on copying lets other threads run meanwhile.
const LONG_COPY: usize = 256 << 10;

/// A place that is to be filled with bytes, in shared memory.
pub trait Target {
    /// Where; as long as asked for.
    fn memory(&mut self) -> *mut u8;
}

impl Target for Loan {
    fn memory(&mut self) -> *mut u8 {
        self.as_mut_ptr()
    }
}

/// Puts an encoded record into blocks of `arena` and bytes.
pub fn pack(
    py: Python<'_>,
    encoded: &Encoded,
    arena: impl FnOnce() -> PyResult<Arc<Mutex<Arena>>>,
) -> PyResult<Record<Arc<Loan>>> {
    let apart = encoded.bytes.len() > wire::INLINE;
    if encoded.buffers.is_empty() && !apart {
        let bytes = encoded.bytes.as_slice().into();
        return Ok(Record { bytes, blocks: Box::default(), apart, parcels: Box::default() });
    }
    let arena = arena()?;
    let blocks = place(py, encoded, apart, |len| Loan::new(&arena, len))?;
    let bytes = if apart { Box::default() } else { encoded.bytes.as_slice().into() };
    let blocks = blocks.into_iter().map(Arc::new).collect();
    Ok(Record { bytes, blocks, apart, parcels: Box::default() })
}

/// Copies the buffers, and the record itself if it goes apart, into targets.
pub fn place<T: Target>(
    py: Python<'_>,
    encoded: &Encoded,
    apart: bool,
    mut make: impl FnMut(usize) -> Option<T>,
) -> PyResult<Vec<T>> {
    if encoded.buffers.len() >= wire::MAX_BLOCKS {
        let text = format!("more than {} large buffers in one task", wire::MAX_BLOCKS - 1);
        return Err(PyMemoryError::new_err(text));
    }
    let mut blocks = Vec::with_capacity(encoded.buffers.len() + 1);
    for buffer in &encoded.buffers {
        let mut block = make(buffer.len()).ok_or_else(full)?;
        copy(py, Source::of(buffer), block.memory());
        blocks.push(block);
    }
    if apart {
        let mut block = make(encoded.bytes.len()).ok_or_else(full)?;
        copy(py, Source(encoded.bytes.as_ptr(), encoded.bytes.len()), block.memory());
        blocks.push(block);
    }
    Ok(blocks)
}

fn full() -> PyErr {
    PyMemoryError::new_err("the pool's shared memory is full: submit fewer large arguments at once")
}

/// Memory that is read.
struct Source(*const u8, usize);

impl Source {
    fn of(buffer: &Buffer) -> Self {
        Self(buffer.as_ptr(), buffer.len())
    }
}

fn copy(py: Python<'_>, Source(from, len): Source, to: *mut u8) {
    // As integers, which may cross into the closure; they stay valid, as the buffer is held by the
    // caller, which waits.
    let (from, to) = (from as usize, to as usize);
    // SAFETY: both are `len` long and do not overlap. That other threads may write to the source
    // meanwhile is as in any copy of a Python buffer: the bytes are then theirs to blame.
    let copy = move || unsafe {
        std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, len);
    };
    if len < LONG_COPY { copy() } else { py.detach(copy) }
}
