//! [`Connection`]: what the native half of a socket transport knows.

use super::holding::{end_holding, send_held, try_to_send_held};
use super::receiving::is_tcp;
use super::writing::flush;
use crate::boundary::{Protected, fetch, os_error, prefetch};
use crate::event_loop::context;
use crate::event_loop::descriptor::Descriptor;
use crate::event_loop::measure::Counter;
use crate::event_loop::native::{Loop, State};
use crate::event_loop::operation::seat_of;
use crate::event_loop::tls;
use crate::executor::reference::Ref;
use counterpoint_reactor::habit::Habit;
use counterpoint_reactor::outgoing::{Outgoing, Piece};
use counterpoint_reactor::phase::{Flag, Phase, Receiver};
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyWeakrefReference;
use std::os::fd::RawFd;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};

/// In bytes.
const AROUND: usize = 32;

/// The number of the next one.
static NEXT: AtomicU64 = AtomicU64::new(1);

static BUFFERED_PROTOCOL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Looks up what is needed.
pub fn prepare(py: Python<'_>) -> PyResult<()> {
    let class = py.import("asyncio.protocols")?.getattr("BufferedProtocol")?.unbind();
    let _ = BUFFERED_PROTOCOL.set(py, class);
    Ok(())
}

/// A bytes object, which does not change.
pub struct Bytes(pub Ref);

impl Piece for Bytes {
    fn bytes(&self) -> &[u8] {
        // SAFETY: a bytes object, by who made this; its memory lives as long as the reference.
        unsafe {
            let (object, len) = (self.0.as_ptr(), ffi::Py_SIZE(self.0.as_ptr()));
            slice::from_raw_parts(ffi::PyBytes_AS_STRING(object).cast(), len as usize)
        }
    }
}

/// What is protected in a connection.
#[derive(Default)]
pub struct Inside {
    pub protocol: Option<Ref>,
    pub empty_waiter: Option<Ref>,
    /// In which the protocol is called; none while it is empty.
    pub context: Option<Ref>,
    pub outgoing: Outgoing<Bytes>,
    /// That is held back, in the process of that generation.
    pub held: Option<u32>,
    /// A weak reference to where it is noted who is to be fed natively, past the protocol.
    pub seat: Option<Ref>,
}

/// The native half of a socket transport.
#[pyclass(frozen, module = "counterpoint._core.event_loop")]
pub struct Connection {
    pub native: Py<Loop>,
    descriptor: Descriptor,
    /// Tells it from others that had or will have the same descriptor.
    number: u64,
    pub inside: Protected<Inside>,
    pub phase: Phase,
    pub habit: Habit,
    received: Counter,
    sent: Counter,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.discount();
        // SAFETY: Python objects die in attached threads.
        self.release(unsafe { Python::assume_attached() });
    }
}

impl Connection {
    /// The descriptor for a system call; -1 if somebody has closed the socket: its number may be
    /// another file's by now.
    #[inline(always)]
    pub fn fd(&self) -> RawFd {
        self.descriptor.now()
    }

    /// Has the processor fetch what it points to, and what reading begins with.
    pub fn prefetch(&self, py: Python<'_>) {
        self.descriptor.prefetch();
        let protocol = self.inside.with(py, |inside| inside.protocol.as_ref().map(Ref::as_ptr));
        if let Some(protocol) = protocol {
            // Its attributes lie before or behind its head.
            prefetch(protocol.wrapping_byte_sub(AROUND));
            prefetch(protocol.wrapping_byte_add(AROUND));
        }
    }

    /// The descriptor under which it is watched.
    #[inline(always)]
    pub fn watched(&self) -> RawFd {
        self.descriptor.known()
    }

    /// So many bytes came.
    #[inline(always)]
    pub fn has_received(&self, bytes: usize) {
        self.received.add(bytes as u64);
        self.native.get().counters.received.add(bytes as u64);
    }

    /// So many bytes went.
    #[inline(always)]
    pub fn has_sent(&self, bytes: usize) {
        self.sent.add(bytes as u64);
        self.native.get().counters.sent.add(bytes as u64);
    }

    /// It is open no more, and counted so once.
    fn discount(&self) {
        if self.phase.end() {
            self.native.get().counters.open.add(u64::MAX); // less one
        }
    }

    /// Calls `f` with the context that was found in it, or with an empty one, which becomes its own if
    /// something is put into it.
    #[inline(always)]
    pub fn within(
        &self,
        py: Python<'_>,
        own: Option<Ref>,
        f: impl FnOnce(&Ref) -> PyResult<()>,
    ) -> PyResult<()> {
        if let Some(own) = own {
            return f(&own);
        }
        let native = self.native.get();
        let spare = match native.state.with(py, |state| state.context.take()) {
            Some(spare) => spare,
            None => context::empty(py)?,
        };
        let done = f(&spare);
        drop(if context::is_untouched(&spare) {
            native.state.with(py, |state| state.context.replace(spare))
        } else {
            self.inside.with(py, |inside| inside.context.replace(spare))
        });
        done
    }

