//! What the two raw lock types share: layout, construction, destruction, traversal.

use crate::boundary::{
    Meter, NamedMethod, Place, Protected, Spec, TaskHandle, attached, guarded, is_observed, noargs,
    observe, seconds, slot, traverse_identity, visit_each,
};
use counterpoint_sync::Arc;
use counterpoint_sync::lock::mutex::{Contended, LockState, NOBODY};
use counterpoint_sync::wait::{Shared, State};
use counterpoint_sync::waiter::Waiter;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::ffi::{CStr, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

/// A lock's state, as far as both kinds are alike.
pub trait LockLike: State<Notify = TaskHandle> + Default + Send + 'static {
    /// The plain lock in it.
    fn inner(&self) -> &LockState<TaskHandle>;
    /// The same, for change.
    fn inner_mut(&mut self) -> &mut LockState<TaskHandle>;
}

/// The memory of a Lock or RLock object.
#[repr(C)]
pub struct RawLock<S> {
    head: ffi::PyObject,
    weak_references: *mut ffi::PyObject,
    pub state: Protected<S>,
}

/// A method's receiver.
///
/// # Safety
/// `object` is an instance of the type with this layout, which CPython checks for methods, and
/// stays alive for the call.
#[inline(always)]
pub unsafe fn receiver<'a, S>(object: *mut ffi::PyObject) -> &'a RawLock<S> {
    // SAFETY: the caller's promise; the state was initialised by `new`.
    unsafe { &*object.cast() }
}

impl<S: LockLike> RawLock<S> {
    /// The task that holds the lock, if one does.
    pub fn holder(&self, py: Python<'_>) -> Option<Arc<Waiter<TaskHandle>>> {
        self.state.with(py, |state| state.inner().contended()?.holder.clone())
    }
}

/// Makes an object, arguments ignored: `__init__` judges them, as for any Python class.
pub unsafe extern "C" fn new<S: LockLike>(
    class: *mut ffi::PyTypeObject,
    _: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython passes a type derived from ours; the allocation is of at least our size,
    // zeroed, and not seen by anybody before the state is written.
    unsafe {
        let Some(allocate) = (*class).tp_alloc else { return ptr::null_mut() };
        let object = allocate(class, 0);
        if !object.is_null() {
            let memory: *mut RawLock<S> = object.cast();
            ptr::write(&raw mut (*memory).state, Protected::new(S::default()));
        }
        object
    }
}

unsafe extern "C" fn deallocate<S: LockLike>(object: *mut ffi::PyObject) {
    // SAFETY: called once, by the last DECREF; afterwards nobody reads the memory. A heap type's
    // instance owns a reference to its type.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let memory: *mut RawLock<S> = object.cast();
        if !(*memory).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        if (*memory).state.get_mut().inner().contended().is_some() {
            attached(|_| ptr::drop_in_place(&raw mut (*memory).state));
        }
        let class = ffi::Py_TYPE(object);
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn traverse<S: LockLike>(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector, with the world stopped or the GIL held.
    unsafe {
        let class: *mut ffi::PyObject = ffi::Py_TYPE(object).cast();
        let shown = visit(class, argument);
        if shown != 0 {
            return shown;
        }
        let state = receiver::<S>(object).state.peek();
        let Some(contended) = state.inner().contended() else { return 0 };
        visit_contended(contended, visit, argument)
    }
}

fn visit_contended(
    contended: &Contended<TaskHandle>,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    let waiting = contended.waiters.iter().filter_map(|waiter| waiter.notify());
    let holding = contended.holder.iter().filter_map(|waiter| waiter.notify());
    let references = waiting.chain(holding).flat_map(TaskHandle::references);
    // SAFETY: the references are owned by the waiters, which the lock keeps alive.
    unsafe { visit_each(references, visit, argument) }
}

unsafe extern "C" fn clear<S: LockLike>(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector on garbage, attached, outside traversal.
    let old = unsafe {
        let memory: *mut RawLock<S> = object.cast();
        (*memory).state.get_mut().inner_mut().contended_mut().clear()
    };
    // Dropping may run code, which sees an emptied lock.
    attached(|_| drop(old));
    0
}

/// The slots and members that both types have.
pub fn spec<S: LockLike>(name: &'static CStr, repr: ffi::reprfunc) -> Spec {
    Spec {
        name,
        size: size_of::<RawLock<S>>(),
        flags: ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_BASETYPE,
        slots: vec![
            slot(ffi::Py_tp_new, new::<S> as *mut c_void),
            slot(ffi::Py_tp_dealloc, deallocate::<S> as *mut c_void),
            slot(ffi::Py_tp_traverse, traverse::<S> as *mut c_void),
            slot(ffi::Py_tp_clear, clear::<S> as *mut c_void),
            slot(ffi::Py_tp_repr, repr as *mut c_void),
        ],
        methods: Vec::new(),
        members: vec![ffi::PyMemberDef {
            name: c"__weaklistoffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: std::mem::offset_of!(RawLock<S>, weak_references) as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        }],
        attributes: Vec::new(),
    }
}

/// A strong reference to a lock, for a wait that outlives the call.
pub struct LockPlace<S> {
    object: Py<PyAny>,
    identity: Arc<Waiter<TaskHandle>>,
    kind: PhantomData<fn(S)>,
}

impl<S> LockPlace<S> {
    /// `object` has the layout `RawLock<S>`; `identity` is the one that the source owns too.
    pub fn new(object: Py<PyAny>, identity: Arc<Waiter<TaskHandle>>) -> Self {
        Self { object, identity, kind: PhantomData }
    }
}

impl<S: LockLike> Place for LockPlace<S> {
    type State = S;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = S> + 'a {
        // SAFETY: `new`'s contract, and the reference keeps the object alive.
        unsafe { receiver::<S>(self.object.as_ptr()) }.state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)?;
        traverse_identity(&self.identity, visit)
    }
}

/// The attributes `owner` and `waiters`.
pub fn describe_owner<S: LockLike>() -> Vec<ffi::PyGetSetDef> {
    let attribute = |name: &'static CStr, get: ffi::getter, doc: &'static CStr| ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set: None,
        doc: doc.as_ptr(),
        closure: ptr::null_mut(),
    };
    vec![
        attribute(c"owner", owner::<S>, c"Who holds it: a thread's ident, a Task, or None."),
        attribute(c"_meter", meter::<S>, c"What was measured of it."),
        attribute(c"waiters", waiters::<S>, c"How many threads and tasks wait for it."),
    ]
}

