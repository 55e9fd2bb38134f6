//! The queues as Python types: `Queue` of any order, and `SimpleQueue`.
//!
//! Written by hand, because a put and a get are the hottest calls there are. `calls` has the fast
//! paths, `operate` the rest of putting and getting, `outside` the comparisons that Python has to
//! make, `elsewhere` the way into the Python implementation, `tickets` the tasks' half.

mod attributes;
mod bound;
mod calls;
mod compare;
mod construct;
mod elsewhere;
mod errors;
mod kind;
mod layout;
mod object;
mod operate;
mod outside;
mod patience;
mod tickets;
mod trash;

pub use errors::denied;

use crate::boundary::{NamedMethod, Spec, method, noargs, one, raw_type, slot};
use crate::sync::yields;
use construct::Construct;
use kind::{Kind, More, Queue, SimpleQueue};
use layout::RawQueue;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};
use std::ffi::{CStr, c_void};
use std::ptr;

/// Adds the types to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    add::<Queue>(module, "Queue", c"counterpoint._core.Queue")?;
    add::<SimpleQueue>(module, "SimpleQueue", c"counterpoint._core.SimpleQueue")?;
    module.add_function(wrap_pyfunction!(construct::_publish_queues, module)?)
}

fn add<K: Construct>(
    module: &Bound<'_, PyModule>,
    name: &str,
    full_name: &'static CStr,
) -> PyResult<()> {
    let spec = Spec {
        name: full_name,
        size: size_of::<RawQueue<K>>(),
        flags: ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_BASETYPE,
        slots: vec![
            slot(ffi::Py_tp_new, layout::new::<K> as *mut c_void),
            slot(ffi::Py_tp_init, construct::init::<K> as *mut c_void),
            slot(ffi::Py_tp_dealloc, layout::deallocate::<K> as *mut c_void),
            slot(ffi::Py_tp_traverse, layout::traverse::<K> as *mut c_void),
            slot(ffi::Py_tp_clear, layout::clear::<K> as *mut c_void),
        ],
        methods: methods::<K>(),
        members: members::<K>(),
        attributes: attributes::<K>(),
    };
    module.add(name, raw_type(module.py(), spec, None)?)?;
    yields(module, name, &["_meter"])
}

/// Gives a Python class the native methods as descriptors of its own. CPython's specialised call
/// instructions take a method only from the object's exact class; an inherited one costs 10 ns
/// more.
fn own_methods<K: Kind>(class: &Bound<'_, PyType>) -> PyResult<()> {
    let methods =
        methods::<K>().into_iter().filter(|method| method.ml_flags & ffi::METH_CLASS == 0);
    // As with types: descriptors keep a pointer for ever.
    for method in methods.collect::<Vec<_>>().leak() {
        // SAFETY: a live class and a method table entry that is never freed.
        let descriptor = unsafe {
            let made = ffi::PyDescr_NewMethod(class.as_type_ptr(), method);
            Bound::from_owned_ptr_or_err(class.py(), made)?
        };
        class.setattr(descriptor.getattr("__name__")?.cast_into::<PyString>()?, descriptor)?;
    }
    Ok(())
}

