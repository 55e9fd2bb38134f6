//! [`Fault`]: why a record cannot be read, small enough for the hot path.

use super::pickling::Pickling;
use pyo3::prelude::*;

/// Why a record cannot be read.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// It is not what an encoder wrote.
    Damaged(&'static str),
    /// Python raised; the error indicator is set.
    Raised,
}

impl Fault {
    /// The error to raise. Attached.
    #[cold]
    pub fn into_error(self, py: Python<'_>) -> PyErr {
        match self {
            Fault::Raised => crate::boundary::fetch(py),
            Fault::Damaged(what) => {
                Pickling::get(py).map_or_else(|error| error, |pickling| pickling.damaged(py, what))
            }
        }
    }
}
