//! What Python sees of a handle: the stdlib's methods and attributes.

use super::guard;
use super::layout::{CANCELLED, GUARDED, HandleObject, SCHEDULED};
use crate::boundary::{boolean, guarded, halts_at_exit, none};
use crate::event_loop::base::is_ours;
use crate::event_loop::context::empty;
use crate::event_loop::native::Loop;
use crate::executor::reference::Ref;
use pyo3::exceptions::PyAttributeError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::ffi::{c_int, c_void};
use std::ptr;

/// The receiver of a method or attribute.
///
/// # Safety
/// CPython passes an instance of the class.
#[inline(always)]
unsafe fn receiver(object: *mut PyObject) -> HandleObject {
    // SAFETY: the caller's promise.
    unsafe { HandleObject::from_ptr(object) }
}

fn or_none(object: Option<Ref>) -> *mut PyObject {
    object.map_or_else(none, Ref::into_ptr)
}

/// `cancel()`.
pub unsafe extern "C" fn cancel(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type.
    unsafe {
        let handle = receiver(object);
        if handle.is(GUARDED) {
            // First the mark, so that it does not begin meanwhile.
            return match cancel_now(object).is_null() {
                true => ptr::null_mut(),
                false => guarded(|py| guard::await_end(py, handle).map(|()| none())),
            };
        }
        cancel_now(object)
    }
}

/// # Safety
/// As the method that calls it.
#[inline(always)]
unsafe fn cancel_now(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: the caller's promise.
    unsafe {
        let (handle, py) = (receiver(object), Python::assume_attached());
        if handle.is(CANCELLED) {
            return none();
        }
        let owner = handle.owner(py);
        // It lies in a slot that can be set.
        let ours = owner.as_ref().filter(|owner| is_ours(owner.as_ptr()));
        let native = ours.and_then(|owner| Loop::of(py, owner.as_ptr()));
        if handle.flag(CANCELLED, true) {
            return none();
        }
        let remembered = !native.is_some_and(Loop::is_debugging) || remember(handle);
        halts_at_exit();
        let held = handle.empty(py);
        if handle.is(SCHEDULED)
            && let Some(native) = native
        {
            native.timer_cancelled(py);
        }
        if remembered {
            drop(held);
            return none();
        }
        let raised = crate::boundary::fetch(py);
        drop(held);
        raised.restore(py);
        ptr::null_mut()
    }
}

/// Keeps the representation, for the log, of a handle that is about to lose its callback.
#[cold]
fn remember(handle: HandleObject) -> bool {
    !guarded(|py| {
        // SAFETY: the receiver of a method, which is alive.
        let repr = unsafe { Bound::from_borrowed_ptr(py, handle.as_ptr()) }.repr()?;
        let traceback = told(py, handle, 0).map(|traceback| traceback.bind(py));
        handle.tell(py, PyTuple::new(py, [traceback, Some(repr.into_any())])?);
        Ok(none())
    })
    .is_null()
}

/// Something that is told of the handle.
fn told(py: Python<'_>, handle: HandleObject, which: usize) -> Option<Ref> {
    let told = handle.content().with(py, |content| content.told.as_ref().map(Ref::share))?;
    let told = told.bind(py).cast_into::<PyTuple>().ok()?;
    told.get_item(which).ok().map(Ref::from)
}

/// `cancelled()`.
pub unsafe extern "C" fn cancelled(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method is called on its own type.
    let handle = unsafe { receiver(object) };
    if handle.is(GUARDED) {
        return guarded(|py| {
            guard::await_end(py, handle)?;
            Ok(boolean(handle.is(CANCELLED)))
        });
    }
    boolean(handle.is(CANCELLED))
}

/// `_run()`, which the stdlib's loops would call.
pub unsafe extern "C" fn run(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type.
    let handle = unsafe { receiver(object) };
    guarded(|py| crate::event_loop::turn::run_handle(py, handle).map(|()| none()))
}

/// `when()`.
pub unsafe extern "C" fn when(object: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    // SAFETY: a method is called attached, on its own type.
    unsafe { ffi::PyFloat_FromDouble(receiver(object).tail().when) }
}

/// Attributes that cannot be set.
pub unsafe extern "C" fn refuse(_: *mut PyObject, _: *mut PyObject, _: *mut c_void) -> c_int {
    guarded(|_| Err::<c_int, _>(PyAttributeError::new_err("a handle's attributes are read-only")))
}

type Getter = unsafe extern "C" fn(*mut PyObject, *mut c_void) -> *mut PyObject;

/// Defines a getter from what it does with the handle.
macro_rules! getter {
    ($name:ident, $handle:ident, $py:ident, $value:expr) => {
        pub unsafe extern "C" fn $name(object: *mut PyObject, _: *mut c_void) -> *mut PyObject {
            // SAFETY: the receiver of an attribute, read by an attached thread.
            let ($handle, $py) = unsafe { (receiver(object), Python::assume_attached()) };
            let _ = $py;
            $value
        }
        const _: Getter = $name;
    };
}

getter!(callback, handle, py, or_none(handle.peek(py).map(|call| call.callback)));
getter!(context, handle, py, {
    let share = |content: &mut super::layout::Content| content.context.as_ref().map(Ref::share);
    match handle.content().with(py, share) {
        Some(context) => context.into_ptr(),
        None => guarded(|py| Ok(handle.set_context(py, empty(py)?).into_ptr())),
    }
});
getter!(arguments, handle, _py, guarded(|py| Ok(or_none(handle.arguments(py)?))));
getter!(is_cancelled, handle, py, boolean(handle.is(CANCELLED)));
getter!(scheduled, handle, py, boolean(handle.is(SCHEDULED)));
getter!(owner, handle, py, or_none(handle.owner(py)));
getter!(traceback, handle, py, or_none(told(py, handle, 0)));
getter!(repr, handle, py, or_none(told(py, handle, 1)));
getter!(when_attribute, handle, py, {
    // SAFETY: the thread is attached.
    unsafe { ffi::PyFloat_FromDouble(handle.tail().when) }
});
