//! Hand-written heap types, for the few whose calls are too hot for a generated trampoline.
//!
//! Such a type's fast path is a bare C function that touches no pyo3; everything else goes
//! through [`guarded`], which attaches (pyo3 then knows it may drop references) and turns a panic
//! or a `PyErr` into a Python exception.

use super::halts_at_exit;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::panic::PanicException;
use pyo3::prelude::*;
use std::any::Any;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

/// A method of a raw type.
pub type NamedMethod = ffi::PyMethodDef;

/// What a raw type is made of. The tables live as long as the process.
pub struct Spec {
    /// The dotted name, which `repr` and `help` show.
    pub name: &'static CStr,
    /// `size_of` the object's struct.
    pub size: usize,
    /// Beyond default, heap, GC.
    pub flags: std::ffi::c_ulong,
    /// Constructor, destructor and so on.
    pub slots: Vec<ffi::PyType_Slot>,
    /// Methods, without the terminating zero.
    pub methods: Vec<NamedMethod>,
    /// Members (fields that Python sees), without the terminating zero.
    pub members: Vec<ffi::PyMemberDef>,
    /// Computed attributes, without the terminating zero.
    pub attributes: Vec<ffi::PyGetSetDef>,
}

/// Makes the type, a subclass of `bases` (`None`: of `object`).
pub fn raw_type<'py>(
    py: Python<'py>,
    spec: Spec,
    bases: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut slots = spec.slots;
    slots.push(slot(ffi::Py_tp_methods, leak(spec.methods, ffi::PyMethodDef::zeroed())));
    slots.push(slot(ffi::Py_tp_members, leak(spec.members, ffi::PyMemberDef::default())));
    slots.push(slot(ffi::Py_tp_getset, leak(spec.attributes, ffi::PyGetSetDef::default())));
    slots.push(ffi::PyType_Slot::default());
    let mut definition = ffi::PyType_Spec {
        name: spec.name.as_ptr(),
        basicsize: spec.size as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | spec.flags) as std::ffi::c_uint,
        slots: slots.as_mut_ptr(),
    };
    let bases = bases.map_or(ptr::null_mut(), Bound::as_ptr);
    // SAFETY: the spec and its slot array outlive the call, and what CPython keeps pointers to
    // (methods, members, attributes, names) was leaked or is static.
    unsafe {
        let made = ffi::PyType_FromSpecWithBases(&mut definition, bases);
        Bound::from_owned_ptr_or_err(py, made)
    }
}

/// Takes members off a class. Python does not see them any more, and cannot put into them what does
/// not belong there; the type's own traversal and destructor still do.
pub fn hide(class: &Bound<'_, PyAny>, members: &[*const c_char]) -> PyResult<()> {
    for name in members {
        // SAFETY: the names of a type's members are static.
        let name = unsafe { CStr::from_ptr(*name) };
        class.delattr(&*name.to_string_lossy())?;
    }
    Ok(())
}

/// Types are never unloaded, so their tables need no owner.
fn leak<T>(mut table: Vec<T>, end: T) -> *mut c_void {
    table.push(end);
    Box::leak(table.into_boxed_slice()).as_mut_ptr().cast()
}

/// A slot of a type.
pub fn slot(number: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot: number, pfunc: function }
}

