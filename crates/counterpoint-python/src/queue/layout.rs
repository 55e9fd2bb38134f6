//! The memory of a queue object: layout, construction, destruction, traversal.

use super::kind::{Full, Kind, More, visit_store};
use super::object::Object;
use super::trash::let_go;
use crate::boundary::{Counts, Protected, TaskHandle, guarded};
use counterpoint_sync::queue::{Overflow, QueueState};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// A queue's state in the binding.
pub type StateOf<K> = QueueState<TaskHandle, <K as Kind>::Store>;

/// What few queues have.
#[derive(Default)]
pub struct Extra {
    /// The Python implementation, once there is one.
    pub compatible: Option<Object>,
    /// Called with each item that the overflow policy throws away.
    pub on_drop: Option<Object>,
    /// The key function of a PriorityQueue.
    pub key: Option<Object>,
    /// The `maxsize` that was asked for, if that is no int.
    pub maxsize: Option<Object>,
    /// What outlives the queue when it is observed.
    pub counts: Option<Arc<Counts>>,
}

/// A subclass has its own `put` (or `get`): the variants must go through it.
pub const OWN_PUT: u8 = 1;
/// See [`OWN_PUT`].
pub const OWN_GET: u8 = 2;
/// Keys are computed by a function, in Python.
pub const KEYED: u8 = 4;

/// The memory of a queue object.
#[repr(C)]
pub struct RawQueue<K: Kind> {
    head: PyObject,
    weak_references: *mut PyObject,
    /// The queue.
    pub state: Protected<StateOf<K>>,
    /// Rarely anything.
    pub extra: Protected<Option<Box<Extra>>>,
    /// Bits that say why a call must take the long way. Written by constructors only.
    pub own: AtomicU8,
    /// What SimpleQueue lacks.
    pub more: K::More,
}

/// A method's receiver.
///
/// # Safety
/// `object` is an instance of the type with this layout, which CPython checks for methods, and
/// stays alive for the call.
#[inline(always)]
pub unsafe fn receiver<'a, K: Kind>(object: *mut PyObject) -> &'a RawQueue<K> {
    // SAFETY: the caller's promise; the fields were initialised by `new`.
    unsafe { &*object.cast() }
}

impl<K: Kind> RawQueue<K> {
    /// The offset of the list of weak references.
    pub const WEAK: usize = std::mem::offset_of!(Self, weak_references);
    /// The offset of the instance dictionary in classes that have one.
    pub const DICTIONARY: usize =
        std::mem::offset_of!(Self, more) + std::mem::offset_of!(Full, dictionary);

    /// Whether a call may take the short way as far as subclasses and keys are concerned.
    #[inline(always)]
    pub fn is_plain(&self, bits: u8) -> bool {
        self.own.load(Ordering::Relaxed) & bits == 0
    }

    /// A copy of one of the rare things.
    pub fn extra(
        &self,
        py: Python<'_>,
        which: impl FnOnce(&Extra) -> Option<&Object>,
    ) -> Option<Object> {
        self.extra.with(py, |extra| which(extra.as_ref()?).cloned())
    }

    /// Changes the rare things; what `f` returns is dropped outside.
    pub fn change_extra<R>(&self, py: Python<'_>, f: impl FnOnce(&mut Extra) -> R) -> R {
        self.extra.with(py, |extra| f(extra.get_or_insert_default()))
    }

    /// Brings the counts of an observed queue up to date.
    pub fn publish(&self, py: Python<'_>) {
        let counts = self.extra.with(py, |extra| extra.as_ref()?.counts.clone());
        let Some(counts) = counts else { return };
        let (counters, limit) =
            self.state.with(py, |state| (state.counters(), state.limit().unwrap_or(0)));
        let here = (counters.puts, counters.gets, counters.longest as u64);
        let there = self.extra(py, |extra| extra.compatible.as_ref());
        let there = there.and_then(|there| counted_elsewhere(&there.into_bound(py)).ok());
        let (puts, gets, max_size) = there.unwrap_or(here);
        let maxsize = limit as u64;
        counts.set([("puts", puts), ("gets", gets), ("max_size", max_size), ("maxsize", maxsize)]);
    }
}

/// Puts, gets and the longest, as the Python implementation counted them.
fn counted_elsewhere(there: &Bound<'_, PyAny>) -> PyResult<(u64, u64, u64)> {
    let count = |name: &str| there.getattr(name)?.extract();
    let (puts, gets): (u64, u64) = (count("puts")?, count("gets")?);
    let longest: u64 = count("longest")?;
    Ok((puts, gets, longest.max(puts.saturating_sub(gets))))
}

