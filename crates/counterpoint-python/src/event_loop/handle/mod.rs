//! `asyncio.Handle` and `asyncio.TimerHandle`, natively.

mod attributes;
mod ends;
pub mod guard;
mod layout;

pub use ends::visit_queued;
pub use layout::{CANCELLED, Call, GUARDED, HandleObject, KEEPS, Kind, RECYCLED, SCHEDULED, make};

use crate::boundary::{Spec, attribute, noargs, raw_type, slot};
use pyo3::ffi::{self, PyTypeObject};
use pyo3::prelude::*;
use std::ffi::{CStr, c_void};
use std::ptr;

/// Makes the classes and adds them to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let events = module.py().import("asyncio.events")?;
    let (handle, timer) = (events.getattr("Handle")?, events.getattr("TimerHandle")?);
    let memory = |class: &Bound<'_, PyAny>| class.as_ptr().cast::<PyTypeObject>();
    // SAFETY: live type objects. The timer's is derived from the other, and has two slots more, which
    // no other has.
    let (size, weak_references) =
        unsafe { ((*memory(&timer)).tp_basicsize, (*memory(&handle)).tp_weaklistoffset) };
    let slots = place_of_slots(&handle)?;
    let size = layout::lay_out(size as usize, slots, weak_references);
    let threadsafe = match events.getattr("_ThreadSafeHandle") {
        Ok(base) => Some(class(&base, c"counterpoint.aio.ThreadSafeHandle", size, false)?),
        Err(_) => None, // new in Python 3.14
    };
    let handle = class(&handle, c"counterpoint.aio.Handle", size, false)?;
    let timer = class(&timer, c"counterpoint.aio.TimerHandle", size, true)?;
    let third = threadsafe.as_ref().map_or(ptr::null_mut(), memory);
    layout::made(memory(&handle), memory(&timer), third);
    // They live as long as the process: handles that died are kept.
    std::mem::forget((handle.clone(), timer.clone(), threadsafe));
    module.add("Handle", handle)?;
    module.add("TimerHandle", timer)
}

/// Where the stdlib's slots begin, if they are those that are known and lie side by side.
fn place_of_slots(handle: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    let namespace = handle.getattr("__dict__")?;
    let mut places = Vec::new();
    for name in layout::SLOTS {
        let Ok(slot) = namespace.get_item(name) else { return Ok(None) };
        // SAFETY: the types of descriptors live for ever; one of this type has a definition.
        unsafe {
            if ffi::Py_TYPE(slot.as_ptr()) != &raw mut ffi::PyMemberDescr_Type {
                return Ok(None);
            }
            let member = (*slot.as_ptr().cast::<ffi::PyMemberDescrObject>()).d_member;
            places.push((*member).offset as usize);
        }
    }
    places.sort_unstable();
    let side_by_side = places.windows(2).all(|two| two[1] - two[0] == size_of::<*mut ()>());
    Ok(places.first().copied().filter(|_| side_by_side))
}

fn class<'py>(
    base: &Bound<'py, PyAny>,
    name: &'static CStr,
    size: usize,
    timer: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let mut methods = vec![
        noargs(c"cancel", attributes::cancel, c"cancel($self)\n--\n\nDo not call it any more."),
        noargs(c"cancelled", attributes::cancelled, c"cancelled($self)\n--\n\nWhether cancelled."),
        noargs(c"_run", attributes::run, c"_run($self)\n--\n\nCall it, in its context."),
    ];
    let read = |name, get| attribute(name, get, attributes::refuse);
    let mut computed = vec![
        read(c"_callback", attributes::callback),
        read(c"_args", attributes::arguments),
        read(c"_context", attributes::context),
        read(c"_cancelled", attributes::is_cancelled),
        read(c"_loop", attributes::owner),
        read(c"_source_traceback", attributes::traceback),
        read(c"_repr", attributes::repr),
    ];
    if timer {
        let doc = c"when($self)\n--\n\nWhen it is to be called, in seconds of loop.time().";
        methods.push(noargs(c"when", attributes::when, doc));
        computed.push(read(c"_when", attributes::when_attribute));
        computed.push(read(c"_scheduled", attributes::scheduled));
    }
    let spec = Spec {
        name,
        size,
        flags: ffi::Py_TPFLAGS_HAVE_GC | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION,
        slots: vec![
            slot(ffi::Py_tp_dealloc, ends::dealloc as *mut c_void),
            slot(ffi::Py_tp_traverse, ends::traverse as *mut c_void),
            slot(ffi::Py_tp_clear, ends::clear as *mut c_void),
        ],
        methods,
        members: Vec::new(),
        attributes: computed,
    };
    let class = raw_type(base.py(), spec, Some(base))?;
    Ok(class)
}
