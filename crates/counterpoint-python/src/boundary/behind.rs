//! [`Behind`]: a class derived from one of the stdlib's, with one field of our own behind the base's.
//!
//! The base is a Python class, so the collector's traversal and the destructor are inherited: they
//! know the field because it is declared as a member, which is then hidden. The field holds one of our
//! native objects, which Python puts there once, under a name that no subclass uses for itself.

use super::raw::{NamedMethod, Spec, attribute, guarded, hide, raw_type};
use pyo3::PyClass;
use pyo3::exceptions::{PyAttributeError, PyRuntimeError};
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use pyo3::pyclass::boolean_struct::True;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a processor fetches at once.
const LINE: usize = 64;

/// Has the processor fetch what is there, which is needed soon. That does no harm wherever it points.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: as above.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

/// Where the field of one such class is, and what it holds.
pub struct Behind<T> {
    /// The attribute by which Python puts the native object into its place.
    field: &'static CStr,
    offset: AtomicUsize,
    content: PhantomData<fn() -> T>,
}

/// What the class is made of.
pub struct Outline {
    /// The dotted name.
    pub name: &'static CStr,
    /// Methods, without the terminating zero.
    pub methods: Vec<NamedMethod>,
    /// Computed attributes, without the terminating zero.
    pub attributes: Vec<ffi::PyGetSetDef>,
}

impl<T: PyClass<Frozen = True> + Sync> Behind<T> {
    /// The class is not made yet.
    pub const fn new(field: &'static CStr) -> Self {
        Self { field, offset: AtomicUsize::new(0), content: PhantomData }
    }

    /// Makes the class.
    pub fn make<'py>(
        &'static self,
        base: &Bound<'py, PyAny>,
        outline: Outline,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a live type object.
        let size = unsafe { (*base.as_ptr().cast::<PyTypeObject>()).tp_basicsize } as usize;
        let offset = size.next_multiple_of(align_of::<*mut PyObject>());
        self.offset.store(offset, Ordering::Relaxed);
        let mut attributes = outline.attributes;
        attributes.push(ffi::PyGetSetDef {
            closure: ptr::from_ref(self).cast_mut().cast(),
            ..attribute(self.field, get::<T>, set::<T>)
        });
        let member = c"_counterpoint_native";
        let spec = Spec {
            name: outline.name,
            size: offset + size_of::<*mut PyObject>(),
            flags: ffi::Py_TPFLAGS_BASETYPE,
            slots: Vec::new(),
            methods: outline.methods,
            members: vec![ffi::PyMemberDef {
                name: member.as_ptr(),
                type_code: ffi::Py_T_OBJECT_EX,
                offset: offset as ffi::Py_ssize_t,
                flags: 0,
                doc: ptr::null(),
            }],
            attributes,
        };
        let class = raw_type(base.py(), spec, Some(base))?;
        hide(&class, &[member.as_ptr()])?;
        Ok(class)
    }

    /// The place of the field.
    ///
    /// # Safety
    /// `object` is an instance of the class.
    #[inline(always)]
    unsafe fn place(&self, object: *mut PyObject) -> *mut *mut PyObject {
        // SAFETY: the caller's promise.
        unsafe { object.byte_add(self.offset.load(Ordering::Relaxed)).cast() }
    }

    /// Has the processor fetch the native object, which is needed soon.
    ///
    /// # Safety
    /// A live instance of the class.
    #[inline(always)]
    pub unsafe fn prefetch(&self, object: *mut PyObject) {
        // SAFETY: the caller's promise.
        let native = unsafe { *self.place(object) };
        for line in 0..size_of::<T>().div_ceil(LINE) + 1 {
            prefetch(native.wrapping_byte_add(LINE * line));
        }
    }

    /// Has the processor fetch the field, which is needed before that.
    ///
    /// # Safety
    /// As [`prefetch`](Self::prefetch).
    #[inline(always)]
    pub unsafe fn prefetch_field(&self, object: *mut PyObject) {
        // SAFETY: the caller's promise.
        prefetch(unsafe { self.place(object) });
    }

    /// The native object; `None` if `__init__` did not run.
    ///
    /// # Safety
    /// `object` is an instance of the class, and outlives the borrow; what the field once held is
    /// never freed before.
    #[inline(always)]
    pub unsafe fn get<'a>(&self, py: Python<'a>, object: *mut PyObject) -> Option<&'a T> {
        // SAFETY: the caller's promise; the class is frozen, so its content may be borrowed.
        unsafe {
            let field = *self.place(object);
            if field.is_null() {
                return None;
            }
            let native = Bound::ref_from_ptr(py, &field);
            Some(&*ptr::from_ref(native.cast_unchecked::<T>().get()))
        }
    }

    /// The same, or the error that says what is missing.
    ///
    /// # Safety
    /// As [`get`](Self::get).
    pub unsafe fn demand<'a>(&self, py: Python<'a>, object: *mut PyObject) -> PyResult<&'a T> {
        // SAFETY: the caller's promise.
        unsafe { self.get(py, object) }.ok_or_else(|| {
            PyRuntimeError::new_err(
                "this object was not initialised: call super().__init__() first",
            )
        })
    }
}

unsafe extern "C" fn get<T: PyClass<Frozen = True> + Sync>(
    object: *mut PyObject,
    closure: *mut c_void,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the closure is the class's own static; the receiver is an instance, whose field is
        // null or owns a live object.
        let (name, native) = unsafe {
            let behind: &Behind<T> = &*closure.cast();
            (behind.field, Bound::from_borrowed_ptr_or_opt(py, *behind.place(object)))
        };
        let missing = || PyAttributeError::new_err(name.to_string_lossy().into_owned());
        Ok(native.ok_or_else(missing)?.into_ptr())
    })
}

unsafe extern "C" fn set<T: PyClass<Frozen = True> + Sync>(
    object: *mut PyObject,
    value: *mut PyObject,
    closure: *mut c_void,
) -> c_int {
    guarded(|py| {
        // SAFETY: null (a deletion) or a live object.
        let value = unsafe { Bound::from_borrowed_ptr_or_opt(py, value) };
        let value = value.ok_or_else(|| PyAttributeError::new_err("cannot be deleted"))?;
        let native = value.cast_into::<T>()?;
        // SAFETY: the closure is the class's own static, the receiver an instance. What was there is
        // kept alive for ever, by the reference that is not given back: a call may be inside,
        // without one of its own.
        unsafe {
            let behind: &Behind<T> = &*closure.cast();
            *behind.place(object) = native.into_ptr();
        }
        Ok(0)
    })
}
