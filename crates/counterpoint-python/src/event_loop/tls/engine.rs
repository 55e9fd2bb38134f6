//! [`Tls`]: the native half of a TLS connection.

use super::library::{Bio, Library, Ssl};
use super::pipe::Pipe;
use crate::boundary::Protected;
use crate::event_loop::stream;
use crate::executor::reference::Ref;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The handshake is done, and nobody has begun to close.
pub const WRAPPED: u8 = 1;
/// The application has paused reading.
pub const APP_READING_PAUSED: u8 = 2;
/// The application was told to pause writing.
pub const APP_WRITING_PAUSED: u8 = 4;
/// The socket's transport is not to be read from.
pub const SSL_READING_PAUSED: u8 = 8;
/// The socket's transport is not to be written to.
pub const SSL_WRITING_PAUSED: u8 = 16;
/// The application's protocol is a BufferedProtocol.
pub const BUFFERED: u8 = 32;
/// The socket's transport is one of ours, and writes as ours do.
pub const DIRECT: u8 = 64;

static WRAPPED_STATE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Looks up what is needed.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let states = py.import("asyncio.sslproto")?.getattr("SSLProtocolState")?;
    let _ = WRAPPED_STATE.set(py, states.getattr("WRAPPED")?.unbind());
    Ok(())
}

/// What is behind an `ssl.SSLObject`: kept, and so alive as long as this. Whoever calls libssl has a
/// share of it: what is called back may end the connection.
pub struct Ends {
    pub library: &'static Library,
    pub ssl: *mut Ssl,
    pipe: *const Pipe,
    /// The `_ssl._SSLSocket`. It leads back to nothing of ours as far as the collector can see, so
    /// it is not shown to it.
    object: Ref,
    /// What asyncio's code has accepted and not yet encrypted.
    backlog: Ref,
}

// SAFETY: the pointers are used by attached threads, inside a critical section of the object.
unsafe impl Send for Ends {}
// SAFETY: as above.
unsafe impl Sync for Ends {}

impl Ends {
    /// The object whose critical section the calls are made in.
    #[inline(always)]
    pub fn object<'py>(&self, py: Python<'py>) -> Bound<'py, PyAny> {
        self.object.bind(py)
    }

    /// Whether nothing waits to be encrypted.
    #[inline(always)]
    pub fn no_backlog(&self) -> bool {
        // SAFETY: a live deque.
        unsafe { ffi::PyObject_Size(self.backlog.as_ptr()) == 0 }
    }

    /// Where its ciphertext comes from and goes to.
    #[inline(always)]
    pub fn pipe(&self) -> &Pipe {
        // SAFETY: it lives as long as the SSL does, and so the object.
        unsafe { &*self.pipe }
    }

    /// Whether something has come that is not read yet.
    pub fn has_more(&self) -> bool {
        // SAFETY: alive as long as this.
        self.pipe().unread() != 0 || unsafe { (self.library.has_pending)(self.ssl) } != 0
    }
}

/// What is protected.
#[derive(Default)]
pub struct Inside {
    pub state: Option<Ref>,
    pub protocol: Option<Ref>,
    pub transport: Option<Ref>,
    /// Until the connection is lost: its context goes with it, though somebody may keep a transport.
    pub ends: Option<Arc<Ends>>,
}

/// The native half of a TLS connection: what asyncio's code says of it, and what libssl's functions
/// are called with.
#[pyclass(frozen, module = "counterpoint._core.event_loop")]
pub struct Tls {
    flags: AtomicU8,
    pub inside: Protected<Inside>,
}

impl Tls {
    /// Whether it has one of these flags.
    #[inline(always)]
    pub fn is(&self, flags: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flags != 0
    }

    /// Sets a flag, or takes it away.
    pub fn flag(&self, flag: u8, value: bool) {
        if value {
            self.flags.fetch_or(flag, Ordering::Relaxed);
        } else {
            self.flags.fetch_and(!flag, Ordering::Relaxed);
        }
    }

    /// The ends, if libssl's functions may be called.
    #[inline(always)]
    pub fn ends(&self, py: Python<'_>) -> Option<Arc<Ends>> {
        self.inside.with(py, |inside| inside.ends.clone())
    }

    /// Whether it has ends still: they stay the same until the connection is lost.
    #[inline(always)]
    pub fn has_ends(&self, py: Python<'_>) -> bool {
        self.inside.with(py, |inside| inside.ends.is_some())
    }

    /// Whether the application is to be given what comes.
    #[inline(always)]
    pub fn may_read(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & (WRAPPED | APP_READING_PAUSED) == WRAPPED
    }

    /// The application's protocol, if it is to be given what comes.
    #[inline(always)]
    pub fn reader(&self, py: Python<'_>) -> Option<Ref> {
        let reader = |inside: &mut Inside| {
            let protocol = inside.ends.as_ref().and(inside.protocol.as_ref());
            protocol.map(Ref::share)
        };
        if self.may_read() { self.inside.with(py, reader) } else { None }
    }

