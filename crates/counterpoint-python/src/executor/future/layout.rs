//! The memory of a Future and how one is made.

use super::remote::RemoteJob;
use crate::boundary::{Protected, Spec, TaskHandle, hide, raw_type, slot};
use counterpoint_sync::executor::future::FutureState;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};

/// What ours has beyond the base. Zeroed memory is a pending future.
#[repr(C)]
pub struct Tail {
    /// Set once finished; null means None.
    pub result: *mut PyObject,
    /// Set once finished by an exception.
    pub exception: *mut PyObject,
    /// A list of callables; null means none.
    pub callbacks: *mut PyObject,
    /// A list of collectors and of the stdlib's waiters; null means none.
    pub observers: *mut PyObject,
    /// A `threading.Condition`, once somebody asked for it.
    pub condition: *mut PyObject,
    /// Workers that seem to wait for it (`pool::Watch`); null means none.
    pub watchers: *mut PyObject,
    /// The phase, the waiting threads, and the lock for all of this; unless `remote` has them.
    pub state: Protected<FutureState<TaskHandle>>,
    /// Which thread pool is to end it; 0: none. Set before anybody knows the future; a name that is
    /// compared, and never an address to look at.
    home: usize,
    /// The job of a process pool whose outcome this is, owned; null for any other future.
    pub remote: *const RemoteJob,
    /// Whether the outcome of `remote` is in the fields above, or never will be.
    pub settled: AtomicBool,
    /// Whether somebody is told of a remote future's end, by the courier or by who ends it.
    pub kept: AtomicBool,
    /// Whether that has happened, or is about to under the condition.
    pub told: AtomicBool,
}

/// `Py_TPFLAGS_INLINE_VALUES`: attributes lie in the object itself, as long as they are few.
#[cfg(all(Py_3_13, not(Py_GIL_DISABLED)))]
const INLINE_VALUES: std::ffi::c_ulong = 1 << 2;

/// Where the tail begins: the base's size, which differs between versions of CPython.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

static TYPE: AtomicPtr<PyTypeObject> = AtomicPtr::new(ptr::null_mut());

/// The class itself.
#[inline(always)]
pub fn future_type() -> *mut PyTypeObject {
    TYPE.load(Ordering::Relaxed)
}

/// A borrowed Future: an object whose type is ours or derived from ours.
#[derive(Clone, Copy)]
pub struct FutureObject(*mut PyObject);

impl FutureObject {
    /// # Safety
    /// `object` is an instance of our type, alive for as long as the value is used. CPython
    /// checks that for the receivers of methods.
    #[inline(always)]
    pub unsafe fn from_ptr(object: *mut PyObject) -> Self {
        Self(object)
    }

    /// Whether `object` is one; the answer is quick for the class itself.
    #[inline(always)]
    pub fn check(object: *mut PyObject) -> Option<Self> {
        // SAFETY: callers hand in live objects; the type is only compared.
        let class = unsafe { ffi::Py_TYPE(object) };
        let ours = class == future_type()
            // SAFETY: both are live type objects.
            || unsafe { ffi::PyType_IsSubtype(class, future_type()) } != 0;
        ours.then_some(Self(object))
    }

