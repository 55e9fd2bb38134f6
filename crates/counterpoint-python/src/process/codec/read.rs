//! [`Reader`]: what `Writer` wrote. Nothing in the bytes is believed before it is checked.

use super::encoded::Buffers;
use super::fault::Fault;
use super::format::*;
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};

type Value<'py> = Result<Bound<'py, PyAny>, Fault>;

/// The rest of a record.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins to read a record.
    pub fn new(record: &'a [u8]) -> Self {
        Self(record)
    }

    /// The next bytes.
    #[inline(always)]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
        self.0 = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
        self.0 = rest;
        Ok(*taken)
    }

    /// The next byte.
    #[inline(always)]
    pub fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// The next number.
    #[inline(always)]
    pub fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    /// That nothing is left.
    #[inline(always)]
    pub fn end(&self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Damaged("more bytes than it has parts")) }
    }

    /// The next argument or result that is not pickled.
    #[inline(always)]
    pub fn top<'py>(&mut self, py: Python<'py>, buffers: &mut Buffers<'_>) -> Value<'py> {
        match self.0.first() {
            Some(&tag) if matches!(tag, OUTSIDE_BYTES | OUTSIDE_BYTEARRAY) => {
                self.0 = &self.0[1..];
                let number = self.u32()?;
                outside(py, tag, number, buffers)
            }
            _ => self.value(py, 0),
        }
    }

    /// The next value, inside of `depth` containers.
    #[inline(always)]
    pub fn value<'py>(&mut self, py: Python<'py>, depth: usize) -> Value<'py> {
        let tag = self.u8()?;
        // SAFETY: attached; each makes a new reference, or null with an exception set.
        let made = unsafe {
            match tag {
                INT8 => ffi::PyLong_FromLong(self.u8()? as i8 as _),
                INT32 => ffi::PyLong_FromLong(self.array().map(i32::from_le_bytes)? as _),
                INT64 => ffi::PyLong_FromLongLong(self.array().map(i64::from_le_bytes)?),
                SHORT_STR => {
                    let length = self.u8()? as usize;
                    return text(py, 1, self.take(length)?);
                }
                NONE => ffi::Py_NewRef(ffi::Py_None()),
                TRUE => ffi::Py_NewRef(ffi::Py_True()),
                FALSE => ffi::Py_NewRef(ffi::Py_False()),
                FLOAT => {
                    ffi::PyFloat_FromDouble(f64::from_bits(self.array().map(u64::from_le_bytes)?))
                }
                _ => return self.larger(py, tag, depth),
            }
        };
        // SAFETY: as above.
        unsafe { owned(py, made) }
    }

    #[inline(never)]
    fn larger<'py>(&mut self, py: Python<'py>, tag: u8, depth: usize) -> Value<'py> {
        match tag {
            STR => self.str(py),
            BYTES => {
                let length = self.u32()? as usize;
                bytes(py, self.take(length)?)
            }
            TUPLE | LIST | DICT if depth == MAX_DEPTH => Err(Fault::Damaged("nested too deeply")),
            TUPLE => self.tuple(py, depth),
            LIST => self.list(py, depth),
            DICT => self.dict(py, depth),
            _ => Err(Fault::Damaged("a tag that nothing has")),
        }
    }

    fn str<'py>(&mut self, py: Python<'py>) -> Value<'py> {
        let kind = self.u8()?;
        if !matches!(kind, 1 | 2 | 4) {
            return Err(Fault::Damaged("a str of no kind"));
        }
        let length = (self.u32()? as usize).checked_mul(kind as usize).ok_or(SHORT)?;
        text(py, kind, self.take(length)?)
    }

    /// The count of a container, each part of which needs `least` bytes of the record.
    fn count(&mut self, least: usize) -> Result<ffi::Py_ssize_t, Fault> {
        let count = self.array().map(u16::from_le_bytes)? as usize;
        if count * least > self.0.len() { Err(SHORT) } else { Ok(count as ffi::Py_ssize_t) }
    }

    fn tuple<'py>(&mut self, py: Python<'py>, depth: usize) -> Value<'py> {
        let count = self.count(1)?;
        // SAFETY: a new tuple that nobody else uses gets each item once, and owns it; items that
        // are missing when reading fails are null, which its destructor allows for.
        unsafe {
            let tuple = owned(py, ffi::PyTuple_New(count))?;
            for at in 0..count {
                let item = self.value(py, depth + 1)?;
                ffi::PyTuple_SET_ITEM(tuple.as_ptr(), at, item.into_ptr());
            }
            Ok(tuple)
        }
    }

    fn list<'py>(&mut self, py: Python<'py>, depth: usize) -> Value<'py> {
        let count = self.count(1)?;
        // SAFETY: as for the tuple.
        unsafe {
            let list = owned(py, ffi::PyList_New(count))?;
            for at in 0..count {
                let item = self.value(py, depth + 1)?;
                ffi::PyList_SET_ITEM(list.as_ptr(), at, item.into_ptr());
            }
            Ok(list)
        }
    }

    fn dict<'py>(&mut self, py: Python<'py>, depth: usize) -> Value<'py> {
        let count = self.count(2)?;
        // SAFETY: a new dict, which takes references of its own.
        unsafe {
            let dict = owned(py, ffi::PyDict_New())?;
            for _ in 0..count {
                let key = self.value(py, depth + 1)?;
                let value = self.value(py, depth + 1)?;
                if ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) != 0 {
                    return Err(Fault::Raised);
                }
            }
            Ok(dict)
        }
    }
}