/// A method that takes positional and keyword arguments. `doc` begins with the signature:
/// `name($self, …)\n--\n\n…`.
pub fn method(
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> NamedMethod {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// A method without arguments.
pub fn noargs(name: &'static CStr, function: ffi::PyCFunction, doc: &'static CStr) -> NamedMethod {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: doc.as_ptr(),
    }
}

/// A method with exactly one positional argument.
pub fn one(name: &'static CStr, function: ffi::PyCFunction, doc: &'static CStr) -> NamedMethod {
    ffi::PyMethodDef { ml_flags: ffi::METH_O, ..noargs(name, function, doc) }
}

/// A method with exactly one argument, which may be given by its name too.
pub trait Sole {
    /// The argument's name.
    const NAME: &'static str;

    /// What the method does.
    ///
    /// # Safety
    /// Called attached, with the receiver and the argument.
    unsafe fn call(
        receiver: *mut ffi::PyObject,
        argument: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// That method.
pub fn one_by_name<M: Sole>(name: &'static CStr, doc: &'static CStr) -> NamedMethod {
    method(name, call_sole::<M>, doc)
}

unsafe extern "C" fn call_sole<M: Sole>(
    receiver: *mut ffi::PyObject,
    place: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method is called attached, by the vectorcall protocol.
    unsafe {
        if count == 1 && names.is_null() {
            return M::call(receiver, *place);
        }
        match sole_by_name(place, count, names, M::NAME) {
            Some(argument) => M::call(receiver, argument),
            None => ptr::null_mut(),
        }
    }
}

/// That argument; `None`: an exception is set.
#[cold]
unsafe fn sole_by_name(
    place: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    name: &str,
) -> Option<*mut ffi::PyObject> {
    let mut found = None;
    let _: *mut ffi::PyObject = guarded(|py| {
        // SAFETY: the caller's promise: null, or a tuple of names.
        let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, names) };
        let names: Vec<String> = names.map_or(Ok(Vec::new()), |names| names.extract())?;
        if count == 0 && names.len() == 1 && names[0] == name {
            // SAFETY: the values of the names lie behind the others, of which there is none.
            found = Some(unsafe { *place });
            return Ok(ptr::null_mut());
        }
        let given = count as usize + names.len();
        let text = format!("it takes one argument, '{name}', and {given} were given");
        Err(PyTypeError::new_err(text))
    });
    found
}

/// A new reference to an object that lives for ever in practice: True, False, None.
#[inline(always)]
pub fn new_reference(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: the caller passes one of CPython's singletons.
    unsafe { ffi::Py_INCREF(object) };
    object
}

/// Python's True or False, as a new reference.
#[inline(always)]
pub fn boolean(value: bool) -> *mut ffi::PyObject {
    // SAFETY: the singletons exist as long as the interpreter.
    new_reference(unsafe { if value { ffi::Py_True() } else { ffi::Py_False() } })
}

/// Python's None, as a new reference.
#[inline(always)]
pub fn none() -> *mut ffi::PyObject {
    // SAFETY: the singletons exist as long as the interpreter.
    new_reference(unsafe { ffi::Py_None() })
}

/// A computed attribute.
pub fn attribute(name: &'static CStr, get: ffi::getter, set: ffi::setter) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: Some(set),
        doc: ptr::null(),
        closure: ptr::null_mut(),
    }
}

/// An attribute's new value.
pub fn value<'py>(py: Python<'py>, value: *mut ffi::PyObject) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: null (a deletion) or a live object.
    let value = unsafe { Bound::from_borrowed_ptr_or_opt(py, value) };
    value.ok_or_else(|| PyTypeError::new_err("it cannot be deleted"))
}

/// What a raw function returns when it failed.
pub trait Failure {
    /// The value that tells CPython to look at the error indicator.
    const FAILED: Self;
}

impl<T> Failure for *mut T {
    const FAILED: Self = ptr::null_mut();
}

impl Failure for c_int {
    const FAILED: Self = -1;
}

/// Runs the slow part of a raw function, attached as pyo3 understands it.
#[inline(never)]
pub fn guarded<R: Failure>(f: impl FnOnce(Python<'_>) -> PyResult<R>) -> R {
    attached(|py| match catch_unwind(AssertUnwindSafe(|| f(py))) {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => {
            error.restore(py);
            R::FAILED
        }
        Err(panic) => {
            PanicException::new_err(panic_text(panic.as_ref())).restore(py);
            R::FAILED
        }
    })
}

/// Runs the slow part of a function that CPython called, so that pyo3 knows of the attachment.
pub fn attached<R>(f: impl FnOnce(Python<'_>) -> R) -> R {
    halts_at_exit();
    // SAFETY: CPython calls functions attached, also while it shuts down, where `Python::attach`
    // would refuse.
    unsafe { Python::attach_unchecked(f) }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "panic".into())
}
