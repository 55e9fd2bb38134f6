//! Which of two objects is less: told here for the types whose order is known, by Python for all
//! others.
//!
//! What is told here is exactly what `a < b` says: ints, floats and their mixtures where a float
//! holds the int exactly, str by code points, bytes, and tuples of these, which are ordered by
//! the first pair that differs. Subclasses are left to Python: they may have their own `__lt__`.

use super::object::Object;
use crate::boundary::halts_at_exit;
use counterpoint_sync::queue::{Comparable, Undecided};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::cmp::Ordering;
use std::ffi::c_int;

/// Ints up to here are exact as floats.
const EXACT: u64 = 1 << 53;

/// Tuples in tuples are followed to this depth.
const DEPTH: u32 = 8;

/// How two objects compare; `None` when they do not (a NaN).
type Compared = Result<Option<Ordering>, Undecided>;

impl Comparable for Object {
    #[inline]
    fn less(&self, other: &Self) -> Result<bool, Undecided> {
        // SAFETY: both are alive, and the caller is attached, as for every use of an `Object`.
        let ordering = unsafe { compare(self.as_ptr(), other.as_ptr(), DEPTH)? };
        Ok(ordering == Some(Ordering::Less))
    }
}

/// `a < b`, as Python says it; runs arbitrary code.
pub fn ask_python(py: Python<'_>, a: &Object, b: &Object) -> PyResult<bool> {
    halts_at_exit();
    // SAFETY: both are alive; the error indicator is read when the call failed.
    match unsafe { ffi::PyObject_RichCompareBool(a.as_ptr(), b.as_ptr(), ffi::Py_LT) } {
        -1 => Err(crate::boundary::fetch(py)),
        answer => Ok(answer == 1),
    }
}

/// What a number is worth here.
enum Number {
    Int(i64),
    Float(f64),
}

unsafe fn number(object: *mut PyObject) -> Option<Number> {
    // SAFETY: alive, and of the type that was just checked; an exact int sets no error.
    unsafe {
        if ffi::PyLong_CheckExact(object) != 0 || ffi::PyBool_Check(object) != 0 {
            let mut overflow: c_int = 0;
            let value = ffi::PyLong_AsLongLongAndOverflow(object, &mut overflow);
            return (overflow == 0).then_some(Number::Int(value));
        }
        (ffi::PyFloat_CheckExact(object) != 0)
            .then(|| Number::Float(ffi::PyFloat_AS_DOUBLE(object)))
    }
}

fn compare_numbers(a: Number, b: Number) -> Compared {
    let exact = |int: i64| {
        if int.unsigned_abs() <= EXACT { Ok(int as f64) } else { Err(Undecided) }
    };
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Ok(Some(a.cmp(&b))),
        (Number::Float(a), Number::Float(b)) => Ok(a.partial_cmp(&b)),
        (Number::Int(a), Number::Float(b)) => Ok(exact(a)?.partial_cmp(&b)),
        (Number::Float(a), Number::Int(b)) => Ok(a.partial_cmp(&exact(b)?)),
    }
}

unsafe fn compare(a: *mut PyObject, b: *mut PyObject, depth: u32) -> Compared {
    // SAFETY: both are alive; each branch checks the types that it reads.
    unsafe {
        if let (Some(a), Some(b)) = (number(a), number(b)) {
            return compare_numbers(a, b);
        }
        if ffi::Py_TYPE(a) != ffi::Py_TYPE(b) {
            return Err(Undecided);
        }
        if ffi::PyUnicode_CheckExact(a) != 0 {
            return Ok(Some(ffi::PyUnicode_Compare(a, b).cmp(&0)));
        }
        if ffi::PyBytes_CheckExact(a) != 0 {
            return Ok(Some(bytes(a).cmp(bytes(b))));
        }
        if ffi::PyTuple_CheckExact(a) != 0 && depth > 0 {
            return compare_tuples(a, b, depth - 1);
        }
    }
    Err(Undecided)
}

unsafe fn bytes<'a>(object: *mut PyObject) -> &'a [u8] {
    // SAFETY: an exact bytes object, alive and immutable.
    unsafe {
        let start: *const u8 = ffi::PyBytes_AS_STRING(object).cast();
        std::slice::from_raw_parts(start, ffi::PyBytes_Size(object) as usize)
    }
}

/// By the first pair that is not equal; what is the same object counts as equal.
unsafe fn compare_tuples(a: *mut PyObject, b: *mut PyObject, depth: u32) -> Compared {
    // SAFETY: exact tuples, alive and immutable; the indices are within both.
    unsafe {
        let lengths = [ffi::PyTuple_GET_SIZE(a), ffi::PyTuple_GET_SIZE(b)];
        for at in 0..lengths[0].min(lengths[1]) {
            let (left, right) = (ffi::PyTuple_GET_ITEM(a, at), ffi::PyTuple_GET_ITEM(b, at));
            if left == right {
                continue;
            }
            match compare(left, right, depth)? {
                Some(Ordering::Equal) => {}
                other => return Ok(other),
            }
        }
        Ok(Some(lengths[0].cmp(&lengths[1])))
    }
}