const SHORT: Fault = Fault::Damaged("fewer bytes than it says");

/// The bytes or bytearray object that `tag` says, from an out-of-band buffer.
pub fn outside<'py>(
    py: Python<'py>,
    tag: u8,
    number: u32,
    buffers: &mut Buffers<'_>,
) -> Value<'py> {
    let buffer = match buffers(number) {
        Ok(buffer) => buffer.into_bound(py),
        Err(error) => {
            error.restore(py);
            return Err(Fault::Raised);
        }
    };
    // SAFETY: both copy from any live object that has a buffer, and raise for others.
    unsafe {
        match tag {
            OUTSIDE_BYTES => owned(py, ffi::PyBytes_FromObject(buffer.as_ptr())),
            OUTSIDE_BYTEARRAY => owned(py, ffi::PyByteArray_FromObject(buffer.as_ptr())),
            _ => Err(Fault::Damaged("a place for what never is out of band")),
        }
    }
}

/// A bytes object.
pub fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> Value<'py> {
    let length = bytes.len() as ffi::Py_ssize_t;
    // SAFETY: `length` bytes are copied from there.
    unsafe { owned(py, ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), length)) }
}

/// A str of `points`, each of `kind` bytes. CPython looks through them for the largest.
#[inline(always)]
fn text<'py>(py: Python<'py>, kind: u8, points: &[u8]) -> Value<'py> {
    let length = (points.len() / kind as usize) as ffi::Py_ssize_t;
    if kind > 1 {
        return wide(py, kind, points, length);
    }
    let data: *const c_void = points.as_ptr().cast();
    // SAFETY: `length` code points of one byte are copied from there.
    unsafe { owned(py, ffi::PyUnicode_FromKindAndData(kind as c_int, data, length)) }
}

/// From memory that is aligned for it, as a record need not be.
#[cold]
fn wide<'py>(py: Python<'py>, kind: u8, points: &[u8], length: ffi::Py_ssize_t) -> Value<'py> {
    let mut aligned = vec![0u32; points.len().div_ceil(4)];
    let data: *mut u8 = aligned.as_mut_ptr().cast();
    // SAFETY: the copy is at least as long.
    unsafe { std::ptr::copy_nonoverlapping(points.as_ptr(), data, points.len()) };
    if kind == 4 && aligned.iter().any(|point| *point > char::MAX as u32) {
        return Err(Fault::Damaged("a str of what are no code points"));
    }
    // SAFETY: `length` code points of `kind` bytes are in the copy.
    unsafe { owned(py, ffi::PyUnicode_FromKindAndData(kind as c_int, data.cast(), length)) }
}

/// # Safety
/// `made` is a new reference, or null with an exception set.
#[inline(always)]
unsafe fn owned<'py>(py: Python<'py>, made: *mut ffi::PyObject) -> Value<'py> {
    // SAFETY: the caller's promise.
    unsafe { Bound::from_owned_ptr_or_opt(py, made) }.ok_or(Fault::Raised)
}
