//! The operations of tasks: the same as `operate`'s, as tickets.

use super::errors::denied;
use super::kind::{ItemOf, Kind};
use super::layout::{RawQueue, StateOf, receiver};
use super::object::Object;
use super::operate::{self, Outcome, Rest, finish_get, finish_get_many, finish_put};
use super::patience::{Arguments, required};
use crate::boundary::{Pending, Place, TaskHandle, Ticket, guarded, thread_owner};
use counterpoint_sync::queue::{Caller, Denied, Ended, Get, GetMany, Join, Put};
use counterpoint_sync::wait::{Shared, Source, Wait};
use pyo3::exceptions::PyValueError;
use pyo3::ffi::{Py_ssize_t, PyObject};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyList;
use std::any::Any;
use std::marker::PhantomData;

/// A strong reference to a queue, for a wait that outlives the call.
pub struct QueuePlace<K> {
    object: Py<PyAny>,
    kind: PhantomData<fn(K)>,
}

impl<K: Kind> QueuePlace<K> {
    fn queue(&self) -> &RawQueue<K> {
        // SAFETY: made from a receiver only, and the reference keeps the object alive.
        unsafe { receiver::<K>(self.object.as_ptr()) }
    }
}

impl<K: Kind> Place for QueuePlace<K> {
    type State = StateOf<K>;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = StateOf<K>> + 'a {
        self.queue().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.object)
    }

    fn given_up(&self, py: Python<'_>, source: &mut dyn Any) {
        if let Some(put) = source.downcast_mut::<Put<TaskHandle, K::Store>>() {
            operate::give_up(py, self.queue(), put);
        }
    }
}

fn caller() -> Caller {
    Caller::new(thread_owner(), true)
}

/// How an outcome becomes what the coroutine returns.
type Finish<K, T> = fn(Python<'_>, &QueuePlace<K>, T) -> PyResult<Py<PyAny>>;

fn ticket<K, O>(
    py: Python<'_>,
    object: *mut PyObject,
    source: O,
    finish: Finish<K, O::Output>,
) -> PyResult<*mut PyObject>
where
    K: Kind,
    O: Source<State = StateOf<K>> + Send + 'static,
{
    // SAFETY: the receiver of the call being served.
    let object = unsafe { Bound::from_borrowed_ptr(py, object) }.unbind();
    let place = QueuePlace { object, kind: PhantomData };
    let ticket = Ticket::new(Pending { place, wait: Wait::new(source), finish });
    Ok(Py::new(py, ticket)?.into_any().into_ptr())
}

/// `_put_ticket(item)`. The coroutine gets None, or what the Python implementation has to put.
pub unsafe extern "C" fn put_ticket<K: Kind>(
    object: *mut PyObject,
    item: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: CPython calls methods with an instance of the type and a live argument.
        let (queue, item) = unsafe { (receiver::<K>(object), Object::borrowed(item)) };
        let item = operate::item(py, queue, item)?;
        ticket::<K, _>(py, object, Put::new(item, caller()), ended::<K>)
    })
}

/// `_put_many_ticket(items)`.
pub unsafe extern "C" fn put_many_ticket<K: Kind>(
    object: *mut PyObject,
    items: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: as in `put_ticket`.
        let (queue, items) =
            unsafe { (receiver::<K>(object), Bound::from_borrowed_ptr(py, items)) };
        let mut blocks = counterpoint_sync::queue::blocks::Blocks::default();
        for item in items.try_iter()? {
            blocks.push_back(operate::item(py, queue, item?.into())?);
        }
        ticket::<K, _>(py, object, Put::many(blocks, caller()), ended::<K>)
    })
}

fn ended<K: Kind>(
    py: Python<'_>,
    place: &QueuePlace<K>,
    ended: Ended<ItemOf<K>>,
) -> PyResult<Py<PyAny>> {
    let rest = match finish_put(py, place.queue(), ended)? {
        None => return Ok(py.None()),
        Some(Rest::Elsewhere(objects)) => objects,
        Some(Rest::Items(mut items)) => {
            std::iter::from_fn(|| items.pop_front()).map(K::object).collect()
        }
    };
    let rest = rest.into_iter().map(|object| object.into_bound(py));
    Ok(PyList::new(py, rest.collect::<Vec<_>>())?.into_any().unbind())
}

/// `_get_ticket()`. The coroutine gets the item, or a `Moved` exception.
pub unsafe extern "C" fn get_ticket<K: Kind>(
    object: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        let source = Get::<TaskHandle, K::Store>::new(caller());
        ticket::<K, _>(py, object, source, |py, place, output| {
            match finish_get(py, place.queue(), output)? {
                Outcome::Done(item) => Ok(item.into_bound(py).unbind()),
                Outcome::Elsewhere(_) => Err(denied(py, Denied::Foreign)),
            }
        })
    })
}

/// `_get_many_ticket(max)`.
pub unsafe extern "C" fn get_many_ticket<K: Kind>(
    object: *mut PyObject,
    values: *const *mut PyObject,
    count: Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        let arguments = Arguments { values, count, names };
        // SAFETY: the arguments of the call being served.
        let [most] = unsafe { arguments.bind(py, "async_get_many", ["max"])? };
        let most: isize = required(most, "async_get_many", "max")?.extract()?;
        let Some(most) = usize::try_from(most).ok().filter(|most| *most > 0) else {
            return Err(PyValueError::new_err("'max' must be a positive number"));
        };
        let source = GetMany::<TaskHandle, K::Store>::new(most, caller());
        ticket::<K, _>(py, object, source, |py, place, output| {
            match finish_get_many(py, place.queue(), output)? {
                Outcome::Done(objects) => {
                    let objects = objects.into_iter().map(|object| object.into_bound(py));
                    Ok(PyList::new(py, objects.collect::<Vec<_>>())?.into_any().unbind())
                }
                Outcome::Elsewhere(_) => Err(denied(py, Denied::Foreign)),
            }
        })
    })
}

/// `_join_ticket()`.
pub unsafe extern "C" fn join_ticket<K: Kind>(
    object: *mut PyObject,
    _: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        let source = Join::<TaskHandle, K::Store>::of_task();
        ticket::<K, _>(py, object, source, |py, _, output| match output {
            Ok(()) => Ok(py.None()),
            Err(why) => Err(denied(py, why)),
        })
    })
}
