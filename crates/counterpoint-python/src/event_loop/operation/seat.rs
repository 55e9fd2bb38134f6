//! [`Seat`]: where it is noted who waits for a stream natively.
//!
//! It is a reader's `_waiter` as long as there is a native way to wait for the stream, whether somebody does
//! or not, and to asyncio's code a future that is done while nobody does. The transport has it too, and so
//! finds who waits without a look at the reader.
//!
//! It holds nobody: who waits holds the reader, which holds the seat. Whoever forgets a reader that somebody
//! waits for has it collected, and the connection ended, as with asyncio's. All that is with a GIL only.

use super::future::settle;
use super::layout::{Operation, Outcome, Phase};
use crate::event_loop::fields::{Fields, Name};
use crate::executor::reference::Ref;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use pyo3::types::PyType;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// Methods that somebody may have put into a reader, or its protocol, to see what comes.
static FEED_DATA: Name = Name::new("feed_data");
static WAKEUP_WAITER: Name = Name::new("_wakeup_waiter");
static DATA_RECEIVED: Name = Name::new("data_received");

/// Where it is noted who waits.
#[derive(Default)]
#[pyclass(frozen, module = "counterpoint._core.event_loop")]
pub struct Seat {
    /// An operation that waits, or null. Whoever ends one takes it out, at the latest its destructor.
    taken: AtomicPtr<PyObject>,
    /// How many attributes the reader and its protocol had when nobody had put a method into them.
    fields: [isize; 2],
}

impl Seat {
    /// One for a stream that is as asyncio has made it.
    pub fn of(reader: &Bound<'_, PyAny>, protocol: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let (reader, protocol) = (Fields::of(reader)?, Fields::of(protocol)?);
        let fields = [reader.count(), protocol.count()];
        let is_as_made = is_as_made(&reader)? && !protocol.has_own(&DATA_RECEIVED)?;
        Ok(is_as_made.then(|| Self { fields, ..Self::default() }))
    }

    /// `object` as one, if it is.
    #[inline(always)]
    pub fn check<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Self> {
        object.cast_exact::<Self>().ok().map(Bound::get)
    }

    /// Who waits.
    #[inline(always)]
    pub fn operation(&self) -> Option<Operation> {
        let taken = self.taken.load(Ordering::Relaxed);
        // SAFETY: whoever ends one has taken it out before.
        (!taken.is_null()).then(|| unsafe { Operation::from_ptr(taken) })
    }

    /// It waits from now on; nobody did.
    #[inline(always)]
    pub fn take(&self, operation: Operation) {
        self.taken.store(operation.as_ptr(), Ordering::Relaxed);
    }

    /// It waits no more.
    #[inline(always)]
    pub fn leave(&self, operation: Operation) {
        if self.taken.load(Ordering::Relaxed) == operation.as_ptr() {
            self.taken.store(ptr::null_mut(), Ordering::Relaxed);
        }
    }

    /// Whether nobody has put a method into the stream since, to see what comes.
    #[inline(always)]
    pub fn is_as_made(
        &self,
        reader: &Bound<'_, PyAny>,
        protocol: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let (reader, protocol) = (Fields::of(reader)?, Fields::of(protocol)?);
        if self.fields == [reader.count(), protocol.count()] {
            return Ok(true);
        }
        Ok(is_as_made(&reader)? && !protocol.has_own(&DATA_RECEIVED)?)
    }

    /// What asyncio's code has for who waits.
    pub fn settle(&self, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        let Some(operation) = self.operation() else { return Ok(()) };
        // SAFETY: alive while it is noted.
        let held = unsafe { Ref::new(operation.as_ptr()) };
        self.leave(operation);
        settle(py, operation, outcome)?;
        drop(held);
        Ok(())
    }
}

#[cold]
fn is_as_made(reader: &Fields<'_, '_>) -> PyResult<bool> {
    Ok(!(reader.has_own(&FEED_DATA)? || reader.has_own(&WAKEUP_WAITER)?))
}

#[pymethods]
impl Seat {
    /// Whether nobody waits: asyncio's code has nothing to tell then.
    fn cancelled(&self) -> bool {
        self.done()
    }

    /// The same.
    fn done(&self) -> bool {
        self.operation().is_none_or(|operation| operation.phase() != Phase::Waiting)
    }

    fn __bool__(&self) -> bool {
        !self.done()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        match self.operation() {
            // SAFETY: alive while it is noted.
            Some(operation) => {
                unsafe { Ref::new(operation.as_ptr()) }.bind(py).repr().map(|s| s.to_string())
            }
            None => Ok("<nobody waits>".to_owned()),
        }
    }

    /// The stream has data, or is at its end.
    fn set_result(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.settle(py, Outcome::Fed)
    }

    /// The stream has failed.
    fn set_exception(&self, py: Python<'_>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let exception =
            if exception.is_instance_of::<PyType>() { exception.call0()? } else { exception };
        self.settle(py, Outcome::Error(exception.into()))
    }
}