    /// The object.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut PyObject {
        self.0
    }

    /// As pyo3 sees it.
    #[inline(always)]
    pub fn bind(self, py: Python<'_>) -> Bound<'_, PyAny> {
        // SAFETY: alive by `from_ptr`'s contract.
        unsafe { Bound::from_borrowed_ptr(py, self.0) }
    }

    /// Whether its class is one of ours and not one derived from it.
    #[inline(always)]
    pub fn is_exact(self) -> bool {
        // SAFETY: alive by `from_ptr`'s contract.
        let class = unsafe { ffi::Py_TYPE(self.0) };
        class == future_type() || class == super::remote::remote_type()
    }

    /// The tail, as raw memory.
    #[inline(always)]
    pub fn tail(self) -> *mut Tail {
        // SAFETY: an instance is at least OFFSET + size_of::<Tail>() long.
        unsafe { self.0.byte_add(OFFSET.load(Ordering::Relaxed)).cast() }
    }

    /// The protected state.
    #[inline(always)]
    pub fn state<'a>(self) -> &'a Protected<FutureState<TaskHandle>> {
        // SAFETY: the tail was zeroed, which is a valid state, and lives as long as the object,
        // which the users of this borrow keep alive.
        unsafe { &(*self.tail()).state }
    }

    /// The references at the head of the tail.
    ///
    /// # Safety
    /// The caller holds the lock that protects them.
    #[inline(always)]
    pub unsafe fn fields<'a>(self) -> &'a mut Fields {
        // SAFETY: `Fields` is a prefix of `Tail`; exclusive by the caller's promise.
        unsafe { &mut *self.tail().cast::<Fields>() }
    }

    /// Which thread pool is to end it, as [`Pool::home`](crate::executor::pool::Pool::home) names
    /// it; 0: none.
    #[inline(always)]
    pub fn home(self) -> usize {
        // SAFETY: alive by `from_ptr`'s contract, and never written once it is known.
        unsafe { (*self.tail()).home }
    }

    /// Runs `f` on the state and the fields that the same lock protects. As in
    /// [`Protected::with`], `f` neither calls Python nor drops a reference.
    #[inline(always)]
    pub fn with<R>(
        self,
        py: Python<'_>,
        f: impl FnOnce(&mut FutureState<TaskHandle>, &mut Fields) -> R,
    ) -> R {
        if self.is_remote() {
            return self.with_remote(f);
        }
        self.state().with(py, |state| {
            // SAFETY: `Fields` is a prefix of `Tail` that does not overlap the state, and only
            // the holder of this lock forms a reference to it.
            f(state, unsafe { &mut *self.tail().cast::<Fields>() })
        })
    }
}

/// The references at the head of a [`Tail`].
#[repr(C)]
pub struct Fields {
    pub result: *mut PyObject,
    pub exception: *mut PyObject,
    pub callbacks: *mut PyObject,
    pub observers: *mut PyObject,
    pub condition: *mut PyObject,
    pub watchers: *mut PyObject,
}

const _: () = assert!(offset_of!(Tail, state) >= size_of::<Fields>());
const _: () = assert!(offset_of!(Tail, watchers) == offset_of!(Fields, watchers));

/// A new pending future of the class itself; null with an exception set if memory is short.
#[inline(always)]
pub fn new_future() -> *mut PyObject {
    // SAFETY: making an object needs an attached thread, and callers are.
    #[cfg(not(Py_GIL_DISABLED))]
    if let Some(future) = super::recycled::revive(unsafe { Python::assume_attached() }) {
        return future;
    }
    // SAFETY: the type is made, heap types have an allocator, and the thread is attached. The
    // allocation is zeroed, which is what a new future looks like.
    unsafe { ffi::PyType_GenericAlloc(future_type(), 0) }
}

/// The same, to be ended by a pool.
#[inline(always)]
pub fn new_future_of(home: usize) -> *mut PyObject {
    let object = new_future();
    if !object.is_null() {
        // SAFETY: it was just made, and nobody else knows it.
        unsafe { (*FutureObject(object).tail()).home = home };
    }
    object
}

unsafe extern "C" fn new(
    class: *mut PyTypeObject,
    _: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: `class` is ours or derived from ours; `__init__` judges the arguments.
    unsafe { ffi::PyType_GenericAlloc(class, 0) }
}

unsafe extern "C" fn init(
    object: *mut PyObject,
    positional: *mut PyObject,
    keywords: *mut PyObject,
) -> c_int {
    // SAFETY: CPython passes a tuple, and a dictionary or null.
    let none = unsafe {
        ffi::PyTuple_GET_SIZE(positional) == 0
            && (keywords.is_null() || ffi::PyDict_Size(keywords) == 0)
    };
    if none { 0 } else { refuse_arguments(object) }
}