    /// The ends, if what is written can be encrypted and sent at once.
    #[inline(always)]
    pub fn writes(&self, py: Python<'_>) -> Option<Arc<Ends>> {
        let no = APP_WRITING_PAUSED | SSL_WRITING_PAUSED;
        let flags = self.flags.load(Ordering::Relaxed) & (WRAPPED | DIRECT | no);
        let ends = if flags == WRAPPED | DIRECT { self.ends(py) } else { None };
        ends.filter(|ends| ends.no_backlog())
    }

    /// Notes whether the socket's transport may be written to without asking it. Without one the
    /// connection is lost.
    pub fn set_transport(&self, transport: Bound<'_, PyAny>) -> PyResult<()> {
        let py = transport.py();
        self.flag(DIRECT, stream::writes_natively(&transport)?);
        let transport = (!transport.is_none()).then(|| Ref::from(transport));
        let before = self.inside.with(py, |inside| {
            let lost = transport.is_none() && inside.transport.is_some();
            let ends = if lost { inside.ends.take() } else { None };
            (ends, std::mem::replace(&mut inside.transport, transport))
        });
        drop(before);
        Ok(())
    }

    /// In which state asyncio's code says that it is; the one before, to be dropped by the caller.
    pub fn set_state(&self, state: &Bound<'_, PyAny>) -> Option<Ref> {
        let py = state.py();
        let wrapped = WRAPPED_STATE.get(py).is_some_and(|wrapped| state.is(wrapped));
        self.flag(WRAPPED, wrapped);
        let state = Some(Ref::from(state.clone()));
        self.inside.with(py, |inside| std::mem::replace(&mut inside.state, state))
    }
}

/// A pointer field of an object of `_ssl`'s.
///
/// # Safety
/// The object's head is followed by so many words, and this one.
unsafe fn word<T>(object: &Bound<'_, PyAny>, index: usize) -> *mut T {
    // SAFETY: the caller's promise.
    unsafe { *object.as_ptr().byte_add(size_of::<PyObject>()).cast::<*mut T>().add(index) }
}

/// Whether it is an instance of this class of `_ssl`'s, and no other, which has so many fields.
fn is_exactly(object: &Bound<'_, PyAny>, class: &str, words: usize) -> PyResult<bool> {
    let class = object.py().import("_ssl")?.getattr(class)?;
    // SAFETY: a live type object.
    let size = unsafe { (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_basicsize } as usize;
    let enough = size >= size_of::<PyObject>() + words * size_of::<*mut PyObject>();
    Ok(enough && object.get_type().is(&class))
}

#[pymethods]
impl Tls {
    #[new]
    fn new() -> Self {
        Self { flags: AtomicU8::new(0), inside: Protected::new(Inside::default()) }
    }

    /// Whether libssl's functions may be called from now on: with what is behind an `SSLObject`, and
    /// what asyncio's code has to encrypt.
    fn attach(
        &self,
        object: &Bound<'_, PyAny>,
        incoming: &Bound<'_, PyAny>,
        outgoing: &Bound<'_, PyAny>,
        backlog: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let py = object.py();
        let known = is_exactly(object, "_SSLSocket", 2)?
            && is_exactly(incoming, "MemoryBIO", 1)?
            && is_exactly(outgoing, "MemoryBIO", 1)?;
        let Some(library) = Library::get(py).filter(|_| known) else { return Ok(false) };
        // SAFETY: in every version that we are built for, a MemoryBIO begins with its BIO, and an
        // _SSLSocket with a weak reference and its SSL.
        let (ssl, ends) = unsafe {
            (word::<Ssl>(object, 1), [word::<Bio>(incoming, 0), word::<Bio>(outgoing, 0)])
        };
        if ssl.is_null() {
            return Ok(false);
        }
        // SAFETY: as above.
        if unsafe { [(library.incoming_of)(ssl), (library.outgoing_of)(ssl)] } != ends {
            return Ok(false);
        }
        let reference = |object: &Bound<'_, PyAny>| Ref::from(object.clone());
        // SAFETY: as was just seen.
        let Some(pipe) = (unsafe { Pipe::lay(py, library, ssl, ends) }) else { return Ok(false) };
        let (object, backlog) = (reference(object), reference(backlog));
        let ends = Ends { library, ssl, pipe, object, backlog };
        let before = self.inside.with(py, |inside| inside.ends.replace(Arc::new(ends)));
        drop(before);
        Ok(true)
    }

    /// Whether it calls libssl's functions.
    fn is_native(&self, py: Python<'_>) -> bool {
        self.ends(py).is_some()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: only the collector calls this.
        let inside = unsafe { self.inside.peek() };
        let held = [&inside.state, &inside.protocol, &inside.transport];
        held.into_iter().flatten().try_for_each(|object| object.visit(&visit))
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        self.flag(WRAPPED, false);
        drop(self.inside.with(py, std::mem::take));
    }
}
