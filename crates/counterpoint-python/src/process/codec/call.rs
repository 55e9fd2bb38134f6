//! Calls: a function and its arguments, in the order of vectorcall.

use super::chunk;
use super::encoded::{Buffers, Encoded};
use super::fault::Fault;
use super::format::*;
use super::functions::Functions;
use super::intern::Function;
use super::pickling::{Part, Pickling};
use super::read::{Reader, outside};
use super::write::{Unfit, Writer, outside_tag};
use pyo3::Borrowed;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

mod arguments;

pub use arguments::Call;

type Arguments<'a, 'py> = &'a [Borrowed<'a, 'py, PyAny>];
type Names<'a, 'py> = Option<Borrowed<'a, 'py, PyTuple>>;

/// Appends a call to `out`: `arguments` are positional but for the last, which `names` names.
///
/// If it cannot be pickled nothing is appended, and the error says which part of the call it is.
/// (`Borrowed` has the layout of a pointer: a vectorcall's arguments are such a slice.)
#[inline]
pub fn encode_call(
    function: Function<'_, '_>,
    arguments: Arguments<'_, '_>,
    names: Names<'_, '_>,
    out: &mut Encoded,
) -> PyResult<()> {
    match out.append(|out| write(function, arguments, names, out)) {
        Ok(()) => Ok(()),
        Err(Unfit) => out.append(|out| pickle(function, arguments, names, out)),
    }
}

#[inline(always)]
fn write(
    function: Function<'_, '_>,
    arguments: Arguments<'_, '_>,
    names: Names<'_, '_>,
    out: &mut Encoded,
) -> Result<(), Unfit> {
    let [a, b, c, d] = function.id.ok_or(Unfit)?.to_le_bytes();
    let count = u8::try_from(arguments.len()).map_err(|_| Unfit)?;
    let mut writer = Writer::new(out);
    writer.put([if names.is_some() { NAMED_CALL } else { CALL }, a, b, c, d, count]);
    arguments.iter().try_for_each(|argument| writer.top(*argument))?;
    names.map_or(Ok(()), |names| writer.value(names.as_any().as_borrowed(), 0))
}

#[cold]
fn pickle(
    function: Function<'_, '_>,
    arguments: Arguments<'_, '_>,
    names: Names<'_, '_>,
    out: &mut Encoded,
) -> PyResult<()> {
    let py = function.object.py();
    let places = places(arguments);
    let mut parts: Vec<Bound<'_, PyAny>> = Vec::with_capacity(arguments.len() + 2);
    parts.extend(function.id.is_none().then(|| Bound::clone(&function.object)));
    let first = parts.len();
    parts.extend(arguments.iter().map(|argument| Bound::clone(argument)));
    parts.extend(names.map(|names| names.as_any().clone()));
    places.iter().for_each(|(at, _)| parts[first + at] = py.None().into_bound(py));
    let pickling = Pickling::get(py)?;
    let stream = pickling
        .dumps(PyTuple::new(py, parts)?.as_any())
        .map_err(|error| blame(pickling, function, arguments, names, error))?;
    let shape = if function.id.is_none() { HAS_FUNCTION } else { 0 }
        | if names.is_some() { HAS_NAMES } else { 0 };
    out.bytes.extend_from_slice(&[PICKLED_CALL, shape]);
    out.put_u32(function.id.unwrap_or(0));
    out.bytes.push(places.len() as u8);
    for (at, tag) in places {
        let number = out.attach(&arguments[at])?;
        out.put_u32(at as u32);
        out.bytes.push(tag);
        out.put_u32(number);
    }
    chunk::write(out, &stream)
}

/// Which arguments are not pickled, as they are large and travel out of band. A bytearray that is
/// two arguments must arrive as one, which is for pickle.
fn places(arguments: Arguments<'_, '_>) -> Vec<(usize, u8)> {
    let single = |at: usize| {
        let same = |other: &&Borrowed<'_, '_, PyAny>| other.is(arguments[at]);
        arguments.iter().filter(same).count() == 1
    };
    let tags = arguments.iter().enumerate();
    let large = tags.filter_map(|(at, argument)| outside_tag(*argument).map(|tag| (at, tag)));
    large.filter(|(at, tag)| *tag == OUTSIDE_BYTES || single(*at)).take(u8::MAX as usize).collect()
}

