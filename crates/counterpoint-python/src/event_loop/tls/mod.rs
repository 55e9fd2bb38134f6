//! TLS: what is done for each record, natively, behind asyncio's own `SSLProtocol`.
//!
//! Set-up, handshake, closing and flow control's callbacks are asyncio's code, on the user's own
//! `SSLContext`; it reads and sets the attributes that are kept in a [`Tls`]. Once the handshake is
//! done, decrypting and encrypting are calls of the libssl that `_ssl` has loaded, on the objects
//! that asyncio's code uses too. So whatever is unusual (an error, the end, a full buffer) is left
//! to that code, which finds everything as if it had done the rest itself.

mod attributes;
mod engine;
mod library;
mod pipe;
mod reading;
mod writing;

pub use engine::Tls;
pub use reading::read;

use crate::boundary::{Behind, Outline, noargs, one_by_name};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// What is said of an error that ends a connection, as by asyncio.
const FATAL: &str = "Fatal error on SSL protocol";

/// The most that one record holds.
const RECORD: usize = 16 * 1024;

/// Where a protocol's native half is.
static PROTOCOL: Behind<Tls> = Behind::new(c"_counterpoint_tls");
/// Where an application's transport has the same.
static TRANSPORT: Behind<Tls> = Behind::new(c"_counterpoint_tls");

static PROTOCOL_BASE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Adds the classes.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    engine::prepare(py)?;
    let asyncio = py.import("asyncio.sslproto")?;
    let protocol = PROTOCOL.make(
        &asyncio.getattr("SSLProtocol")?,
        Outline {
            name: c"counterpoint._core.event_loop.TlsProtocolBase",
            methods: vec![noargs(c"_do_read", reading::do_read, c"_do_read($self)\n--\n\nRead.")],
            attributes: attributes::attributes(),
        },
    )?;
    let write = c"write($self, data)\n--\n\nEncrypt and send data, in order.";
    let transport = TRANSPORT.make(
        &asyncio.getattr("_SSLProtocolTransport")?,
        Outline {
            name: c"counterpoint._core.event_loop.TlsTransportBase",
            methods: vec![one_by_name::<writing::Write>(c"write", write)],
            attributes: Vec::new(),
        },
    )?;
    module.add_class::<Tls>()?;
    module.add("TlsProtocolBase", &protocol)?;
    module.add("TlsTransportBase", transport)?;
    let _ = PROTOCOL_BASE.set(py, protocol.unbind());
    Ok(())
}

/// Whether a socket transport's protocol is one of ours, to which [`read`] may give what comes.
pub fn is_native(protocol: &Bound<'_, PyAny>) -> bool {
    let py = protocol.py();
    native_of(py, protocol.as_ptr()).is_some_and(|tls| tls.ends(py).is_some())
}

/// The native half of a protocol, if it is of our class.
#[inline(always)]
fn native_of<'a>(py: Python<'a>, protocol: *mut PyObject) -> Option<&'a Tls> {
    let base = PROTOCOL_BASE.get(py)?.as_ptr().cast();
    // SAFETY: a live object and a type; an instance of the class then, which whoever calls holds.
    unsafe {
        if ffi::PyObject_TypeCheck(protocol, base) == 0 {
            return None;
        }
        PROTOCOL.get(py, protocol)
    }
}
