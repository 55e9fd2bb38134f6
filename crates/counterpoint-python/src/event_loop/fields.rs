//! [`Fields`]: the attributes of an object whose class has no say in them.

use crate::executor::reference::Ref;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;
use std::ptr;
use std::sync::atomic::{AtomicIsize, Ordering};

/// An attribute's name, and the place that it has in the dicts of those objects.
///
/// Objects of one class are mostly given their attributes in one order, in which their dicts keep them.
/// To look at a place, and see that it is that name's, takes a third of what it takes to look for the
/// name. The place is learnt from the first object; of another order it is of no use, and of no harm.
pub struct Name {
    text: &'static str,
    interned: PyOnceLock<Py<PyString>>,
    place: AtomicIsize,
}

/// No dict is that long: there is nothing at this place.
const NOWHERE: isize = isize::MAX;

impl Name {
    pub const fn new(text: &'static str) -> Self {
        Self { text, interned: PyOnceLock::new(), place: AtomicIsize::new(NOWHERE) }
    }

    /// It as a string, the one that the interpreter has for all names that are the same.
    #[inline(always)]
    pub fn string<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        self.interned.get_or_init(py, || PyString::intern(py, self.text).unbind()).bind(py)
    }

    /// Whether a string is that very one; another of the same text is none that the interpreter asks with.
    #[inline(always)]
    pub fn is(&self, py: Python<'_>, string: *mut ffi::PyObject) -> bool {
        string == self.string(py).as_ptr()
    }

    /// What the dict has at its place, if that is it, borrowed. Without a GIL somebody may change the dict
    /// meanwhile.
    #[inline(always)]
    fn at_its_place(&self, own: &Bound<'_, PyAny>) -> Option<*mut ffi::PyObject> {
        if cfg!(Py_GIL_DISABLED) {
            return None;
        }
        let (key, value, _) = entry(own, self.place.load(Ordering::Relaxed))?;
        self.is(own.py(), key).then_some(value)
    }

    /// Learns the place, once.
    #[cold]
    fn learn(&self, own: &Bound<'_, PyAny>) {
        let mut place = 0;
        while let Some((key, _, next)) = entry(own, place) {
            if self.is(own.py(), key) {
                return self.place.store(place, Ordering::Relaxed);
            }
            place = next;
        }
    }
}

/// The key and the value, borrowed, at that place of a dict or behind it, and the place behind those.
#[inline(always)]
fn entry(
    own: &Bound<'_, PyAny>,
    mut place: isize,
) -> Option<(*mut ffi::PyObject, *mut ffi::PyObject, isize)> {
    let (mut key, mut value) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: a live dict, of which any place may be asked for.
    let found = unsafe { ffi::PyDict_Next(own.as_ptr(), &mut place, &mut key, &mut value) };
    (found != 0).then_some((key, value, place))
}

/// An attribute that is the last of an object's: its name, and its place in the dict.
pub struct Last {
    place: isize,
    key: Py<PyAny>,
}

/// An object with its dict, where a look takes a third of what one through its class takes. For
/// attributes that are neither properties nor slots.
pub struct Fields<'a, 'py> {
    object: &'a Bound<'py, PyAny>,
    own: Bound<'py, PyAny>,
}

impl<'a, 'py> Fields<'a, 'py> {
    /// Those of an object that has a dict.
    #[inline(always)]
    pub fn of(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        // SAFETY: a live object; a new reference, or null with an exception set.
        let own = unsafe {
            let own = ffi::PyObject_GenericGetDict(object.as_ptr(), ptr::null_mut());
            Bound::from_owned_ptr_or_err(object.py(), own)?
        };
        Ok(Self { object, own })
    }

    /// The object.
    pub fn object(&self) -> &'a Bound<'py, PyAny> {
        self.object
    }

    /// An attribute; the class's, where the object has none.
    #[inline(always)]
    pub fn get(&self, name: &Name) -> PyResult<Bound<'py, PyAny>> {
        match name.at_its_place(&self.own) {
            // SAFETY: a live object, held before anything else runs.
            Some(found) => Ok(unsafe { Bound::from_borrowed_ptr(self.object.py(), found) }),
            None => self.look_for(name),
        }
    }

    #[cold]
    fn look_for(&self, name: &Name) -> PyResult<Bound<'py, PyAny>> {
        let py = self.object.py();
        if cfg!(not(Py_GIL_DISABLED)) && name.place.load(Ordering::Relaxed) == NOWHERE {
            name.learn(&self.own);
        }
        let string = name.string(py);
        // SAFETY: a live dict and string; a new reference, or null with or without an exception set.
        let found = unsafe {
            let mut found = ptr::null_mut();
            ffi::compat::PyDict_GetItemRef(self.own.as_ptr(), string.as_ptr(), &mut found);
            Bound::from_owned_ptr_or_opt(py, found)
        };
        match found {
            Some(found) => Ok(found),
            None => match PyErr::take(py) {
                Some(error) => Err(error),
                None => self.object.getattr(string),
            },
        }
    }

    /// Whether an attribute is true.
    #[inline(always)]
    pub fn is(&self, name: &Name) -> PyResult<bool> {
        let value = self.get(name)?;
        // SAFETY: constants that live as long as the interpreter.
        match unsafe { (value.as_ptr() == ffi::Py_False(), value.as_ptr() == ffi::Py_True()) } {
            (true, _) => Ok(false),
            (_, true) => Ok(true),
            _ => value.is_truthy(),
        }
    }

    /// The one that the object got last.
    pub fn last(&self) -> Option<Last> {
        let (mut place, mut last) = (0, None);
        while let Some((key, _, next)) = entry(&self.own, place) {
            // SAFETY: a live object, which is held.
            let key = unsafe { Bound::from_borrowed_ptr(self.object.py(), key) };
            last = Some(Last { place, key: key.unbind() });
            place = next;
        }
        last
    }

    /// Whether it is the last still: whatever is put into the object comes behind.
    #[inline(always)]
    pub fn end_with(&self, last: &Last) -> bool {
        entry(&self.own, last.place).is_some_and(|(key, _, next)| {
            key == last.key.as_ptr() && entry(&self.own, next).is_none()
        })
    }

    /// Whether the object itself has it.
    #[inline(always)]
    pub fn has_own(&self, name: &Name) -> PyResult<bool> {
        let name = name.string(self.object.py());
        // SAFETY: a live dict and string.
        match unsafe { ffi::PyDict_Contains(self.own.as_ptr(), name.as_ptr()) } {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(crate::boundary::fetch(self.object.py())),
        }
    }

    /// Sets an attribute; the value before is dropped.
    #[inline(always)]
    pub fn set(&self, name: &Name, value: &Ref) -> PyResult<()> {
        let name = name.string(self.object.py());
        // SAFETY: a live dict, string and value.
        match unsafe { ffi::PyDict_SetItem(self.own.as_ptr(), name.as_ptr(), value.as_ptr()) } {
            0 => Ok(()),
            _ => Err(crate::boundary::fetch(self.object.py())),
        }
    }
}
