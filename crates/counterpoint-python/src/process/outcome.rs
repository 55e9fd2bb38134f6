//! What came back: from bytes to a result or an exception.

use super::block::Block;
use super::codec::{decode_exception, decode_result, note_result};
use crate::executor::future::Ending;
use crate::executor::future::remote::RemoteJob;
use crate::executor::reference::Ref;
use counterpoint_pool::{Fate, Outcome, Received, Record};
use pyo3::exceptions::{PyKeyboardInterrupt, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::PyString;
use std::sync::Arc;

/// Decodes an outcome. What that raises is the outcome then; but not a KeyboardInterrupt, which may
/// come at any moment and is the business of whoever runs: decoding can be tried again.
pub fn decode(py: Python<'_>, job: &RemoteJob, outcome: &Outcome) -> PyResult<Ending> {
    let decoded = match outcome {
        Outcome::Returned(record) => open(py, record, decode_result)
            .map(Ref::from)
            .map_err(|error| name_the_result(py, job, error)),
        Outcome::Raised(record) => match open(py, record, decode_exception) {
            Ok(exception) => return Ok(Ending::Exception(exception.into())),
            Err(error) => Err(error),
        },
        Outcome::Stopped(Fate::TimedOut(limit)) => Err(timed_out(py, job, *limit)?),
        Outcome::Failed(error) => match error.downcast_ref::<Py<PyAny>>() {
            Some(error) => return Ok(Ending::Exception(error.bind(py).clone().into())),
            None => Err(PyTimeoutError::new_err("the task failed for an unknown reason")),
        },
    };
    match decoded {
        Ok(value) => Ok(Ending::Result(value)),
        Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => Err(error),
        Err(error) => Ok(failed(py, error)),
    }
}

/// An error of unpickling does not say of what; an interrupt is none.
#[cold]
fn name_the_result(py: Python<'_>, job: &RemoteJob, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyKeyboardInterrupt>(py) {
        return error;
    }
    let definition = job.pool.with(|pool| pool.definition(job.function));
    let name = job.options.as_ref().and_then(|options| options.name.as_deref());
    note_result(py, error, definition.as_deref(), name)
}

fn failed(py: Python<'_>, error: PyErr) -> Ending {
    Ending::Exception(error.into_value(py).into_bound(py).into_any().into())
}

fn timed_out(py: Python<'_>, job: &RemoteJob, limit: u64) -> PyResult<PyErr> {
    let seconds = limit as f64 / 1e9;
    let name = job.options.as_ref().and_then(|options| options.name.as_deref());
    let name = name.map(|name| PyString::new(py, name).repr()).transpose()?;
    let called = name.map_or(String::new(), |name| format!(" {name}"));
    Ok(PyTimeoutError::new_err(format!(
        "the task{called} ran longer than its limit of {seconds} s: \
         the process that ran it was killed"
    )))
}

/// The exception of a future whose `kill()` ended it.
pub fn killed(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    py.import("counterpoint._errors")?
        .getattr("TaskKilled")?
        .call1(("the process that ran this task was killed by kill()",))
}

type Decode<'py> =
    fn(Python<'py>, &[u8], &mut super::codec::Buffers<'_>) -> PyResult<Bound<'py, PyAny>>;

fn open<'py>(
    py: Python<'py>,
    record: &Record<Arc<Received>>,
    decode: Decode<'py>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut buffers = |number: u32| match record.blocks.get(number as usize) {
        Some(block) => Block::of_worker(py, block),
        None => Err(super::codec::damaged(py, "a buffer that did not come with it")),
    };
    let last = record.blocks.last().filter(|_| record.apart);
    let Some(last) = last else { return decode(py, &record.bytes, &mut buffers) };
    let view = last.map().map_err(super::block::unmappable)?;
    // The worker may still write there, if it is damaged; so what is decoded is a copy.
    // SAFETY: the mapping lives through the copy.
    let bytes = unsafe { std::slice::from_raw_parts(view.as_ptr(), view.len()) }.to_vec();
    decode(py, &bytes, &mut buffers)
}
