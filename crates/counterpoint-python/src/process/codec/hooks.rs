//! [`Codec`]: both ends of the codec in one process, for the tests.

use super::{
    Buffer, Buffers, Call, Encoded, Function, Functions, Interner, decode_call, decode_exception,
    decode_result, encode_call, encode_exception, encode_result,
};
use pyo3::exceptions::{PyIndexError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyDict, PyList, PyTuple};
use pyo3::{Borrowed, PyTraverseError, PyVisit};
use std::hint::black_box;
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

/// A record and copies of its buffers, which stand for the other process's memory.
type Record<'py> = (Bound<'py, PyBytes>, Vec<Bound<'py, PyByteArray>>);

/// A decoded call: function, positional arguments, keyword arguments.
type Parts<'py> = (Bound<'py, PyAny>, Bound<'py, PyTuple>, Bound<'py, PyDict>);

/// A pool's interner and a worker's table of functions.
#[pyclass(frozen, module = "counterpoint._core", name = "_Codec")]
#[derive(Default)]
pub struct Codec {
    interner: Interner,
    functions: Mutex<Functions>,
}

#[pymethods]
impl Codec {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// The function's number, or None.
    fn intern(&self, function: &Bound<'_, PyAny>) -> PyResult<Option<u32>> {
        Ok(self.interner.intern(function.as_borrowed())?.id())
    }

    /// What is sent to a worker for a number.
    fn definition<'py>(&self, py: Python<'py>, id: u32) -> Option<Bound<'py, PyBytes>> {
        self.interner.definition(id).map(|definition| PyBytes::new(py, &definition))
    }

    /// Tells the worker of a function.
    fn define(&self, py: Python<'_>, id: u32, definition: &[u8]) -> PyResult<()> {
        self.functions()?.define(py, id, definition)
    }

    #[pyo3(signature = (function, arguments = None, keywords = None))]
    fn encode_call<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        arguments: Option<Bound<'py, PyTuple>>,
        keywords: Option<Bound<'py, PyDict>>,
    ) -> PyResult<Record<'py>> {
        let py = function.py();
        let (values, names) = vectorcall(py, arguments, keywords)?;
        let mut out = Encoded::default();
        self.encode(function, &values, names.as_ref(), &mut out)?;
        Ok(record(py, out))
    }

    fn decode_call<'py>(
        &self,
        py: Python<'py>,
        record: &[u8],
        buffers: &Bound<'py, PyList>,
    ) -> PyResult<Parts<'py>> {
        parts(&self.decode(py, record, &mut yields(buffers))?)
    }

    /// Decodes a call and makes it.
    fn call<'py>(
        &self,
        py: Python<'py>,
        record: &[u8],
        buffers: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.decode(py, record, &mut yields(buffers))?.call()
    }

    fn encode_result<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Record<'py>> {
        let mut out = Encoded::default();
        encode_result(value.as_borrowed(), &mut out)?;
        Ok(record(value.py(), out))
    }

    fn decode_result<'py>(
        &self,
        py: Python<'py>,
        record: &[u8],
        buffers: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyAny>> {
        decode_result(py, record, &mut yields(buffers))
    }

    fn encode_exception<'py>(&self, error: &Bound<'py, PyAny>) -> PyResult<Record<'py>> {
        let mut out = Encoded::default();
        encode_exception(error, &mut out)?;
        Ok(record(error.py(), out))
    }

    fn decode_exception<'py>(
        &self,
        py: Python<'py>,
        record: &[u8],
        buffers: &Bound<'py, PyList>,
    ) -> PyResult<Bound<'py, PyAny>> {
        decode_exception(py, record, &mut yields(buffers))
    }

    /// Nanoseconds to encode and to decode a call, each the mean of many.
    fn time_call(
        &self,
        function: &Bound<'_, PyAny>,
        arguments: Bound<'_, PyTuple>,
        rounds: u32,
    ) -> PyResult<(f64, f64)> {
        let py = function.py();
        let (values, _) = vectorcall(py, Some(arguments), None)?;
        let mut out = Encoded::default();
        let encode = timed(rounds, || {
            out = Encoded::default();
            self.encode(function, &values, None, black_box(&mut out))
        })?;
        let mut functions = self.functions()?;
        let none = PyList::empty(py);
        let mut buffers = yields(&none);
        let decode = timed(rounds, || {
            let call = decode_call(py, &out.bytes, &mut functions, &mut buffers)?;
            drop(black_box(call));
            Ok(())
        })?;
        Ok((encode, decode))
    }

    /// Nanoseconds to encode and to decode a result, each the mean of many.
    fn time_result(&self, value: &Bound<'_, PyAny>, rounds: u32) -> PyResult<(f64, f64)> {
        let py = value.py();
        let mut out = Encoded::default();
        let encode = timed(rounds, || {
            out.clear();
            encode_result(value.as_borrowed(), black_box(&mut out))
        })?;
        let none = PyList::empty(py);
        let mut buffers = yields(&none);
        let decode = timed(rounds, || {
            drop(black_box(decode_result(py, &out.bytes, &mut buffers)?));
            Ok(())
        })?;
        Ok((encode, decode))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.interner.visit(&visit)
    }

    fn __clear__(&self, py: Python<'_>) {
        self.interner.clear(py);
    }
}

