//! [`Pickling`]: the Python half of the codec, looked up once.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

static PICKLING: PyOnceLock<Pickling> = PyOnceLock::new();

/// A pickle, and the views of what it refers to out of band.
pub type Stream<'py> = (Bound<'py, PyBytes>, Bound<'py, PyList>);

/// What of a call was being unpickled.
#[derive(Clone, Copy)]
pub enum Part<'a, 'py> {
    /// Its function, by name.
    Function,
    /// The arguments of this function.
    Arguments(&'a Bound<'py, PyAny>),
    /// Both, in one.
    All,
}

/// The functions of `counterpoint._process`.
pub struct Pickling {
    dumps: Py<PyAny>,
    loads: Py<PyAny>,
    dumps_by_reference: Py<PyAny>,
    dumps_exception: Py<PyAny>,
    loads_exception: Py<PyAny>,
    blame_call: Py<PyAny>,
    blame_result: Py<PyAny>,
    note_call: Py<PyAny>,
    note_result: Py<PyAny>,
    damaged: Py<PyAny>,
}

impl Pickling {
    /// The one there is.
    pub fn get(py: Python<'_>) -> PyResult<&'static Self> {
        PICKLING.get_or_try_init(py, || {
            let pickling = py.import("counterpoint._process.pickling")?;
            let exceptions = py.import("counterpoint._process.exceptions")?;
            let blaming = py.import("counterpoint._process.blaming")?;
            let unpickling = py.import("counterpoint._process.unpickling")?;
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
                note_call: find(&unpickling, "note_call")?,
                note_result: find(&unpickling, "note_result")?,
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

    /// The error with a note: it was raised while a call was unpickled, of a function if that is
    /// there already.
    pub fn note_call(&self, error: PyErr, part: Part<'_, '_>, py: Python<'_>) -> PyErr {
        let (part, function) = match part {
            Part::Function => ("function", None),
            Part::Arguments(function) => ("arguments", Some(function)),
            Part::All => ("call", None),
        };
        // What a note cannot be made for is shown without one.
        let _ = self.note_call.bind(py).call1((&error, part, function));
        error
    }

    /// The error with a note: it was raised while a task's result was unpickled. `definition` is
    /// the pickle of its function, `name` what the task is called.
    pub fn note_result(
        &self,
        py: Python<'_>,
        error: PyErr,
        definition: Option<&[u8]>,
        name: Option<&str>,
    ) -> PyErr {
        let _ = self.note_result.bind(py).call1((&error, definition, name));
        error
    }

    /// The error for a record that is not what an encoder wrote.
    pub fn damaged(&self, py: Python<'_>, what: &str) -> PyErr {
        self.damaged.bind(py).call1((what,)).map_or_else(|error| error, PyErr::from_value)
    }
}
