//! [`Pickling`]: the Python half of the codec, looked up once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

static PICKLING: PyOnceLock<Pickling> = PyOnceLock::new();

/// A pickle, and the views of what it refers to out of band.
pub type Stream<'py> = (Bound<'py, PyBytes>, Bound<'py, PyList>);

/// The functions of `counterpoint._process`.
pub struct Pickling {
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    dumps_by_reference: Py<PyAny>,
    dumps_exception: Py<PyAny>,
    loads_exception: Py<PyAny>,
    blame_call: Py<PyAny>,
    blame_result: Py<PyAny>,
    damaged: Py<PyAny>,
}

impl Pickling {
    /// The one there is.
    pub fn get(py: Python<'_>) -> PyResult<&'static Self> {
        PICKLING.get_or_try_init(py, || {
            let pickling = py.import("counterpoint._process.pickling")?;
            let exceptions = py.import("counterpoint._process.exceptions")?;
            let blaming = py.import("counterpoint._process.blaming")?;
            let find = |module: &Bound<'_, PyModule>, name| module.getattr(name).map(Bound::unbind);
            PyResult::Ok(Self {
                dumps: find(&pickling, "dumps")?,
                loads: find(&pickling, "loads")?,
                dumps_by_reference: find(&pickling, "dumps_by_reference")?,
                damaged: find(&pickling, "damaged")?,
                dumps_exception: find(&exceptions, "dumps_exception")?,
                loads_exception: find(&exceptions, "loads_exception")?,
                blame_call: find(&blaming, "blame_call")?,
                blame_result: find(&blaming, "blame_result")?,
            })
        })
    }

    /// Pickles a value.
    pub fn dumps<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Stream<'py>> {
        self.dumps.bind(value.py()).call1((value,))?.extract()
    }

    /// Unpickles one; `buffers` is a list, or None.
    pub fn loads<'py>(
        &self,
        stream: &Bound<'py, PyAny>,
        buffers: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.loads.bind(stream.py()).call1((stream, buffers))
    }

    /// Pickles a function by its name; `None` if that is not how it is pickled.
    pub fn dumps_by_reference(&self, function: &Bound<'_, PyAny>) -> PyResult<Option<Vec<u8>>> {
        let stream = self.dumps_by_reference.bind(function.py()).call1((function,))?;
        stream.extract()
    }

    /// Pickles an exception, with its traceback as text.
    pub fn dumps_exception<'py>(&self, error: &Bound<'py, PyAny>) -> PyResult<Stream<'py>> {
        self.dumps_exception.bind(error.py()).call1((error,))?.extract()
    }

    /// Unpickles one; another exception if it cannot be.
    pub fn loads_exception<'py>(
        &self,
        stream: &Bound<'py, PyAny>,
        buffers: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.loads_exception.bind(stream.py()).call1((stream, buffers))
    }

    /// The error that says which part of a call could not be pickled.
    pub fn blame_call<'py>(
        &self,
        function: &Bound<'py, PyAny>,
        arguments: &Bound<'py, PyTuple>,
        keywords: &Bound<'py, PyDict>,
        error: PyErr,
    ) -> PyErr {
        let py = function.py();
        let blamed = self.blame_call.bind(py).call1((function, arguments, keywords, &error));
        blamed.map_or(error, PyErr::from_value)
    }

    /// The error that says which part of a result could not be pickled.
    pub fn blame_result(&self, value: &Bound<'_, PyAny>, error: PyErr) -> PyErr {
        let blamed = self.blame_result.bind(value.py()).call1((value, &error));
        blamed.map_or(error, PyErr::from_value)
    }

    /// The error for a record that is not what an encoder wrote.
    pub fn damaged(&self, py: Python<'_>, what: &str) -> PyErr {
        self.damaged.bind(py).call1((what,)).map_or_else(|error| error, PyErr::from_value)
    }
}