impl Codec {
    /// A worker has one thread. Waiting here, attached, could wait for ever.
    fn functions(&self) -> PyResult<MutexGuard<'_, Functions>> {
        self.functions.try_lock().map_err(|_| PyRuntimeError::new_err("decoding already"))
    }

    fn encode(
        &self,
        function: &Bound<'_, PyAny>,
        values: &[Bound<'_, PyAny>],
        names: Option<&Bound<'_, PyTuple>>,
        out: &mut Encoded,
    ) -> PyResult<()> {
        let values = borrowed(values);
        let function: Function<'_, '_> = self.interner.intern(function.as_borrowed())?;
        encode_call(function, values, names.map(Bound::as_borrowed), out)
    }

    fn decode<'py>(
        &self,
        py: Python<'py>,
        record: &[u8],
        buffers: &mut Buffers<'_>,
    ) -> PyResult<Call<'py>> {
        decode_call(py, record, &mut *self.functions()?, buffers)
    }
}

/// As a vectorcall would have them.
fn borrowed<'a, 'py>(values: &'a [Bound<'py, PyAny>]) -> &'a [Borrowed<'a, 'py, PyAny>] {
    // SAFETY: both types have the layout of a pointer, and the borrow ends before the values.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// The arguments, positional ones first, and the names of the last.
type Vectorcall<'py> = (Vec<Bound<'py, PyAny>>, Option<Bound<'py, PyTuple>>);

fn vectorcall<'py>(
    py: Python<'py>,
    arguments: Option<Bound<'py, PyTuple>>,
    keywords: Option<Bound<'py, PyDict>>,
) -> PyResult<Vectorcall<'py>> {
    let mut values: Vec<_> = arguments.iter().flatten().collect();
    let Some(keywords) = keywords.filter(|keywords| !keywords.is_empty()) else {
        return Ok((values, None));
    };
    let names: Vec<_> = keywords.keys().iter().collect();
    values.extend(keywords.values());
    Ok((values, Some(PyTuple::new(py, names)?)))
}

fn parts<'py>(call: &Call<'py>) -> PyResult<Parts<'py>> {
    let py = call.function().py();
    let (mut positional, keywords) = (Vec::new(), PyDict::new(py));
    let named = call.names().map_or(0, |names| names.len());
    let count = call.arguments().count() - named;
    for (at, value) in call.arguments().enumerate() {
        match call.names() {
            Some(names) if at >= count => {
                keywords.set_item(names.get_item(at - count)?, value)?;
            }
            _ => positional.push(value.clone()),
        }
    }
    Ok((call.function().clone(), PyTuple::new(py, positional)?, keywords))
}

fn record(py: Python<'_>, out: Encoded) -> Record<'_> {
    let copy = |buffer: &Buffer| {
        // SAFETY: the memory stays in place; nobody writes to it in these tests.
        let bytes = unsafe { std::slice::from_raw_parts(buffer.as_ptr(), buffer.len()) };
        PyByteArray::new(py, bytes)
    };
    (PyBytes::new(py, &out.bytes), out.buffers.iter().map(copy).collect())
}

fn yields(buffers: &Bound<'_, PyList>) -> impl FnMut(u32) -> PyResult<Py<PyAny>> {
    |number| {
        let buffer = buffers.get_item(number as usize);
        buffer.map(Bound::unbind).map_err(|_| PyIndexError::new_err("no such buffer"))
    }
}

fn timed(rounds: u32, mut f: impl FnMut() -> PyResult<()>) -> PyResult<f64> {
    let start = Instant::now();
    (0..rounds).try_for_each(|_| f())?;
    Ok(start.elapsed().as_nanos() as f64 / f64::from(rounds))
}