unsafe extern "C" fn owner<S: LockLike>(
    object: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    guarded(|py| {
        // SAFETY: a getter is called with an instance of the type.
        let lock = unsafe { receiver::<S>(object) };
        let (number, holder) = lock.state.with(py, |state| {
            let lock = state.inner();
            (lock.owner(), lock.contended().and_then(|contended| contended.holder.clone()))
        });
        let task = holder.as_ref().and_then(|waiter| waiter.notify());
        let owner = match (number, task) {
            (NOBODY, _) => py.None(),
            (_, Some(handle)) => handle.task().clone_ref(py),
            (number, None) => number.into_pyobject(py)?.into_any().unbind(),
        };
        Ok(owner.into_ptr())
    })
}

unsafe extern "C" fn waiters<S: LockLike>(
    object: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    guarded(|py| {
        // SAFETY: a getter is called with an instance of the type.
        let lock = unsafe { receiver::<S>(object) };
        let count = lock.state.with(py, |state| state.inner().waiters());
        Ok(count.into_pyobject(py)?.into_any().into_ptr())
    })
}

/// The attribute `_meter`: what outlives the lock when it is observed.
unsafe extern "C" fn meter<S: LockLike>(
    object: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    guarded(|py| {
        // SAFETY: a getter is called with an instance of the type.
        let lock = unsafe { receiver::<S>(object) };
        let waits = lock.state.with(py, |state| state.inner_mut().contended_mut().waits.share());
        Ok(Py::new(py, Meter::of_lock(waits))?.into_any().into_ptr())
    })
}

/// Ends a construction: tells the observer, if there is one.
pub fn constructed(object: *mut ffi::PyObject) -> c_int {
    if !is_observed() {
        return 0;
    }
    guarded(|py| {
        // SAFETY: the object under construction is alive in its constructor.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        observe(&object)?;
        Ok(0)
    })
}

/// The method `_waits()`: the summary of the waits, in seconds.
pub fn waits_of<S: LockLike>() -> NamedMethod {
    noargs(c"_waits", waits::<S>, c"_waits($self)\n--\n\n(count, total, p50, p99, max)")
}

unsafe extern "C" fn waits<S: LockLike>(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type.
        let lock = unsafe { receiver::<S>(object) };
        let summary = lock
            .state
            .with(py, |state| state.inner().contended().map(|contended| contended.waits.summary()));
        Ok(seconds(summary.unwrap_or_default()).into_pyobject(py)?.into_any().into_ptr())
    })
}
