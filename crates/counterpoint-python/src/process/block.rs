//! [`Block`]: memory that another process wrote, as a Python buffer.

use counterpoint_pool::Received;
use counterpoint_shm::arena::View;
use counterpoint_shm::channel::Held;
use pyo3::exceptions::PyOSError;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_int;
use std::mem::ManuallyDrop;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Blocks of the parent's arena that a worker needs no more.
#[derive(Default)]
pub struct Returned(Mutex<Pile>);

#[derive(Default)]
struct Pile {
    offsets: Vec<u64>,
    /// Still mapped.
    views: Vec<View>,
    /// Whether those to come are to stay mapped for now.
    postponed: bool,
}

impl Returned {
    /// The offsets of all that came up since the last time, which are mapped no more.
    pub fn take(&self) -> Vec<u64> {
        let mut pile = self.pile();
        let (offsets, views) = (std::mem::take(&mut pile.offsets), std::mem::take(&mut pile.views));
        drop(pile);
        drop(views);
        offsets
    }

    /// Leaves mapped what `f` lets go of, until it is taken.
    pub fn postpone(&self, f: impl FnOnce()) {
        self.pile().postponed = true;
        f();
        self.pile().postponed = false;
    }

    fn add(&self, offset: u64, view: View) {
        let mut pile = self.pile();
        if pile.postponed {
            pile.views.push(view);
        } else {
            drop(pile);
            drop(view);
            pile = self.pile();
        }
        pile.offsets.push(offset);
    }

    fn pile(&self) -> MutexGuard<'_, Pile> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is to hear that a block is not mapped any more. Dropped after the mapping is gone.
enum Origin {
    Worker {
        _block: Arc<Received>,
    },
    Parent {
        offset: u64,
        returned: Arc<Returned>,
    },
    /// A parcel: the kernel counts.
    Nobody,
    Channel {
        _run: Held,
    },
}

/// A private mapping: what is written to it nobody else sees. Supports the buffer protocol.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Block {
    view: ManuallyDrop<View>,
    origin: Origin,
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: nobody uses it after this. Before the rest of this, since it is said to be unmapped
        // then.
        let view = unsafe { ManuallyDrop::take(&mut self.view) };
        if let Origin::Parent { offset, returned } = &self.origin {
            returned.add(*offset, view);
        }
    }
}

impl Block {
    fn new(py: Python<'_>, view: View, origin: Origin) -> PyResult<Py<Self>> {
        Py::new(py, Self { view: ManuallyDrop::new(view), origin })
    }

    /// A block of a worker's.
    pub fn of_worker(py: Python<'_>, block: &Arc<Received>) -> PyResult<Py<PyAny>> {
        let view = block.map().map_err(unmappable)?;
        let origin = Origin::Worker { _block: block.clone() };
        Ok(Self::new(py, view, origin)?.into_any())
    }

    /// A parcel.
    pub fn of_nobody(py: Python<'_>, view: View) -> PyResult<Py<Self>> {
        Self::new(py, view, Origin::Nobody)
    }

    /// A run of a channel's.
    pub fn of_channel(py: Python<'_>, run: Held) -> PyResult<Py<PyAny>> {
        let view = run.map().map_err(unmappable)?;
        Ok(Self::new(py, view, Origin::Channel { _run: run })?.into_any())
    }

    /// A block of the parent's, which is told by way of `returned`.
    pub fn of_parent(
        py: Python<'_>,
        view: View,
        offset: u64,
        returned: &Arc<Returned>,
    ) -> PyResult<Py<PyAny>> {
        let origin = Origin::Parent { offset, returned: returned.clone() };
        Ok(Self::new(py, view, origin)?.into_any())
    }
}

/// The error for memory that cannot be mapped.
pub fn unmappable(error: std::io::Error) -> PyErr {
    PyOSError::new_err(format!(
        "a block of shared memory cannot be mapped ({error}): keep fewer large results alive"
    ))
}

#[pymethods]
impl Block {
    /// # Safety
    /// Called by CPython, with a view to be filled.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let memory = &slf.get().view;
        // SAFETY: the mapping is writable and lives as long as this object, which the filled view
        // holds a reference to.
        let filled = unsafe {
            let len = memory.len() as ffi::Py_ssize_t;
            ffi::PyBuffer_FillInfo(view, slf.as_ptr(), memory.as_ptr().cast(), len, 0, flags)
        };
        if filled == 0 { Ok(()) } else { Err(crate::boundary::fetch(slf.py())) }
    }

    fn __len__(&self) -> usize {
        self.view.len()
    }
}