    /// Whether it is lost.
    #[inline(always)]
    pub fn is_lost(&self) -> bool {
        self.phase.is_lost()
    }

    /// Who gets the data; the protocol before, to be dropped by the caller.
    pub fn set_protocol(&self, protocol: &Bound<'_, PyAny>) -> PyResult<Option<Ref>> {
        let py = protocol.py();
        let buffered = match BUFFERED_PROTOCOL.get(py) {
            Some(class) => protocol.is_instance(class.bind(py))?,
            None => false,
        };
        let is_tls = tls::is_native(protocol);
        self.phase.hand_to(match (is_tls, buffered) {
            (true, _) => Receiver::Tls,
            (false, true) => Receiver::Buffered,
            (false, false) => Receiver::Plain,
        });
        let protocol = Some(Ref::from(protocol.clone()));
        let (before, seat) = self.inside.with(py, |inside| {
            (std::mem::replace(&mut inside.protocol, protocol), inside.seat.take())
        });
        drop(seat);
        Ok(before)
    }
}

#[pymethods]
impl Connection {
    #[new]
    #[pyo3(signature = (native, sock, context=None))]
    fn new(
        native: Py<Loop>,
        sock: &Bound<'_, PyAny>,
        context: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let py = sock.py();
        let descriptor = Descriptor::of(sock)?;
        let context = match context {
            Some(context) => Some(context.into()),
            None => context::copy_current(py).map_err(|()| fetch(py))?,
        };
        let counters = &native.get().counters;
        counters.connections.add(1);
        counters.open.add(1);
        Ok(Self {
            native,
            descriptor,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            inside: Protected::new(Inside { context, ..Inside::default() }),
            phase: Phase::default(),
            habit: Habit::default(),
            received: Counter::default(),
            sent: Counter::default(),
        })
    }

    /// Bytes that are accepted and not sent.
    fn __len__(&self, py: Python<'_>) -> usize {
        self.inside.with(py, |inside| inside.outgoing.len())
    }

    /// Drops what is not sent; what is held back is as good as sent.
    fn clear(&self, py: Python<'_>) {
        if end_holding(py, self) {
            // If that fails, the connection is at its end anyhow.
            let _ = flush(py, self);
        }
        drop(self.inside.with(py, |inside| inside.outgoing.clear()));
    }

    /// The protocol is asyncio's for streams: its reader may be fed natively, unless somebody waits for it
    /// already.
    fn read_by(&self, reader: &Bound<'_, PyAny>, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Some(seat) = seat_of(reader, protocol)? {
            let seat = PyWeakrefReference::new(&seat)?.into_any();
            let (py, mut seat) = (reader.py(), Some(Ref::from(seat)));
            self.inside.with(py, |inside| std::mem::swap(&mut inside.seat, &mut seat));
        }
        Ok(())
    }

    /// The connection is at its end: nothing is read or written any more.
    fn end(&self, py: Python<'_>) {
        self.discount();
        self.release(py);
    }

    /// Its descriptor is not for others, unless it is closing; or is none, as that of a made-up socket.
    fn hold(&self, py: Python<'_>) -> PyResult<()> {
        if !self.phase.keeps_descriptor() {
            return Ok(());
        }
        let fd = self.watched();
        let is_tcp = is_tcp(fd);
        let hold = |state: &mut State| state.registry.hold(fd, self.number, is_tcp);
        match self.native.get().state.with(py, hold) {
            Err(error) if error.raw_os_error() != Some(libc::EBADF) => Err(os_error(&error)),
            _ => Ok(()),
        }
    }

    /// Its descriptor is free for others; whether it was not.
    pub fn release(&self, py: Python<'_>) -> bool {
        let native = self.native.get();
        native.state.with(py, |state| state.registry.release(self.watched(), self.number))
    }

    /// What is written in pieces may be held back.
    fn may_hold_back(&self) {
        self.phase.set(Flag::Holds, true);
    }

    /// It may be no more: the program has the descriptor.
    fn holds_nothing_back(&self, py: Python<'_>) {
        self.phase.set(Flag::Holds, false);
        self.try_to_send_held(py);
    }

    /// Sends what is held back, as far as that goes.
    fn try_to_send_held(&self, py: Python<'_>) {
        try_to_send_held(py, self);
    }

    /// Sends what is held back, and sees to what comes of that.
    fn send_held(&self, transport: &Bound<'_, PyAny>) -> PyResult<()> {
        send_held(transport.py(), self, transport)
    }

    /// So many bytes were sent past it.
    #[pyo3(name = "has_sent")]
    fn was_sent(&self, bytes: usize) {
        self.has_sent(bytes);
    }

    /// Bytes received and sent so far.
    fn counts(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.native)?;
        self.descriptor.visit(&visit)?;
        // SAFETY: only the collector calls this.
        let inside = unsafe { self.inside.peek() };
        let held = [&inside.protocol, &inside.empty_waiter, &inside.context, &inside.seat];
        held.into_iter().flatten().try_for_each(|object| object.visit(&visit))
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        drop(self.inside.with(py, std::mem::take));
    }
}