/// Makes an object, arguments ignored: `__init__` judges them.
pub unsafe extern "C" fn new<K: Kind>(
    class: *mut ffi::PyTypeObject,
    _: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: CPython passes a type derived from ours; the allocation is of at least our size,
    // zeroed, and seen by the collector only, which reads nothing before it is tracked with the
    // state written: nothing between here and there runs code.
    unsafe {
        let Some(allocate) = (*class).tp_alloc else { return ptr::null_mut() };
        let object = allocate(class, 0);
        if !object.is_null() {
            let memory: *mut RawQueue<K> = object.cast();
            let mut state = QueueState::new(K::Store::default(), None, Overflow::Block);
            if !cfg!(Py_GIL_DISABLED) {
                state.let_doze();
            }
            ptr::write(&raw mut (*memory).state, Protected::new(state));
            ptr::write(&raw mut (*memory).extra, Protected::new(None));
            ptr::write(&raw mut (*memory).more, K::More::default());
        }
        object
    }
}

/// The end of an object.
pub unsafe extern "C" fn deallocate<K: Kind>(object: *mut PyObject) {
    // SAFETY: called once, by the last DECREF; afterwards nobody reads the memory. A heap type's
    // instance owns a reference to its type.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let memory: *mut RawQueue<K> = object.cast();
        if !(*memory).weak_references.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        (*memory).publish(Python::assume_attached());
        drop(dictionary::<K>(object));
        let_go(ptr::read(&raw const (*memory).state));
        ptr::drop_in_place(&raw mut (*memory).extra);
        let class = ffi::Py_TYPE(object);
        if let Some(free) = (*class).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}

/// Takes the instance dictionary out.
unsafe fn dictionary<K: Kind>(object: *mut PyObject) -> Option<Object> {
    if !K::More::FULL {
        return None;
    }
    // SAFETY: a class that is `FULL` has the field at this offset: null or an owned reference.
    unsafe {
        let place: *mut *mut PyObject = object.byte_add(RawQueue::<K>::DICTIONARY).cast();
        let dictionary = std::mem::replace(&mut *place, ptr::null_mut());
        (!dictionary.is_null()).then(|| {
            let object = Object::borrowed(dictionary);
            ffi::Py_DECREF(dictionary);
            object
        })
    }
}

/// Shows the collector every reference.
pub unsafe extern "C" fn traverse<K: Kind>(
    object: *mut PyObject,
    visit: ffi::visitproc,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector, with the world stopped or the GIL held.
    unsafe {
        let queue = receiver::<K>(object);
        let mut own = [ffi::Py_TYPE(object).cast(), ptr::null_mut()];
        if K::More::FULL {
            own[1] = *object.byte_add(RawQueue::<K>::DICTIONARY).cast();
        }
        let (state, extra) = (queue.state.peek(), queue.extra.peek());
        let rare = extra.iter().flat_map(|extra| {
            let some = extra.compatible.iter().chain(&extra.on_drop).chain(&extra.key);
            some.chain(&extra.maxsize).map(Object::as_ptr)
        });
        let waiting = state.waiting().filter_map(|waiter| waiter.notify());
        let tasks = waiting.flat_map(TaskHandle::references);
        for shown in own.into_iter().chain(rare).chain(tasks) {
            if !shown.is_null() {
                let status = visit(shown, argument);
                if status != 0 {
                    return status;
                }
            }
        }
        visit_store::<K>(state.store(), visit, argument)
    }
}

/// Breaks cycles: the collector found the object to be garbage.
pub unsafe extern "C" fn clear<K: Kind>(object: *mut PyObject) -> c_int {
    // SAFETY: called by the collector on garbage, attached, outside traversal.
    unsafe {
        let memory: *mut RawQueue<K> = object.cast();
        let py = Python::assume_attached();
        (*memory).publish(py);
        let mut wakes = Default::default();
        let items = (*memory).state.with(py, |state| state.drain(&mut wakes));
        let extra = (*memory).extra.with(py, Option::take);
        // Dropping may run code, which sees an emptied queue.
        drop((items, extra, dictionary::<K>(object)));
    }
    0
}

/// `sys.getsizeof`: the object and the memory of its items.
pub unsafe extern "C" fn size_of_object<K: Kind>(
    object: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type.
        let queue = unsafe { receiver::<K>(object) };
        let bytes = queue.state.with(py, |state| state.allocated());
        let total = size_of::<RawQueue<K>>() + bytes;
        Ok(total.into_pyobject(py)?.into_any().into_ptr())
    })
}
