//! Results of tasks.

use super::chunk;
use super::encoded::{Buffers, Encoded};
use super::fault::Fault;
use super::format::PICKLE;
use super::pickling::{Pickling, Stream};
use super::read::Reader;
use super::write::Writer;
use pyo3::Borrowed;
use pyo3::prelude::*;

/// Appends a result to `out`; nothing if it cannot be pickled, and the error says which part.
#[inline]
pub fn encode_result(value: Borrowed<'_, '_, PyAny>, out: &mut Encoded) -> PyResult<()> {
    match out.append(|out| Writer::new(out).top(value)) {
        Ok(()) => Ok(()),
        Err(_) => out.append(|out| pickle(value, out)),
    }
}

/// The same for an item of a queue, whose errors are pickle's own.
#[inline]
pub fn encode_item(value: Borrowed<'_, '_, PyAny>, out: &mut Encoded) -> PyResult<()> {
    match out.append(|out| Writer::new(out).top(value)) {
        Ok(()) => Ok(()),
        Err(_) => out.append(|out| write_stream(&Pickling::get(value.py())?.dumps(&value)?, out)),
    }
}

#[cold]
fn pickle(value: Borrowed<'_, '_, PyAny>, out: &mut Encoded) -> PyResult<()> {
    let pickling = Pickling::get(value.py())?;
    let stream = pickling.dumps(&value).map_err(|error| pickling.blame_result(&value, error))?;
    write_stream(&stream, out)
}

fn write_stream(stream: &Stream<'_>, out: &mut Encoded) -> PyResult<()> {
    out.bytes.push(PICKLE);
    chunk::write(out, stream)
}

/// The result that a record holds. Raises what its unpickling raises, or `UnpicklingError` for
/// what is no such record.
#[inline]
pub fn decode_result<'py>(
    py: Python<'py>,
    record: &[u8],
    buffers: &mut Buffers<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    if record.first() == Some(&PICKLE) {
        return unpickle(py, record, buffers);
    }
    let mut reader = Reader::new(record);
    let value = reader.top(py, buffers).and_then(|value| reader.end().map(|()| value));
    value.map_err(|fault| fault.into_error(py))
}

#[cold]
fn unpickle<'py>(
    py: Python<'py>,
    record: &[u8],
    buffers: &mut Buffers<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    let (stream, outside) =
        read_stream(py, record, buffers).map_err(|fault| fault.into_error(py))?;
    Pickling::get(py)?.loads(&stream, &outside)
}

/// The stream that is all of a record but its tag.
pub fn read_stream<'py>(
    py: Python<'py>,
    record: &[u8],
    buffers: &mut Buffers<'_>,
) -> Result<chunk::Loadable<'py>, Fault> {
    let mut reader = Reader::new(record);
    reader.u8()?;
    let stream = chunk::read(py, &mut reader, buffers)?;
    reader.end().map(|()| stream)
}
