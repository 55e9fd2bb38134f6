//! Datagram transports of IP sockets, natively per datagram, behind `asyncio`'s own transport class.
//!
//! What is sent at once, and what is received, is here; what has to wait for room, names of hosts, and
//! everything that happens once is that class's code.

mod address;
mod receiving;
mod sending;

use super::descriptor::Descriptor;
use super::kept::{Keeps, Kept, attributes};
use super::measure::Counter;
use super::native::Loop;
use super::stream::domain;
use crate::boundary::{Behind, Outline, Protected, method, noargs};
use address::Names;
use counterpoint_reactor::vain::Vain;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where a transport's native half is.
static TRANSPORT: Behind<Datagram> = Behind::new(c"_counterpoint_datagram");

/// Makes the class.
pub fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let base = py.import("asyncio.selector_events")?.getattr("_SelectorDatagramTransport")?;
    let sendto = c"sendto($self, data, addr=None)\n--\n\nSend a datagram.";
    TRANSPORT.make(
        &base,
        Outline {
            name: c"counterpoint._core.event_loop.DatagramBase",
            methods: vec![
                method(c"sendto", sending::sendto, sendto),
                noargs(c"_read_ready", receiving::read_ready, c"Receive what there is."),
            ],
            attributes: attributes(&TRANSPORT),
        },
    )
}

/// The native half of a datagram transport.
#[pyclass(frozen, module = "counterpoint._core.event_loop")]
pub struct Datagram {
    native: Py<Loop>,
    descriptor: Descriptor,
    /// Of which kind its addresses are.
    family: c_int,
    kept: Kept,
    names: Names,
    /// The socket has a peer; `sendto()` needs no address.
    is_connected: AtomicBool,
    /// Something waits to be sent.
    is_queued: AtomicBool,
    /// Whether there was a second datagram.
    second: Protected<Vain>,
    received: Counter,
    sent: Counter,
}

impl Keeps for Datagram {
    fn kept(&self) -> &Kept {
        &self.kept
    }
}

#[pymethods]
impl Datagram {
    #[new]
    fn new(native: Py<Loop>, sock: &Bound<'_, PyAny>) -> PyResult<Self> {
        let descriptor = Descriptor::of(sock)?;
        Ok(Self {
            family: domain(descriptor.known()),
            native,
            descriptor,
            kept: Kept::default(),
            names: Names::default(),
            is_connected: AtomicBool::new(false),
            is_queued: AtomicBool::new(false),
            second: Protected::default(),
            received: Counter::default(),
            sent: Counter::default(),
        })
    }

    /// The socket has a peer.
    fn connect(&self) {
        self.is_connected.store(true, Ordering::Relaxed);
    }

    /// Whether something waits to be sent.
    fn queue(&self, is_queued: bool) {
        self.is_queued.store(is_queued, Ordering::Relaxed);
    }

    /// Bytes received and sent so far.
    fn counts(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }

    /// So many bytes were sent; less than none: they were not, after all.
    fn has_sent(&self, bytes: i64) {
        self.sent.add(bytes as u64); // both wrap
        self.native.get().counters.sent.add(bytes as u64);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.native)?;
        self.descriptor.visit(&visit)?;
        self.kept.visit(&visit)
    }

    fn __clear__(&self) {
        self.kept.clear();
    }
}
