//! `writelines()`: all of it in one system call, if the kernel takes it.

use super::TRANSPORT;
use super::holding::is_to_hold;
use super::writing::{Next, fatal, flush, go_on, leave_parents, may_write, snapshot, watch};
use crate::boundary::{Sole, guarded, none};
use counterpoint_reactor::outgoing::Piece;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;

/// `writelines(list_of_data)`.
pub struct WriteLines;

impl Sole for WriteLines {
    const NAME: &'static str = "list_of_data";

    #[inline(always)]
    unsafe fn call(transport: *mut PyObject, list_of_data: *mut PyObject) -> *mut PyObject {
        // SAFETY: the caller's promise.
        unsafe { write_lines(transport, list_of_data) }
    }
}

unsafe fn write_lines(transport: *mut PyObject, lines: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: receiver and argument of a method.
        let (connection, object, lines) = unsafe {
            let connection = TRANSPORT.demand(py, transport)?;
            let object = Bound::from_borrowed_ptr(py, transport);
            (connection, object, Bound::from_borrowed_ptr(py, lines))
        };
        let pieces =
            lines.try_iter()?.map(|line| snapshot(&line?)).collect::<PyResult<Vec<_>>>()?;
        if pieces.is_empty() || !may_write(connection, &object, "writelines")? {
            return Ok(none());
        }
        let size = pieces.iter().map(|piece| piece.bytes().len()).sum();
        let is_to_hold = is_to_hold(py, connection, transport, size);
        leave_parents(py, connection);
        let (first, next) = connection.inside.with(py, |inside| {
            let first = inside.outgoing.is_empty();
            pieces.into_iter().for_each(|piece| inside.outgoing.push(piece, 0));
            (first, inside.queued(first, is_to_hold))
        });
        if first && matches!(next, Next::Pause) {
            match flush(py, connection) {
                Ok(true) => return Ok(none()),
                Ok(false) => watch(py, connection, &object)?,
                Err(error) => {
                    fatal(&object, &error)?;
                    return Ok(none());
                }
            }
        }
        go_on(py, connection, &object, next)?;
        Ok(none())
    })
}
