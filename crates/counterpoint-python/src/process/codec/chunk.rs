//! Streams of pickle in a record, and the buffers that they refer to.

use super::encoded::{Buffers, Encoded, is_outside};
use super::fault::Fault;
use super::format::{APART, WITHIN};
use super::pickling::Stream;
use super::read::{Reader, bytes};
use pyo3::prelude::*;
use pyo3::types::PyList;

/// Appends a stream; itself out of band if it is large.
pub fn write(out: &mut Encoded, (stream, views): &Stream<'_>) -> PyResult<()> {
    let first = out.buffers.len() as u32;
    for view in views {
        out.attach(&view)?;
    }
    out.put_u32(first);
    out.put_u32(out.buffers.len() as u32 - first);
    let pickled = stream.as_bytes();
    if is_outside(pickled.len()) {
        let number = out.attach(stream)?;
        out.bytes.push(APART);
        out.put_u32(number);
    } else {
        out.bytes.push(WITHIN);
        out.put_u32(pickled.len() as u32);
        out.bytes.extend_from_slice(pickled);
    }
    Ok(())
}

/// A stream as `loads` takes it: what has its bytes, and a list of its buffers or None.
pub type Loadable<'py> = (Bound<'py, PyAny>, Bound<'py, PyAny>);

/// Reads a stream.
pub fn read<'py>(
    py: Python<'py>,
    reader: &mut Reader<'_>,
    buffers: &mut Buffers<'_>,
) -> Result<Loadable<'py>, Fault> {
    let (first, count) = (reader.u32()?, reader.u32()?);
    let end = first.checked_add(count).ok_or(Fault::Damaged("more buffers than there are"))?;
    let mut buffer = |number| raised(py, buffers(number));
    let stream = match reader.u8()? {
        WITHIN => {
            let length = reader.u32()? as usize;
            bytes(py, reader.take(length)?)?
        }
        APART => buffer(reader.u32()?)?.into_bound(py),
        _ => return Err(Fault::Damaged("a stream that is nowhere")),
    };
    if count == 0 {
        return Ok((stream, py.None().into_bound(py)));
    }
    let list = PyList::empty(py);
    for number in first..end {
        raised(py, list.append(buffer(number)?))?;
    }
    Ok((stream, list.into_any()))
}

/// An error of pyo3's as a fault.
pub fn raised<T>(py: Python<'_>, result: PyResult<T>) -> Result<T, Fault> {
    result.map_err(|error| {
        error.restore(py);
        Fault::Raised
    })
}