#[cold]
fn refuse_arguments(_: *mut PyObject) -> c_int {
    crate::boundary::guarded(|_| Err(PyTypeError::new_err("Future() takes no arguments")))
}

/// `Future()` without the detour through `__new__` and `__init__`.
unsafe extern "C" fn vectorcall(
    class: *mut PyObject,
    arguments: *const *mut PyObject,
    flagged: usize,
    names: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the vectorcall protocol; a type inherits no vectorcall, so `class` is ours.
    unsafe {
        if ffi::PyVectorcall_NARGS(flagged) == 0 && names.is_null() {
            return new_future();
        }
        let _ = (class, arguments);
        refuse_arguments(ptr::null_mut());
        ptr::null_mut()
    }
}

fn member(name: &'static std::ffi::CStr, offset: usize) -> ffi::PyMemberDef {
    ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_OBJECT_EX,
        offset: offset as ffi::Py_ssize_t,
        flags: 0,
        doc: ptr::null(),
    }
}

/// The fields that the inherited traversal visits, and the inherited destructor clears. What Python
/// could see of them, and write to, is taken off the class once it is made.
fn members(base: usize) -> Vec<ffi::PyMemberDef> {
    vec![
        member(c"_native_result", base + offset_of!(Tail, result)),
        member(c"_native_exception", base + offset_of!(Tail, exception)),
        member(c"_native_callbacks", base + offset_of!(Tail, callbacks)),
        member(c"_native_observers", base + offset_of!(Tail, observers)),
        member(c"_native_condition", base + offset_of!(Tail, condition)),
        member(c"_native_watchers", base + offset_of!(Tail, watchers)),
    ]
}

/// Makes the class.
pub fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let base = py.import("concurrent.futures._base")?.getattr("Future")?;
    // SAFETY: a live type object.
    let size = unsafe { (*base.as_ptr().cast::<PyTypeObject>()).tp_basicsize } as usize;
    let offset = size.next_multiple_of(align_of::<Tail>());
    OFFSET.store(offset, Ordering::Relaxed);
    let slots = vec![
        #[cfg(not(Py_GIL_DISABLED))]
        slot(ffi::Py_tp_dealloc, super::recycled::dealloc as *mut c_void),
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_init, init as *mut c_void),
        slot(ffi::Py_tp_doc, super::methods::CLASS_DOC.as_ptr().cast_mut().cast()),
        slot(ffi::Py_tp_repr, super::attributes::repr as *mut c_void),
        slot(ffi::Py_am_await, super::waiting::wait_in_task as *mut c_void),
    ];
    let spec = Spec {
        name: c"counterpoint.futures.Future",
        size: offset + size_of::<Tail>(),
        flags: ffi::Py_TPFLAGS_BASETYPE,
        slots,
        methods: super::methods::methods(),
        members: members(offset),
        attributes: super::attributes::attributes(),
    };
    let hidden: Vec<_> = spec.members.iter().map(|member| member.name).collect();
    let class = raw_type(py, spec, Some(&base))?;
    hide(&class, &hidden)?;
    // An option: of the few that have one it is an attribute of their own.
    class.setattr("name", py.None())?;
    let memory: *mut PyTypeObject = class.as_ptr().cast();
    // SAFETY: the type is not known to anybody yet. Before 3.14 there is no slot for this.
    unsafe { (*memory).tp_vectorcall = Some(vectorcall) };
    // Few futures get attributes: the interpreter need not make place for some in each.
    #[cfg(all(Py_3_13, not(Py_GIL_DISABLED)))]
    // SAFETY: as above.
    unsafe {
        (*memory).tp_flags &= !INLINE_VALUES;
    }
    TYPE.store(memory, Ordering::Relaxed);
    std::mem::forget(class.clone());
    Ok(class)
}
