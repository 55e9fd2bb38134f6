//! [`Seat`]: where it is noted who waits for a stream natively.
//!
//! It is a reader's `_waiter` as long as there is a native way to wait for the stream, whether somebody does
//! or not, and to asyncio's code a future that is done while nobody does. The transport finds who waits
//! by it, without a look at the reader.
//!
//! As with asyncio's, who has the reader keeps whoever waits for it, and its task; and whoever forgets both
//! has them collected, and the connection ended. So the transport has a weak reference, which leads nowhere
//! as soon as they are garbage. All that is with a GIL only.

use super::future::settle;
use super::layout::{Operation, Outcome, Phase};
use crate::boundary::Protected;
use crate::event_loop::fields::{Fields, Last, Name};
use crate::executor::reference::Ref;
use pyo3::exceptions::PyAttributeError;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyType;

/// Methods that somebody may have put into a reader, or its protocol, to see what comes.
static FEED_DATA: Name = Name::new("feed_data");
static WAKEUP_WAITER: Name = Name::new("_wakeup_waiter");
static DATA_RECEIVED: Name = Name::new("data_received");

/// Where it is noted who waits.
#[derive(Default)]
#[pyclass(frozen, weakref, module = "counterpoint._core.event_loop")]
pub struct Seat {
    /// The operation that waits; or that did, and was given up by the collector.
    taken: Protected<Option<Ref>>,
    /// The last attributes of the reader and of its protocol when nobody had put a method there: what is put
    /// there later comes behind.
    last: [Option<Last>; 2],
}

impl Seat {
    /// One for a stream that is as asyncio has made it.
    pub fn of(reader: &Bound<'_, PyAny>, protocol: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let (reader, protocol) = (Fields::of(reader)?, Fields::of(protocol)?);
        let (last, is_as_made) =
            ([reader.last(), protocol.last()], is_as_made(&reader, &protocol)?);
        Ok(is_as_made.then(|| Self { last, ..Self::default() }))
    }

    /// `object` as one, if it is.
    #[inline(always)]
    pub fn check<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Self> {
        object.cast_exact::<Self>().ok().map(Bound::get)
    }

    /// Who waits.
    #[inline(always)]
    pub fn operation(&self, py: Python<'_>) -> Option<Ref> {
        let taken = self.taken.with(py, |taken| taken.as_ref().map(Ref::share));
        taken.filter(|object| operation_of(object).phase() == Phase::Waiting)
    }

    /// It waits from now on; nobody did.
    #[inline(always)]
    pub fn take(&self, py: Python<'_>, operation: Ref) {
        drop(self.taken.with(py, |taken| taken.replace(operation)));
    }

    /// It waits no more.
    #[inline(always)]
    pub fn leave(&self, py: Python<'_>, operation: Operation) {
        let is_its = |object: &mut Ref| object.as_ptr() == operation.as_ptr();
        drop(self.taken.with(py, |taken| taken.take_if(is_its)));
    }

    /// Whether nobody has put a method into the stream since, to see what comes.
    #[inline(always)]
    pub fn is_as_made(
        &self,
        reader: &Bound<'_, PyAny>,
        protocol: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let (reader, protocol) = (Fields::of(reader)?, Fields::of(protocol)?);
        if let [Some(its), Some(protocols)] = &self.last
            && reader.end_with(its)
            && protocol.end_with(protocols)
        {
            return Ok(true);
        }
        is_as_made(&reader, &protocol)
    }

    /// What asyncio's code has for who waits.
    pub fn settle(&self, py: Python<'_>, outcome: Outcome) -> PyResult<()> {
        let Some(object) = self.operation(py) else { return Ok(()) };
        self.leave(py, operation_of(&object));
        settle(py, operation_of(&object), outcome)
    }
}

/// What has taken a seat, as what it is.
#[inline(always)]
fn operation_of(object: &Ref) -> Operation {
    // SAFETY: only operations take a seat, and it is held.
    unsafe { Operation::from_ptr(object.as_ptr()) }
}

#[cold]
fn is_as_made(reader: &Fields<'_, '_>, protocol: &Fields<'_, '_>) -> PyResult<bool> {
    let sees = reader.has_own(&FEED_DATA)? || reader.has_own(&WAKEUP_WAITER)?;
    Ok(!sees && !protocol.has_own(&DATA_RECEIVED)?)
}

#[pymethods]
impl Seat {
    /// Whether nobody waits: asyncio's code has nothing to tell then.
    fn cancelled(&self, py: Python<'_>) -> bool {
        self.done(py)
    }

    /// The same.
    fn done(&self, py: Python<'_>) -> bool {
        self.operation(py).is_none()
    }

    fn __bool__(&self, py: Python<'_>) -> bool {
        !self.done(py)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        match self.operation(py) {
            Some(operation) => operation.bind(py).repr().map(|shown| shown.to_string()),
            None => Ok("<nobody waits>".to_owned()),
        }
    }

    /// All else that a future has is that of who waits.
    fn __getattr__<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
        match self.operation(py) {
            Some(operation) => operation.bind(py).getattr(name),
            None => Err(PyAttributeError::new_err(format!("{name}: nobody waits for the stream"))),
        }
    }

    /// The stream has data, or is at its end.
    fn set_result(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.settle(py, Outcome::Fed)
    }

    /// The stream has failed.
    fn set_exception(&self, py: Python<'_>, exception: Bound<'_, PyAny>) -> PyResult<()> {
        let is_class = exception.is_instance_of::<PyType>();
        let exception = if is_class { exception.call0()? } else { exception };
        self.settle(py, Outcome::Error(exception.into()))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only the collector calls this.
        unsafe { self.taken.peek() }.as_ref().map_or(Ok(()), |taken| taken.visit(&visit))
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        drop(self.taken.with(py, Option::take));
    }
}
