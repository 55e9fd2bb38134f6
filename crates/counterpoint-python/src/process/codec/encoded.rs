//! [`Encoded`]: what an encoder makes.

use super::format::OUTSIDE;
use pyo3::buffer::PyUntypedBuffer;
use pyo3::prelude::*;

/// Gives the object that holds out-of-band buffer n of a record: one with the writable buffer
/// protocol, which what is decoded may keep.
pub type Buffers<'a> = dyn FnMut(u32) -> PyResult<Py<PyAny>> + 'a;

/// Memory of a Python object that does not move or shrink as long as this lives. Its content may
/// still change: read it as foreign memory. May be dropped by any thread.
pub struct Buffer(PyUntypedBuffer);

impl Buffer {
    /// The memory of `object`, which must be contiguous.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        PyUntypedBuffer::get(object).map(Self)
    }

    /// Where it begins.
    pub fn as_ptr(&self) -> *const u8 {
        self.0.buf_ptr().cast()
    }

    /// How long it is, in bytes.
    pub fn len(&self) -> usize {
        self.0.len_bytes()
    }
}

/// A record and the buffers that it names. An encoder appends one record and its buffers, and
/// nothing if it fails; a reused one keeps its memory.
#[derive(Default)]
pub struct Encoded {
    /// The record.
    pub bytes: Vec<u8>,
    /// What travels beside it, by number.
    pub buffers: Vec<Buffer>,
}

impl Encoded {
    /// Empties it for the next record.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.buffers.clear();
    }

    /// Runs `write`; takes back what it appended if it failed.
    #[inline(always)]
    pub(super) fn append<E>(
        &mut self,
        write: impl FnOnce(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        let (bytes, buffers) = (self.bytes.len(), self.buffers.len());
        let written = write(self);
        if written.is_err() {
            self.bytes.truncate(bytes);
            self.buffers.truncate(buffers);
        }
        written
    }

    /// Adds a buffer; its number.
    pub(super) fn attach(&mut self, object: &Bound<'_, PyAny>) -> PyResult<u32> {
        self.buffers.push(Buffer::of(object)?);
        Ok(self.buffers.len() as u32 - 1)
    }

    /// Appends a number.
    pub(super) fn put_u32(&mut self, number: u32) {
        self.bytes.extend_from_slice(&number.to_le_bytes());
    }
}

/// Whether a buffer of this length travels out of band.
pub fn is_outside(length: usize) -> bool {
    length >= OUTSIDE
}
