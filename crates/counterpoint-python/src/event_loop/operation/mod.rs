//! Operations on sockets: what `sock_recv()` and its like return, a coroutine and a future in one.
//!
//! As a coroutine it tries when it is awaited, and returns at once what it gets. Where there is nothing
//! yet it has the loop watch the socket and yields itself, as the future that its task waits for. The
//! loop then tries again when the kernel says so, and lets the task go on in the same turn.
//!
//! The kernel watches *once* for an operation: it goes on knowing the descriptor when that is done, and
//! tells nothing more of it. So the next operation asks the kernel one thing, to watch again, by which
//! also a descriptor that is another file's by now is found out. Nothing is ever reported in vain
//! for long, not even of a socket that is closed here and open in a child process.

mod asked;
mod attempt;
mod future;
mod layout;
mod methods;
mod seat;
mod steps;
mod stop;
mod streams;

pub use future::wakes_task;
pub use layout::RECYCLED;
pub use methods::methods;
pub use steps::ready;
pub use stop::release;
pub use streams::{Waiting, feed, quicken, seat_of};

use crate::boundary::{Spec, attribute, method, noargs, one, raw_type, slot};
use pyo3::ffi;
use pyo3::prelude::*;
use std::ffi::c_void;
use std::ptr;

/// Makes the class and adds it to the module.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    methods::prepare(module.py())?;
    asked::prepare(module.py());
    let spec = Spec {
        name: c"counterpoint._core.event_loop.Operation",
        size: layout::SIZE,
        flags: ffi::Py_TPFLAGS_HAVE_GC
            | ffi::Py_TPFLAGS_HAVE_VECTORCALL
            | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION,
        slots: vec![
            slot(ffi::Py_tp_dealloc, layout::dealloc as *mut c_void),
            slot(ffi::Py_tp_traverse, layout::traverse as *mut c_void),
            slot(ffi::Py_tp_clear, layout::clear as *mut c_void),
            slot(ffi::Py_tp_iter, steps::itself as *mut c_void),
            slot(ffi::Py_tp_iternext, steps::next as *mut c_void),
            slot(ffi::Py_am_await, steps::itself as *mut c_void),
            slot(ffi::Py_am_send, steps::send_slot as *mut c_void),
            slot(ffi::Py_tp_repr, future::repr as *mut c_void),
            slot(ffi::Py_tp_getattro, asked::get_attribute as *mut c_void),
            slot(ffi::Py_tp_setattro, asked::set_attribute as *mut c_void),
            slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        ],
        methods: vec![
            one(c"send", steps::send, c"send($self, value)\n--\n\nGo on."),
            method(
                c"throw",
                steps::throw,
                c"throw($self, type, value=None, tb=None)\n--\n\nRaise.",
            ),
            noargs(c"close", steps::close, c"close($self)\n--\n\nGive it up."),
            one(c"remove_done_callback", future::remove_done_callback, REMOVE_DONE),
            method(c"cancel", future::cancel, c"cancel($self, msg=None)\n--\n\nGive it up."),
            noargs(c"cancelled", future::cancelled, c"cancelled($self)\n--\n\nWhether cancelled."),
            noargs(c"done", future::done, c"done($self)\n--\n\nWhether it is done."),
            noargs(c"result", future::result, c"result($self)\n--\n\nWhat it came to."),
            noargs(c"exception", future::exception, c"exception($self)\n--\n\nWhy it failed."),
        ],
        members: vec![ffi::PyMemberDef {
            name: c"__vectorcalloffset__".as_ptr(),
            type_code: ffi::Py_T_PYSSIZET,
            offset: layout::CALL as ffi::Py_ssize_t,
            flags: ffi::Py_READONLY,
            doc: ptr::null(),
        }],
        attributes: vec![
            attribute(c"get_loop", asked::callable, future::refuse),
            attribute(c"add_done_callback", asked::callable, future::refuse),
            attribute(c"_asyncio_future_blocking", asked::blocking, asked::set_blocking),
            attribute(c"__name__", future::name, future::refuse),
            attribute(c"__qualname__", future::qualified_name, future::refuse),
        ],
    };
    let class = raw_type(module.py(), spec, None)?;
    layout::made(&class);
    module.add_class::<seat::Seat>()?;
    module.add_function(wrap_pyfunction!(quicken, module)?)?;
    module.add("Operation", class)
}

const REMOVE_DONE: &std::ffi::CStr =
    c"remove_done_callback($self, fn, /)\n--\n\nDo not; how many there were.";
