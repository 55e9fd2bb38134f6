//! Pipe transports: reading, and writing what the kernel takes at once, natively, behind `asyncio`'s own
//! transport classes. What has to wait, and everything that happens once, is their code.

use super::kept::{Keeps, Kept, attributes};
use super::native::Loop;
use super::stream::{Left, MOST, Source, call_method, receive_bytes};
use super::turn::{callback_failed, fatal_error};
use crate::boundary::{
    Behind, Outline, Sole, bytes, fetch, guarded, noargs, none, one_by_name, os_error, waits,
};
use crate::executor::reference::Ref;
use counterpoint_reactor::sizes::Sizes;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use std::cell::Cell;
use std::os::fd::RawFd;
use std::slice;
use std::sync::atomic::{AtomicI32, Ordering};

static READER: Behind<Pipe> = Behind::new(c"_counterpoint_pipe");
static WRITER: Behind<Pipe> = Behind::new(c"_counterpoint_pipe");

/// Makes the classes: of those that read, and of those that write.
pub fn make(py: Python<'_>) -> PyResult<[Bound<'_, PyAny>; 2]> {
    let asyncio = py.import("asyncio.unix_events")?;
    let reader = READER.make(
        &asyncio.getattr("_UnixReadPipeTransport")?,
        Outline {
            name: c"counterpoint._core.event_loop.ReadPipeBase",
            methods: vec![noargs(c"_read_ready", read_ready, c"Read what there is.")],
            attributes: attributes(&READER),
        },
    )?;
    let write = c"write($self, data)\n--\n\nSend data, in order.";
    let writer = WRITER.make(
        &asyncio.getattr("_UnixWritePipeTransport")?,
        Outline {
            name: c"counterpoint._core.event_loop.WritePipeBase",
            methods: vec![one_by_name::<Write>(c"write", write)],
            attributes: attributes(&WRITER),
        },
    )?;
    Ok([reader, writer])
}

/// The native half of a pipe transport.
#[pyclass(frozen, module = "counterpoint._core.event_loop")]
pub struct Pipe {
    native: Py<Loop>,
    kept: Kept,
    /// -1 until it is known.
    fd: AtomicI32,
}

impl Keeps for Pipe {
    fn kept(&self) -> &Kept {
        &self.kept
    }
}

#[pymethods]
impl Pipe {
    #[new]
    fn new(native: Py<Loop>) -> Self {
        Self { native, kept: Kept::default(), fd: AtomicI32::new(-1) }
    }

    /// Its descriptor is known.
    fn begin(&self, fd: RawFd) {
        self.fd.store(fd, Ordering::Relaxed);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.native)?;
        self.kept.visit(&visit)
    }

    fn __clear__(&self) {
        self.kept.clear();
    }
}

/// `_read_ready()`: there is something to read, or the end.
unsafe extern "C" fn read_ready(transport: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: a method is called on its own type.
        let (pipe, object) =
            unsafe { (READER.demand(py, transport)?, Bound::from_borrowed_ptr(py, transport)) };
        let fd = pipe.fd.load(Ordering::Relaxed);
        let source = Source { fd, left: &Cell::new(Left::Unknown), is_pipe: true };
        match receive_bytes(py, pipe.native.get(), &source, MOST, Sizes::place_of_any) {
            Ok(Some(data)) => pipe.deliver(py, &object, data)?,
            Ok(None) => return Err(fetch(py)),
            Err(error) if waits(&error) => {}
            Err(error) => {
                fatal_error(&object, os_error(&error), "Fatal read error on pipe transport")?;
            }
        }
        Ok(none())
    })
}

impl Pipe {
    fn deliver(&self, py: Python<'_>, transport: &Bound<'_, PyAny>, data: Ref) -> PyResult<()> {
        // SAFETY: a bytes object.
        if unsafe { ffi::Py_SIZE(data.as_ptr()) } == 0 {
            transport.call_method0(intern!(py, "_at_end"))?;
            return Ok(());
        }
        let Some(protocol) = self.kept.protocol(py) else { return Ok(()) };
        let name = intern!(py, "data_received").as_ptr();
        // SAFETY: live objects, the first of which is the receiver; a reference of our own, or null
        // with an exception set.
        let result = unsafe { Ref::owned(call_method(name, &[protocol.as_ptr(), data.as_ptr()])) };
        let native = self.native.get();
        drop(native.state.with(py, |state| state.spare.give_back(data)));
        if result.is_some() {
            return Ok(());
        }
        let message = "Fatal error: protocol.data_received() call failed.";
        callback_failed(transport, fetch(py), message)
    }

    /// Writes what the kernel takes at once, if nothing waits to be written; how much that was.
    ///
    /// # Safety
    /// `transport` is the one whose native half this is.
    unsafe fn write(&self, py: Python<'_>, transport: *mut PyObject, data: &[u8]) -> usize {
        if data.is_empty() || self.kept.is_lost() || self.kept.is_closing() {
            return 0;
        }
        // SAFETY: a live object; a new reference, or null with an exception set; so many bytes. The
        // descriptor does not make wait, so the interpreter is kept.
        unsafe {
            let name = intern!(py, "_buffer").as_ptr();
            match Ref::owned(ffi::PyObject_GetAttr(transport, name)) {
                Some(unsent) if ffi::PyObject_Size(unsent.as_ptr()) == 0 => {}
                _ => {
                    ffi::PyErr_Clear(); // who writes it otherwise meets the error again
                    return 0;
                }
            }
            let fd = self.fd.load(Ordering::Relaxed);
            usize::try_from(libc::write(fd, data.as_ptr().cast(), data.len())).unwrap_or(0)
        }
    }
}

/// `write(data)`.
struct Write;

impl Sole for Write {
    const NAME: &'static str = "data";

    #[inline(always)]
    unsafe fn call(transport: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
        // SAFETY: the caller's promise.
        unsafe { write_data(transport, data) }
    }
}

#[inline(always)]
unsafe fn write_data(transport: *mut PyObject, data: *mut PyObject) -> *mut PyObject {
    // SAFETY: as above.
    let written = unsafe {
        let py = Python::assume_attached();
        match WRITER.get(py, transport) {
            Some(pipe) if ffi::PyBytes_CheckExact(data) != 0 => {
                let (start, size) = (ffi::PyBytes_AS_STRING(data), ffi::Py_SIZE(data) as usize);
                let written = pipe.write(py, transport, slice::from_raw_parts(start.cast(), size));
                if written == size && size > 0 {
                    return none();
                }
                written
            }
            _ => 0,
        }
    };
    guarded(|py| {
        // SAFETY: receiver and argument of a method.
        let (transport, data) = unsafe {
            (Bound::from_borrowed_ptr(py, transport), Bound::from_borrowed_ptr(py, data))
        };
        let rest = match written {
            0 => data,
            // What is written in part is a bytes object.
            _ => match bytes(py, &data.cast::<PyBytes>()?.as_bytes()[written..]) {
                Ok(rest) => rest.bind(py),
                // What comes next would follow a part of this.
                Err(error) => {
                    fatal_error(&transport, error, "Fatal write error on pipe transport")?;
                    return Ok(none());
                }
            },
        };
        Ok(transport.call_method1(intern!(py, "_write_otherwise"), (rest,))?.into_ptr())
    })
}
