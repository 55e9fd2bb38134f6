//! [`Kept`]: what asyncio's own code reads and sets of a transport of datagrams or of a pipe, and native
//! code looks at each time.

use crate::boundary::{Behind, Protected, attribute, boolean, guarded, none, value};
use crate::executor::reference::Ref;
use pyo3::PyClass;
use pyo3::ffi::{self, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The attributes.
#[derive(Default)]
pub struct Kept {
    protocol: Protected<Option<Ref>>,
    is_closing: AtomicBool,
    /// As asyncio's `_conn_lost`.
    lost: AtomicU32,
}

impl Kept {
    /// Who is told.
    pub fn protocol(&self, py: Python<'_>) -> Option<Ref> {
        self.protocol.with(py, |protocol| protocol.as_ref().map(Ref::share))
    }

    /// Whether it is closing.
    #[inline(always)]
    pub fn is_closing(&self) -> bool {
        self.is_closing.load(Ordering::Relaxed)
    }

    /// Whether it is lost.
    #[inline(always)]
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed) != 0
    }

    /// For the collector, which alone calls this.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: as its name says.
        unsafe { self.protocol.peek() }.iter().try_for_each(|protocol| protocol.visit(visit))
    }

    /// The same.
    pub fn clear(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        drop(self.protocol.with(py, Option::take));
    }
}

/// A native half that keeps them.
pub trait Keeps: PyClass<Frozen = True> + Sync {
    fn kept(&self) -> &Kept;
}

/// Them as computed attributes of the class.
pub fn attributes<T: Keeps>(behind: &'static Behind<T>) -> Vec<ffi::PyGetSetDef> {
    let closure = ptr::from_ref(behind).cast_mut().cast();
    let all = [
        attribute(c"_closing", closing::<T>, set_closing::<T>),
        attribute(c"_conn_lost", lost::<T>, set_lost::<T>),
        attribute(c"_protocol", protocol::<T>, set_protocol::<T>),
    ];
    all.map(|attribute| ffi::PyGetSetDef { closure, ..attribute }).into()
}

/// Those of an attribute's receiver.
fn receiver<'a, T: Keeps>(
    py: Python<'a>,
    transport: *mut PyObject,
    behind: *mut c_void,
) -> PyResult<&'a Kept> {
    // SAFETY: the closure is the class's own static; CPython passes an instance of the class.
    unsafe { (*behind.cast::<Behind<T>>()).demand(py, transport).map(T::kept) }
}

unsafe extern "C" fn closing<T: Keeps>(
    transport: *mut PyObject,
    behind: *mut c_void,
) -> *mut PyObject {
    guarded(|py| Ok(boolean(receiver::<T>(py, transport, behind)?.is_closing())))
}

unsafe extern "C" fn set_closing<T: Keeps>(
    transport: *mut PyObject,
    given: *mut PyObject,
    behind: *mut c_void,
) -> c_int {
    guarded(|py| {
        let given = value(py, given)?.is_truthy()?;
        receiver::<T>(py, transport, behind)?.is_closing.store(given, Ordering::Relaxed);
        Ok(0)
    })
}

unsafe extern "C" fn lost<T: Keeps>(
    transport: *mut PyObject,
    behind: *mut c_void,
) -> *mut PyObject {
    guarded(|py| {
        let lost = receiver::<T>(py, transport, behind)?.lost.load(Ordering::Relaxed);
        Ok(lost.into_pyobject(py)?.into_any().into_ptr())
    })
}

unsafe extern "C" fn set_lost<T: Keeps>(
    transport: *mut PyObject,
    given: *mut PyObject,
    behind: *mut c_void,
) -> c_int {
    guarded(|py| {
        let given = value(py, given)?.extract()?;
        receiver::<T>(py, transport, behind)?.lost.store(given, Ordering::Relaxed);
        Ok(0)
    })
}

unsafe extern "C" fn protocol<T: Keeps>(
    transport: *mut PyObject,
    behind: *mut c_void,
) -> *mut PyObject {
    guarded(|py| {
        let protocol = receiver::<T>(py, transport, behind)?.protocol(py);
        Ok(protocol.map_or_else(none, Ref::into_ptr))
    })
}

unsafe extern "C" fn set_protocol<T: Keeps>(
    transport: *mut PyObject,
    given: *mut PyObject,
    behind: *mut c_void,
) -> c_int {
    guarded(|py| {
        let given = value(py, given)?;
        let given = (!given.is_none()).then(|| Ref::from(given));
        let swap = |protocol: &mut Option<Ref>| std::mem::replace(protocol, given);
        drop(receiver::<T>(py, transport, behind)?.protocol.with(py, swap));
        Ok(0)
    })
}
