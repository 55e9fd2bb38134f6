//! [`Writer`]: values of exact builtin types as bytes, without calling Python.
//!
//! While a value is written nothing else happens in this thread: no Python code, no allocation
//! that the collector counts. So with a GIL nothing changes meanwhile. Without one a list or dict
//! may be changed by another thread, and is copied first, which CPython does atomically.

use super::encoded::{Encoded, is_outside};
use super::format::*;
use pyo3::Borrowed;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;

/// The value is for pickle.
#[derive(Debug)]
pub struct Unfit;

type Written = Result<(), Unfit>;

/// Appends one record's values.
pub struct Writer<'a> {
    out: &'a mut Encoded,
    end: usize,
    seen: Vec<*mut PyObject>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`, not more than [`MAX_WRITTEN`] bytes beside larger bytes objects.
    #[inline(always)]
    pub fn new(out: &'a mut Encoded) -> Self {
        out.bytes.reserve(64);
        let end = out.bytes.len() + MAX_WRITTEN;
        Self { out, end, seen: Vec::new() }
    }

    /// Appends a head.
    #[inline(always)]
    pub fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.out.bytes.extend_from_slice(&bytes);
    }

    /// Appends an argument or a result: a value, or a large one's number.
    #[inline(always)]
    pub fn top(&mut self, object: Borrowed<'_, '_, PyAny>) -> Written {
        let mark = self.out.bytes.len();
        match self.value(object, 0) {
            Ok(()) => Ok(()),
            Err(Unfit) => self.outside(object, mark),
        }
    }

    #[cold]
    fn outside(&mut self, object: Borrowed<'_, '_, PyAny>, mark: usize) -> Written {
        if let Some(length) = bytes_between(object)
            && mark < self.end
        {
            // They take none of the room that there is for all: pickle could but copy them as well.
            self.end += length + BYTES_HEAD;
            self.out.bytes.truncate(mark);
            // SAFETY: exact bytes, as was just found.
            return unsafe { self.bytes(object.as_ptr()) };
        }
        let tag = outside_tag(object).ok_or(Unfit)?;
        if tag == OUTSIDE_BYTEARRAY {
            self.meet(object.as_ptr())?;
        }
        self.out.bytes.truncate(mark);
        let number = self.out.attach(&object).map_err(|_| Unfit)?;
        self.put([tag]);
        self.out.put_u32(number);
        Ok(())
    }

    /// Appends a value, of which `depth` containers are open.
    #[inline(always)]
    pub fn value(&mut self, object: Borrowed<'_, '_, PyAny>, depth: usize) -> Written {
        if self.out.bytes.len() >= self.end {
            return Err(Unfit);
        }
        let raw = object.as_ptr();
        // SAFETY: a live object; the types and singletons live as long as the interpreter. Each
        // function is called with an object of exactly its type.
        unsafe {
            let kind = ffi::Py_TYPE(raw);
            if kind == &raw mut ffi::PyLong_Type {
                self.int(raw)
            } else if kind == &raw mut ffi::PyUnicode_Type {
                self.str(raw)
            } else if raw == ffi::Py_None() {
                self.put([NONE]);
                Ok(())
            } else if kind == &raw mut ffi::PyFloat_Type {
                self.float(raw);
                Ok(())
            } else if kind == &raw mut ffi::PyBool_Type {
                self.put([if raw == ffi::Py_True() { TRUE } else { FALSE }]);
                Ok(())
            } else if kind == &raw mut ffi::PyBytes_Type {
                self.bytes(raw)
            } else {
                self.container(object, kind, depth)
            }
        }
    }

    /// # Safety
    /// `object` is exactly an int.
    #[inline(always)]
    unsafe fn int(&mut self, object: *mut PyObject) -> Written {
        let mut overflow = 0;
        // SAFETY: an exact int is converted without calling anything, and without raising.
        let number = unsafe { ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow) };
        if overflow != 0 {
            return Err(Unfit);
        }
        if let Ok(small) = i8::try_from(number) {
            self.put([INT8, small as u8]);
        } else if let Ok(number) = i32::try_from(number) {
            let [a, b, c, d] = number.to_le_bytes();
            self.put([INT32, a, b, c, d]);
        } else {
            let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
            self.put([INT64, a, b, c, d, e, f, g, h]);
        }
        Ok(())
    }

    /// # Safety
    /// `object` is exactly a float.
    #[inline(always)]
    unsafe fn float(&mut self, object: *mut PyObject) {
        // SAFETY: the caller's promise.
        let bits = unsafe { ffi::PyFloat_AS_DOUBLE(object) }.to_bits();
        let [a, b, c, d, e, f, g, h] = bits.to_le_bytes();
        self.put([FLOAT, a, b, c, d, e, f, g, h]);
    }

    /// As it is in memory: cheaper than UTF-8, which cannot hold every str, and of which CPython
    /// would keep a copy beside the str.
    ///
    /// # Safety
    /// `object` is exactly a str.
    #[inline(always)]
    unsafe fn str(&mut self, object: *mut PyObject) -> Written {
        // SAFETY: a str that is ready keeps `length` code points of `kind` bytes at `data`, and
        // never changes.
        let (kind, length, points) = unsafe {
            if ffi::PyUnicode_READY(object) != 0 {
                ffi::PyErr_Clear();
                return Err(Unfit);
            }
            let kind = ffi::PyUnicode_KIND(object) as usize;
            let length = ffi::PyUnicode_GET_LENGTH(object) as usize;
            let data: *const u8 = ffi::PyUnicode_DATA(object).cast();
            (kind, length, std::slice::from_raw_parts(data, length * kind))
        };
        if kind == 1 && length < 256 {
            self.put([SHORT_STR, length as u8]);
        } else {
            self.room(points.len())?;
            self.put([STR, kind as u8]);
            self.put((length as u32).to_le_bytes());
        }
        self.out.bytes.extend_from_slice(points);
        Ok(())
    }

    /// # Safety
    /// `object` is exactly a bytes object.
    unsafe fn bytes(&mut self, object: *mut PyObject) -> Written {
        // SAFETY: the caller's promise; bytes never change.
        let bytes = unsafe {
            let data: *const u8 = ffi::PyBytes_AS_STRING(object).cast();
            std::slice::from_raw_parts(data, ffi::PyBytes_Size(object) as usize)
        };
        self.room(bytes.len())?;
        self.put([BYTES]);
        self.put((bytes.len() as u32).to_le_bytes());
        self.out.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn room(&self, length: usize) -> Written {
        if self.out.bytes.len() + length > self.end { Err(Unfit) } else { Ok(()) }
    }

    /// Notes a container; one that is met twice is shared, or its own part, which pickle keeps.
    fn meet(&mut self, object: *mut PyObject) -> Written {
        if self.seen.len() == MAX_CONTAINERS || self.seen.contains(&object) {
            return Err(Unfit);
        }
        self.seen.push(object);
        Ok(())
    }

    #[inline(never)]
    fn container(
        &mut self,
        object: Borrowed<'_, '_, PyAny>,
        kind: *mut ffi::PyTypeObject,
        depth: usize,
    ) -> Written {
        // The types live as long as the interpreter.
        let (tuple, list) = (&raw mut ffi::PyTuple_Type, &raw mut ffi::PyList_Type);
        let dict = &raw mut ffi::PyDict_Type;
        if depth == MAX_DEPTH || (kind != tuple && kind != list && kind != dict) {
            return Err(Unfit);
        }
        // SAFETY: a live tuple.
        if kind != tuple || unsafe { ffi::PyTuple_GET_SIZE(object.as_ptr()) } != 0 {
            self.meet(object.as_ptr())?;
        }
        if kind == tuple {
            self.tuple(TUPLE, object, depth)
        } else if kind == list {
            self.list(object, depth)
        } else {
            self.dict(object, depth)
        }
    }

    fn count(&mut self, tag: u8, count: usize) -> Written {
        // Every value needs a byte of the room that there is.
        let count = u16::try_from(count).map_err(|_| Unfit)?;
        self.put([tag]);
        self.put(count.to_le_bytes());
        Ok(())
    }

    /// A tuple, or the copy of a list.
    fn tuple(&mut self, tag: u8, object: Borrowed<'_, '_, PyAny>, depth: usize) -> Written {
        let tuple = object.as_ptr();
        // SAFETY: a live tuple, which never changes; `at` is within it.
        let size = unsafe { ffi::PyTuple_GET_SIZE(tuple) };
        self.count(tag, size as usize)?;
        (0..size).try_for_each(|at| {
            // SAFETY: as above.
            let item = unsafe { borrow(object.py(), ffi::PyTuple_GET_ITEM(tuple, at)) };
            self.value(item, depth + 1)
        })
    }

    #[cfg(not(Py_GIL_DISABLED))]
    fn list(&mut self, object: Borrowed<'_, '_, PyAny>, depth: usize) -> Written {
        let list = object.as_ptr();
        // SAFETY: a live list, which nobody changes meanwhile (see the head of this file).
        let size = unsafe { ffi::PyList_GET_SIZE(list) };
        self.count(LIST, size as usize)?;
        (0..size).try_for_each(|at| {
            // SAFETY: as above; `at` is within the list.
            let item = unsafe { borrow(object.py(), ffi::PyList_GET_ITEM(list, at)) };
            self.value(item, depth + 1)
        })
    }

    #[cfg(Py_GIL_DISABLED)]
    fn list(&mut self, object: Borrowed<'_, '_, PyAny>, depth: usize) -> Written {
        // SAFETY: a live list, of which this makes a tuple in one step.
        let copy = unsafe { owned(object.py(), ffi::PyList_AsTuple(object.as_ptr()))? };
        self.tuple(LIST, copy.as_borrowed(), depth)
    }

    fn dict(&mut self, object: Borrowed<'_, '_, PyAny>, depth: usize) -> Written {
        #[cfg(Py_GIL_DISABLED)]
        // SAFETY: a live dict, of which this makes a copy in one step.
        let copy = unsafe { owned(object.py(), ffi::PyDict_Copy(object.as_ptr()))? };
        #[cfg(Py_GIL_DISABLED)]
        let object = copy.as_borrowed();
        let (py, dict) = (object.py(), object.as_ptr());
        // SAFETY: a live dict, which nobody changes meanwhile (see the head of this file).
        self.count(DICT, unsafe { ffi::PyDict_Size(dict) } as usize)?;
        let (mut at, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: as above; `at` is what the call before left there.
        while unsafe { ffi::PyDict_Next(dict, &mut at, &mut key, &mut value) } != 0 {
            // SAFETY: the dict holds both.
            let (key, value) = unsafe { (borrow(py, key), borrow(py, value)) };
            self.value(key, depth + 1)?;
            self.value(value, depth + 1)?;
        }
        Ok(())
    }
}

/// The length of an exact bytes object that is too small to travel out of band.
fn bytes_between(object: Borrowed<'_, '_, PyAny>) -> Option<usize> {
    let raw = object.as_ptr();
    // SAFETY: a live object; its size is asked for as its type says.
    let length = unsafe { (ffi::PyBytes_CheckExact(raw) != 0).then(|| ffi::PyBytes_Size(raw))? };
    Some(length as usize).filter(|length| !is_outside(*length))
}

/// The tag of an exact bytes or bytearray object that travels out of band.
pub fn outside_tag(object: Borrowed<'_, '_, PyAny>) -> Option<u8> {
    let raw = object.as_ptr();
    // SAFETY: a live object; its size is asked for as its type says.
    let (tag, length) = unsafe {
        if ffi::PyBytes_CheckExact(raw) != 0 {
            (OUTSIDE_BYTES, ffi::PyBytes_Size(raw))
        } else if ffi::PyByteArray_CheckExact(raw) != 0 {
            (OUTSIDE_BYTEARRAY, ffi::PyByteArray_Size(raw))
        } else {
            return None;
        }
    };
    is_outside(length as usize).then_some(tag)
}

/// # Safety
/// `object` is alive as long as the borrow is used, and not null.
#[inline(always)]
unsafe fn borrow<'a, 'py>(py: Python<'py>, object: *mut PyObject) -> Borrowed<'a, 'py, PyAny> {
    // SAFETY: the caller's promise.
    unsafe { Borrowed::from_ptr(py, object) }
}

/// # Safety
/// `object` is a new reference, or null with an exception set.
#[cfg(Py_GIL_DISABLED)]
unsafe fn owned<'py>(py: Python<'py>, object: *mut PyObject) -> Result<Bound<'py, PyAny>, Unfit> {
    // SAFETY: the caller's promise.
    unsafe { Bound::from_owned_ptr_or_err(py, object) }.map_err(|_| Unfit)
}
