//! Exceptions that tasks ended with.

use super::chunk;
use super::encoded::{Buffers, Encoded};
use super::fault::Fault;
use super::format::EXCEPTION;
use super::pickling::Pickling;
use super::result::read_stream;
use pyo3::prelude::*;

/// Appends an exception to `out`, with its traceback as text. One that cannot be pickled is
/// replaced by the error of trying.
pub fn encode_exception(error: &Bound<'_, PyAny>, out: &mut Encoded) -> PyResult<()> {
    out.append(|out| {
        let stream = Pickling::get(error.py())?.dumps_exception(error)?;
        out.bytes.push(EXCEPTION);
        chunk::write(out, &stream)
    })
}

/// The exception that a record holds, its cause being the traceback's text. One that cannot be
/// unpickled here is replaced by an `UnpicklingError` that describes it. Raises for what is no
/// such record.
pub fn decode_exception<'py>(
    py: Python<'py>,
    record: &[u8],
    buffers: &mut Buffers<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let stream = match record.first() {
        Some(&EXCEPTION) => read_stream(py, record, buffers),
        _ => Err(Fault::Damaged("another kind than that of an exception")),
    };
    let (stream, outside) = stream.map_err(|fault| fault.into_error(py))?;
    Pickling::get(py)?.loads_exception(&stream, &outside)
}
