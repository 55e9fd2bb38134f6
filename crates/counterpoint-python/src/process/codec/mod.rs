//! Calls, results and exceptions as bytes.
//!
//! Small values of a few builtin types are written by hand, in a tenth of the time that pickle
//! needs to get started; everything else is pickled (protocol 5). The choice is made so that no
//! program can tell: what arrives has the same value, the same type and the same shared parts.
//!
//! | record | layout, little-endian (tags in `format`) |
//! |---|---|
//! | call | `CALL`, id: u32, count: u8, values |
//! | with keywords | `NAMED_CALL`, id, count, values, their names: a tuple |
//! | pickled call | `PICKLED_CALL`, shape: u8, id, count: u8, places, stream of a tuple |
//! | result | a value, or `PICKLE`, stream |
//! | exception | `EXCEPTION`, stream |
//! | value | a tag and what it needs, or `OUTSIDE_BYTES`/`OUTSIDE_BYTEARRAY`, buffer: u32 |
//! | place | index: u32, one of those two tags, buffer: u32 |
//! | stream | first buffer: u32, buffers: u32, `WITHIN`, length: u32, bytes |
//! | | or the same with `APART`, buffer: u32 |
//!
//! *Out of band*: a buffer of [`OUTSIDE`] bytes or more is not in the record, which names it by its
//! number. So a record is small, whatever it stands for, except for many smaller buffers.
//!
//! The values of one call are written by hand together or pickled together, as one tuple: what two
//! arguments share, they still share on arrival. Only the content of a large `bytearray` that is
//! itself an argument is not looked for inside the others.
//!
//! A record comes from one's own workers, so what pickle does with a stream is trusted; but every
//! length, count and number is checked, as a worker may die or be damaged in any moment.

mod call;
mod chunk;
mod describe;
mod encoded;
mod exception;
mod fault;
mod format;
mod functions;
mod hooks;
mod intern;
mod pickling;
mod read;
mod result;
mod write;

pub use call::{Call, decode_call, encode_call};
pub use describe::describe_call;
pub use encoded::{Buffer, Buffers, Encoded};
pub use exception::{decode_exception, encode_exception};
pub use format::{IN_CONTEXT, MAX_FUNCTIONS, OUTSIDE};
pub use functions::Functions;
pub use intern::{Function, Interner};
pub use result::{decode_result, encode_item, encode_result};

use pyo3::prelude::*;

/// The error for a record that is not what an encoder wrote.
pub fn damaged(py: Python<'_>, what: &'static str) -> PyErr {
    fault::Fault::Damaged(what).into_error(py)
}

/// The error of a result that could not be unpickled, with a note that says so.
pub fn note_result(
    py: Python<'_>,
    error: PyErr,
    definition: Option<&[u8]>,
    name: Option<&str>,
) -> PyErr {
    match pickling::Pickling::get(py) {
        Ok(pickling) => pickling.note_result(py, error, definition, name),
        Err(_) => error,
    }
}

/// Adds what the Python half and the tests of this need to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("_OUT_OF_BAND", OUTSIDE)?;
    module.add("_MAX_FUNCTIONS", MAX_FUNCTIONS)?;
    module.add_class::<hooks::Codec>()
}