fn blame(
    pickling: &Pickling,
    function: Function<'_, '_>,
    arguments: Arguments<'_, '_>,
    names: Names<'_, '_>,
    error: PyErr,
) -> PyErr {
    let py = function.object.py();
    let positional = arguments.len() - names.map_or(0, |names| names.len());
    let (positional, named) = arguments.split_at(positional);
    let keywords = PyDict::new(py);
    for (name, value) in names.iter().flat_map(|names| names.iter()).zip(named) {
        if let Err(error) = keywords.set_item(name, value) {
            return error;
        }
    }
    match PyTuple::new(py, positional) {
        Ok(positional) => pickling.blame_call(&function.object, &positional, &keywords, error),
        Err(error) => error,
    }
}

/// The call that a record holds. Raises what unpickling a part of it raises, or `UnpicklingError`
/// for what is no such record.
#[inline]
pub fn decode_call<'py>(
    py: Python<'py>,
    record: &[u8],
    functions: &mut Functions,
    buffers: &mut Buffers<'_>,
) -> PyResult<Call<'py>> {
    let mut reader = Reader::new(record);
    let decoded = match reader.u8() {
        Ok(tag @ (CALL | NAMED_CALL)) => read(py, tag, reader, functions, buffers),
        Ok(PICKLED_CALL) => unpickle(py, reader, functions, buffers),
        Ok(_) => Err(Fault::Damaged("another kind than that of a call")),
        Err(fault) => Err(fault),
    };
    decoded.map_err(|fault| fault.into_error(py))
}

#[inline(always)]
fn read<'py>(
    py: Python<'py>,
    tag: u8,
    mut reader: Reader<'_>,
    functions: &mut Functions,
    buffers: &mut Buffers<'_>,
) -> Result<Call<'py>, Fault> {
    let (id, count) = (reader.u32()?, reader.u8()? as usize);
    let mut call = Call::new(chunk::raised(py, functions.resolve(py, id))?, count);
    for at in 0..count {
        call.set(at, reader.top(py, buffers)?);
    }
    if tag == NAMED_CALL {
        call.name(reader.value(py, 0)?)?;
    }
    reader.end().map(|()| call)
}

#[cold]
fn unpickle<'py>(
    py: Python<'py>,
    mut reader: Reader<'_>,
    functions: &mut Functions,
    buffers: &mut Buffers<'_>,
) -> Result<Call<'py>, Fault> {
    let (shape, id, places) = (reader.u8()?, reader.u32()?, reader.u8()?);
    let mut large = Vec::new();
    for _ in 0..places {
        let (at, tag, number) = (reader.u32()? as usize, reader.u8()?, reader.u32()?);
        large.push((at, outside(py, tag, number, buffers)?));
    }
    let (stream, views) = chunk::read(py, &mut reader, buffers)?;
    reader.end()?;
    // The function first: what importing it sets up may be needed by the arguments.
    let known = match shape & HAS_FUNCTION {
        0 => Some(chunk::raised(py, functions.resolve(py, id))?),
        _ => None,
    };
    let part = known.as_ref().map_or(Part::All, Part::Arguments);
    let parts = Pickling::get(py).and_then(|pickling| {
        let parts = pickling.loads(&stream, &views);
        parts.map_err(|error| pickling.note_call(error, part, py))
    });
    let parts = chunk::raised(py, parts)?;
    let parts = parts.cast_exact::<PyTuple>().map_err(|_| PARTS)?;
    let (first, last) = (known.is_none() as usize, (shape & HAS_NAMES != 0) as usize);
    let count = parts.len().checked_sub(first + last).ok_or(PARTS)?;
    let part = |at: usize| chunk::raised(py, parts.get_item(at));
    let function = known.map_or_else(|| part(0), Ok)?;
    let mut call = Call::new(function, count);
    for at in 0..count {
        call.set(at, part(first + at)?);
    }
    for (at, value) in large.into_iter() {
        if at >= count {
            return Err(PARTS);
        }
        call.set(at, value);
    }
    if last == 1 {
        call.name(part(first + count)?)?;
    }
    Ok(call)
}

const PARTS: Fault = Fault::Damaged("other parts than those of a call");
