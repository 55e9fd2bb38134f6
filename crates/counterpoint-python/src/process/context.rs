//! Context variables on their way to a task.
//!
//! | record | layout |
//! |---|---|
//! | call in a context | `IN_CONTEXT`, length: u32, what `_process.contexts` makes of it, call |
//!
//! Each task runs in a copy of its worker's context, so what it sets the next one does not see.

use super::codec::{Encoded, IN_CONTEXT};
use counterpoint_pool::wire::Reader;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyBytes;

/// Puts the current context in front of a call, unless it is empty.
#[inline]
pub fn encode(py: Python<'_>, out: &mut Encoded) -> PyResult<()> {
    let context = copy_current(py)?;
    // SAFETY: a live context, whose length no Python code computes.
    match unsafe { ffi::PyObject_Size(context.as_ptr()) } {
        0 => Ok(()),
        _ => encode_some(&context, out),
    }
}

/// A copy of this thread's context.
#[inline]
pub fn copy_current(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: attached; a new reference or null with an exception set.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent()) }
}

#[cold]
fn encode_some(context: &Bound<'_, PyAny>, out: &mut Encoded) -> PyResult<()> {
    static DUMPS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let py = context.py();
    let dumps = DUMPS.import(py, "counterpoint._process.contexts", "dump_context")?;
    let bytes: Option<Bound<'_, PyBytes>> = dumps.call1((context,))?.extract()?;
    let Some(bytes) = bytes else { return Ok(()) };
    let bytes = bytes.as_bytes();
    out.bytes.push(IN_CONTEXT);
    out.bytes.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.bytes.extend_from_slice(bytes);
    Ok(())
}

/// The context of a call, and the rest of its record.
#[inline]
pub fn decode<'py, 'r>(
    py: Python<'py>,
    record: &'r [u8],
) -> PyResult<(Bound<'py, PyAny>, &'r [u8])> {
    match record.first() {
        Some(&IN_CONTEXT) => decode_some(py, record),
        _ => Ok((copy_current(py)?, record)),
    }
}

#[cold]
fn decode_some<'py, 'r>(
    py: Python<'py>,
    record: &'r [u8],
) -> PyResult<(Bound<'py, PyAny>, &'r [u8])> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let mut reader = Reader(&record[1..]);
    let damaged = || super::codec::damaged(py, "a context that is cut off");
    let length = reader.u32().ok_or_else(damaged)? as usize;
    let (bytes, rest) = reader.0.split_at_checked(length).ok_or_else(damaged)?;
    let loads = LOADS.import(py, "counterpoint._process.contexts", "load_context")?;
    Ok((loads.call1((PyBytes::new(py, bytes),))?, rest))
}

/// Runs `f` in a context that nobody else has entered.
#[inline]
pub fn run<R>(context: &Bound<'_, PyAny>, f: impl FnOnce() -> PyResult<R>) -> PyResult<R> {
    // SAFETY: a live context; entered and left by this thread, in this order.
    if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
        return Err(crate::boundary::fetch(context.py()));
    }
    let result = f();
    // SAFETY: as above. It fails if the task has left the context, which nobody can do from Python.
    if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
        return Err(crate::boundary::fetch(context.py()));
    }
    result
}
