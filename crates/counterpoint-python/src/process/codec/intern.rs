//! [`Interner`]: the functions of a pool that are sent once and then called by number.
//!
//! Only what pickles as its name is: pickling it again would give the same bytes, and unpickling
//! them the same object. Numbers are never given away again, and what has one is a module's, so
//! the references that are kept keep nothing alive that would go otherwise.

use super::format::MAX_FUNCTIONS;
use super::pickling::Pickling;
use crate::boundary::Protected;
use pyo3::Borrowed;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

/// A function to be called, and its number if it has one.
#[derive(Clone, Copy)]
pub struct Function<'a, 'py> {
    pub(super) object: Borrowed<'a, 'py, PyAny>,
    pub(super) id: Option<u32>,
}

impl Function<'_, '_> {
    /// Its number: a worker must have got the definition before the call.
    #[inline(always)]
    pub fn id(&self) -> Option<u32> {
        self.id
    }
}

/// By address; an entry owns its function, so that no other gets the address.
type Known = HashMap<usize, (u32, Py<PyAny>), BuildHasherDefault<AddressHasher>>;

/// Numbers of functions, and their definitions.
#[derive(Default)]
pub struct Interner {
    known: Protected<Known>,
    /// By number. Locked for moments, by threads that may be attached or not.
    definitions: Mutex<Vec<Arc<[u8]>>>,
}

impl Interner {
    /// `function` with its number, which it gets if it can have one.
    #[inline]
    pub fn intern<'a, 'py>(
        &self,
        function: Borrowed<'a, 'py, PyAny>,
    ) -> PyResult<Function<'a, 'py>> {
        let known = self.known(function);
        let id = if known.is_some() { known } else { self.learn(function)? };
        Ok(Function { object: function, id })
    }

    /// What [`Functions::define`](super::Functions::define) takes. Needs no Python.
    pub fn definition(&self, id: u32) -> Option<Arc<[u8]>> {
        self.definitions().get(id as usize).cloned()
    }

    /// The function of a number. A search, for errors.
    pub fn function<'py>(&self, py: Python<'py>, id: u32) -> Option<Bound<'py, PyAny>> {
        self.known.with(py, |known| {
            let (_, function) = known.values().find(|(other, _)| *other == id)?;
            Some(function.bind(py).clone())
        })
    }

    /// Shows the collector what it holds.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: called for a traversal.
        unsafe { self.known.peek() }.values().try_for_each(|(_, function)| visit.call(function))
    }

    /// Drops the functions, for a collector that clears a cycle; definitions stay.
    pub fn clear(&self, py: Python<'_>) {
        let known = self.known.with(py, std::mem::take);
        drop(known);
    }

    #[inline(always)]
    fn known(&self, function: Borrowed<'_, '_, PyAny>) -> Option<u32> {
        let address = function.as_ptr() as usize;
        self.known.with(function.py(), |known| known.get(&address).map(|(id, _)| *id))
    }

    #[cold]
    fn learn(&self, function: Borrowed<'_, '_, PyAny>) -> PyResult<Option<u32>> {
        if !may_have_name(function) || self.definitions().len() >= MAX_FUNCTIONS {
            return Ok(None);
        }
        let py = function.py();
        let Some(stream) = Pickling::get(py)?.dumps_by_reference(&function)? else {
            return Ok(None);
        };
        let mut own = Some(function.to_owned().unbind());
        // Another thread may have been faster: then its number holds, and `own` is dropped after.
        Ok(self.known.with(py, |known| self.add(known, &mut own, stream.into())))
    }

    fn add(
        &self,
        known: &mut Known,
        function: &mut Option<Py<PyAny>>,
        definition: Arc<[u8]>,
    ) -> Option<u32> {
        let address = function.as_ref()?.as_ptr() as usize;
        if let Some((id, _)) = known.get(&address) {
            return Some(*id);
        }
        let mut definitions = self.definitions();
        if definitions.len() >= MAX_FUNCTIONS {
            return None;
        }
        let id = definitions.len() as u32;
        definitions.push(definition);
        known.insert(address, (id, function.take()?));
        Some(id)
    }

    fn definitions(&self) -> std::sync::MutexGuard<'_, Vec<Arc<[u8]>>> {
        self.definitions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is of a type whose objects pickle as a name, if they have one.
fn may_have_name(function: Borrowed<'_, '_, PyAny>) -> bool {
    let object = function.as_ptr();
    // SAFETY: a live object; the types live as long as the interpreter. What a builtin function
    // is bound to is asked of exactly such a function, and borrowed.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if kind == &raw mut ffi::PyCFunction_Type {
            // Bound to a module, not to an object whose method it is.
            let bound = ffi::PyCFunction_GetSelf(object);
            return bound.is_null() || ffi::PyModule_CheckExact(bound) != 0;
        }
        kind == &raw mut ffi::PyFunction_Type
            || kind == &raw mut ffi::PyType_Type
            || kind == &raw mut ffi::PyMethodDescr_Type
    }
}

/// Spreads addresses, which are multiples of 16.
#[derive(Default)]
struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_usize(*byte as usize));
    }

    #[inline(always)]
    fn write_usize(&mut self, address: usize) {
        // Fibonacci hashing; the table looks at the lowest and the highest bits.
        let spread = (self.0 ^ address as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = spread ^ (spread >> 32);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
