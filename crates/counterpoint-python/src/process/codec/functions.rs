//! [`Functions`]: a worker's table of the functions that it was told of.

use super::fault::Fault;
use super::format::MAX_FUNCTIONS;
use super::pickling::{Part, Pickling};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// What is known of one.
#[derive(Default)]
enum Entry {
    #[default]
    Unknown,
    /// Unpickled at its first call: that imports modules, and if it fails that call does.
    Defined(Box<[u8]>),
    Ready(Py<PyAny>),
}

/// By number.
#[derive(Default)]
pub struct Functions(Vec<Entry>);

impl Functions {
    /// Takes the definition of a function, which is not looked at yet.
    pub fn define(&mut self, py: Python<'_>, id: u32, definition: &[u8]) -> PyResult<()> {
        let id = id as usize;
        if id >= MAX_FUNCTIONS {
            return Err(Fault::Damaged("a function beyond the last number").into_error(py));
        }
        if id >= self.0.len() {
            self.0.resize_with(id + 1, Entry::default);
        }
        self.0[id] = Entry::Defined(definition.into());
        Ok(())
    }

    /// The function. Raises what its unpickling raises, each time.
    #[inline]
    pub fn resolve<'py>(&mut self, py: Python<'py>, id: u32) -> PyResult<Bound<'py, PyAny>> {
        match self.0.get(id as usize) {
            Some(Entry::Ready(function)) => Ok(function.bind(py).clone()),
            _ => self.load(py, id),
        }
    }

    #[cold]
    fn load<'py>(&mut self, py: Python<'py>, id: u32) -> PyResult<Bound<'py, PyAny>> {
        let Some(entry @ Entry::Defined(_)) = self.0.get_mut(id as usize) else {
            return Err(Fault::Damaged("a function that was not defined").into_error(py));
        };
        let Entry::Defined(definition) = &*entry else { unreachable!("matched above") };
        let stream = PyBytes::new(py, definition).into_any();
        let pickling = Pickling::get(py)?;
        let function = pickling.loads(&stream, &py.None().into_bound(py));
        let function = function.map_err(|error| pickling.note_call(error, Part::Function, py))?;
        *entry = Entry::Ready(function.clone().unbind());
        Ok(function)
    }
}