fn methods<K: Kind>() -> Vec<NamedMethod> {
    let mut methods = vec![
        method(c"put", calls::put::<K>, PUT),
        method(c"get", calls::get::<K>, GET),
        method(c"put_nowait", calls::put_nowait::<K>, PUT_NOWAIT),
        noargs(c"get_nowait", calls::get_nowait::<K>, GET_NOWAIT),
        method(c"put_many", calls::put_many::<K>, PUT_MANY),
        method(c"get_many", calls::get_many::<K>, GET_MANY),
        noargs(c"peek", attributes::peek::<K>, PEEK),
        noargs(c"qsize", attributes::qsize::<K>, QSIZE),
        noargs(c"empty", attributes::empty::<K>, EMPTY),
        NamedMethod {
            ml_flags: ffi::METH_O | ffi::METH_CLASS,
            ..one(c"__class_getitem__", attributes::class_getitem, c"See PEP 585.")
        },
        noargs(c"__sizeof__", layout::size_of_object::<K>, SIZEOF),
        one(c"_try_put", calls::try_put::<K>, c"_try_put($self, item, /)\n--\n\n"),
        one(c"_try_get", calls::try_get::<K>, c"_try_get($self, default, /)\n--\n\n"),
        one(c"_put_ticket", tickets::put_ticket::<K>, c"_put_ticket($self, item, /)\n--\n\n"),
        one(c"_put_many_ticket", tickets::put_many_ticket::<K>, PUT_MANY_TICKET),
        noargs(c"_get_ticket", tickets::get_ticket::<K>, c"_get_ticket($self)\n--\n\n"),
        method(c"_get_many_ticket", tickets::get_many_ticket::<K>, GET_MANY_TICKET),
        noargs(c"_counters", attributes::counters::<K>, c"_counters($self)\n--\n\n"),
        noargs(c"_waits", attributes::waits::<K>, c"_waits($self)\n--\n\n"),
    ];
    if K::More::FULL {
        methods.extend([
            noargs(c"full", attributes::full::<K>, FULL),
            noargs(c"task_done", attributes::task_done::<K>, TASK_DONE),
            method(c"join", attributes::join::<K>, JOIN),
            method(c"shutdown", attributes::shutdown::<K>, SHUTDOWN),
            noargs(c"_join_ticket", tickets::join_ticket::<K>, c"_join_ticket($self)\n--\n\n"),
            noargs(c"_traits", attributes::traits::<K>, c"_traits($self)\n--\n\n"),
            one(c"_dropped", attributes::dropped::<K>, c"_dropped($self, item, /)\n--\n\n"),
            noargs(c"_compatible", attributes::move_away::<K>, c"_compatible($self)\n--\n\n"),
        ]);
    }
    methods
}

fn members<K: Kind>() -> Vec<ffi::PyMemberDef> {
    let member = |name: &'static CStr, offset: usize| ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: offset as ffi::Py_ssize_t,
        flags: ffi::Py_READONLY,
        doc: ptr::null(),
    };
    let mut members = vec![member(c"__weaklistoffset__", RawQueue::<K>::WEAK)];
    if K::More::FULL {
        members.push(member(c"__dictoffset__", RawQueue::<K>::DICTIONARY));
    }
    members
}

fn attributes<K: Kind>() -> Vec<ffi::PyGetSetDef> {
    let attribute = |name: &'static CStr, get, set, doc: &'static CStr| ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set,
        doc: doc.as_ptr(),
        closure: name.as_ptr().cast_mut().cast(),
    };
    let mut all = vec![attribute(c"_meter", attributes::meter::<K>, None, c"")];
    if K::More::FULL {
        let moved: Option<ffi::setter> = Some(attributes::set_elsewhere::<K>);
        all.extend([
            attribute(
                c"maxsize",
                attributes::maxsize::<K>,
                Some(attributes::set_maxsize::<K>),
                MAXSIZE,
            ),
            attribute(c"unfinished_tasks", attributes::unfinished::<K>, moved, UNFINISHED),
            attribute(c"is_shutdown", attributes::is_shutdown::<K>, moved, IS_SHUTDOWN),
            attribute(c"queue", attributes::get_elsewhere::<K>, moved, ITEMS),
            attribute(c"mutex", attributes::get_elsewhere::<K>, None, MUTEX),
            attribute(c"not_empty", attributes::get_elsewhere::<K>, None, NOT_EMPTY),
            attribute(c"not_full", attributes::get_elsewhere::<K>, None, NOT_FULL),
            attribute(c"all_tasks_done", attributes::get_elsewhere::<K>, None, ALL_TASKS_DONE),
            attribute(
                c"__dict__",
                ffi::PyObject_GenericGetDict,
                Some(ffi::PyObject_GenericSetDict),
                c"",
            ),
        ]);
    }
    all
}

const PUT: &CStr = c"put($self, item, block=True, timeout=None)\n--\n\n\
Puts an item into the queue.

Args:
    item: Anything.
    block: Whether to wait for room.
    timeout: How many seconds at most; None waits for ever.

Raises:
    Full: There was no room in time.
    ShutDown: The queue was shut down.
    ValueError: The timeout is negative.";
const GET: &CStr = c"get($self, block=True, timeout=None)\n--\n\n\
Takes an item out of the queue.

Args:
    block: Whether to wait for an item.
    timeout: How many seconds at most; None waits for ever.

Raises:
    Empty: There was no item in time.
    ShutDown: The queue is empty and was shut down.
    ValueError: The timeout is negative.";
const PUT_NOWAIT: &CStr = c"put_nowait($self, item)\n--\n\n\
Puts an item into the queue if there is room; the same as put(item, block=False).";
const GET_NOWAIT: &CStr = c"get_nowait($self)\n--\n\n\
Takes an item out of the queue if there is one; the same as get(block=False).";
const PUT_MANY: &CStr = c"put_many($self, items, timeout=None)\n--\n\n\
Puts several items, in order, as room comes; cheaper than one put for each.

Args:
    items: Any iterable; it is read to its end first.
    timeout: How many seconds at most for all of them; None waits for ever.

Raises:
    Full: There was no room in time for some of the last ones, which were not put.
    ShutDown: The queue was shut down; what was put before is in the queue.";
const GET_MANY: &CStr = c"get_many($self, max, timeout=None)\n--\n\n\
Takes what there is, as a list of one item at least and max at most; waits for the first only.

Args:
    max: The most items to take.
    timeout: How many seconds to wait at most; None waits for ever.

Raises:
    Empty: There was no item in time.
    ShutDown: The queue is empty and was shut down.";
const PEEK: &CStr = c"peek($self)\n--\n\n\
The item that get() would return now, which stays in the queue. Never waits.

Raises:
    Empty: There is none.
    ShutDown: There is none, and the queue was shut down.";
const QSIZE: &CStr = c"qsize($self)\n--\n\nHow many items are in the queue.";
const EMPTY: &CStr = c"empty($self)\n--\n\nWhether there is no item in the queue.";
const FULL: &CStr = c"full($self)\n--\n\nWhether the queue holds maxsize items.";
const SIZEOF: &CStr = c"__sizeof__($self)\n--\n\nBytes of the object and of the memory for items.";
const TASK_DONE: &CStr = c"task_done($self)\n--\n\n\
Tells that an item taken out earlier is done with.

Raises:
    ValueError: Called more often than items were put.";
const JOIN: &CStr = c"join($self, timeout=None)\n--\n\n\
Waits until task_done() was called for every item put.

Args:
    timeout: How many seconds at most; None waits for ever.

Raises:
    TimeoutError: Items were unfinished when the time was over.";
const SHUTDOWN: &CStr = c"shutdown($self, immediate=False)\n--\n\n\
Ends the queue: puts raise ShutDown from now on, and gets do once it is empty.

Args:
    immediate: Whether to drop the items that are in the queue.";
const PUT_MANY_TICKET: &CStr = c"_put_many_ticket($self, items, /)\n--\n\n";
const GET_MANY_TICKET: &CStr = c"_get_many_ticket($self, max, /)\n--\n\n";
const MAXSIZE: &CStr = c"The most items the queue holds; zero or less: no bound. Can be set.";
const UNFINISHED: &CStr = c"How many items were put for which task_done() was not called yet.";
const IS_SHUTDOWN: &CStr = c"Whether shutdown() was called.";
const ITEMS: &CStr =
    c"The items, in a deque or a list that may be changed under mutex. Touching it moves the queue into compatible mode, as the four below do.";
const MUTEX: &CStr = c"The lock under which a queue in compatible mode works.";
const NOT_EMPTY: &CStr = c"The condition over mutex that a put notifies.";
const NOT_FULL: &CStr = c"The condition over mutex that a get notifies.";
const ALL_TASKS_DONE: &CStr = c"The condition over mutex that the last task_done() notifies.";
