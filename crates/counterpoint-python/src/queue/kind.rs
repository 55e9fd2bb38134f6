//! [`Kind`]: the two native queue classes, as far as they differ.

use super::compare::ask_python;
use super::object::Object;
use counterpoint_sync::queue::blocks::Blocks;
use counterpoint_sync::queue::priority::Layout;
use counterpoint_sync::queue::{Fifo, Ordered, Priority, Ranked, Store};
use pyo3::ffi;
use pyo3::prelude::*;
use std::sync::atomic::AtomicIsize;

/// What an operation failed with, and the item it gives back.
pub type Refused<I> = (PyErr, I);

/// A queue class.
pub trait Kind: Sized + 'static {
    /// Where its items are.
    type Store: Store<Object = Object, Item: Send> + Send + 'static;
    /// What its objects have beyond a state.
    type More: More;

    /// The object of an item; the rest of it is dropped, so with no lock held.
    fn object(item: ItemOf<Self>) -> Object;

    /// The item of an object and the key that was computed for it.
    fn item(object: Object, key: Option<Object>) -> ItemOf<Self>;

    /// Calls `visit` with each reference in the store.
    fn for_each(store: &Self::Store, visit: impl FnMut(&Object));

    /// The objects, as the Python implementation keeps them: in the order of the store, each with
    /// its key and number if there are any.
    fn into_objects(py: Python<'_>, store: Self::Store) -> PyResult<Vec<Bound<'_, PyAny>>>;

    /// Whether equal items keep their order.
    fn is_stable(_: &Self::Store) -> bool {
        true
    }

    /// Adds an item, comparing in Python.
    fn push(_: Python<'_>, store: &mut Self::Store, item: ItemOf<Self>) -> PushOf<Self> {
        store.push(item).map_err(|item| (undecided(), item))
    }

    /// Takes the next item, comparing in Python.
    fn pop(_: Python<'_>, store: &mut Self::Store) -> PopOf<Self> {
        store.pop().map_err(|_| undecided())
    }

    /// Takes the oldest item, comparing in Python.
    fn pop_oldest(_: Python<'_>, store: &mut Self::Store) -> PopOf<Self> {
        store.pop_oldest().map_err(|_| undecided())
    }
}

/// What a kind's store holds.
pub type ItemOf<K> = <<K as Kind>::Store as Store>::Item;
/// The outcome of a push.
pub type PushOf<K> = Result<(), Refused<ItemOf<K>>>;
/// The outcome of a pop.
pub type PopOf<K> = PyResult<Option<ItemOf<K>>>;

fn undecided() -> PyErr {
    pyo3::exceptions::PySystemError::new_err("a queue without an order could not decide")
}

/// What is in a queue object behind its state.
pub trait More: Default + Send {
    /// Whether there is an instance dictionary, a bound, and counting of tasks: all classes but
    /// SimpleQueue.
    const FULL: bool;

    /// Those, if there are.
    fn full(&self) -> Option<&Full>;
}

/// The bound and the dictionary.
#[derive(Default)]
pub struct Full {
    /// The instance's `__dict__`, which CPython manages.
    pub dictionary: usize,
    /// The `maxsize` that was asked for; zero or less is no bound. See `bound`.
    pub maxsize: AtomicIsize,
}

/// Nothing.
#[derive(Default)]
pub struct Bare;

impl More for Full {
    const FULL: bool = true;

    fn full(&self) -> Option<&Full> {
        Some(self)
    }
}

impl More for Bare {
    const FULL: bool = false;

    fn full(&self) -> Option<&Full> {
        None
    }
}

/// `Queue`, `LifoQueue` and `PriorityQueue`: one layout, so that each of the latter is a `Queue`.
pub struct Queue;
/// `SimpleQueue`.
pub struct SimpleQueue;

impl Kind for SimpleQueue {
    type Store = Fifo<Object>;
    type More = Bare;

    #[inline(always)]
    fn object(item: Object) -> Object {
        item
    }

    #[inline(always)]
    fn item(object: Object, _: Option<Object>) -> Object {
        object
    }

    fn for_each(store: &Fifo<Object>, visit: impl FnMut(&Object)) {
        store.0.iter().for_each(visit);
    }

    fn into_objects(py: Python<'_>, store: Fifo<Object>) -> PyResult<Vec<Bound<'_, PyAny>>> {
        Ok(in_order(py, store.0))
    }
}

fn in_order(py: Python<'_>, mut blocks: Blocks<Object>) -> Vec<Bound<'_, PyAny>> {
    std::iter::from_fn(|| blocks.pop_front()).map(|object| object.into_bound(py)).collect()
}

impl Kind for Queue {
    type Store = Ordered<Object>;
    type More = Full;

    #[inline(always)]
    fn object(item: Ranked<Object>) -> Object {
        item.item
    }

    #[inline(always)]
    fn item(object: Object, key: Option<Object>) -> Ranked<Object> {
        Ranked { item: object, key }
    }

    fn for_each(store: &Ordered<Object>, visit: impl FnMut(&Object)) {
        match store {
            Ordered::Fifo(blocks) | Ordered::Lifo(blocks) => blocks.iter().for_each(visit),
            Ordered::Priority(priority) => priority.for_each(visit),
        }
    }

    fn into_objects(py: Python<'_>, store: Ordered<Object>) -> PyResult<Vec<Bound<'_, PyAny>>> {
        match store {
            Ordered::Fifo(blocks) | Ordered::Lifo(blocks) => Ok(in_order(py, blocks)),
            Ordered::Priority(priority) => entries(py, priority),
        }
    }

    fn is_stable(store: &Ordered<Object>) -> bool {
        !matches!(store, Ordered::Priority(Priority(Layout::Plain(_))))
    }

    fn push(
        py: Python<'_>,
        store: &mut Ordered<Object>,
        item: Ranked<Object>,
    ) -> Result<(), Refused<Ranked<Object>>> {
        match store {
            Ordered::Priority(priority) => priority.push_by(item, |a, b| ask_python(py, a, b)),
            other => other.push(item).map_err(|item| (undecided(), item)),
        }
    }

    fn pop(py: Python<'_>, store: &mut Ordered<Object>) -> PyResult<Option<Ranked<Object>>> {
        match store {
            Ordered::Priority(priority) => priority.pop_by(|a, b| ask_python(py, a, b)),
            other => other.pop().map_err(|_| undecided()),
        }
    }

    fn pop_oldest(py: Python<'_>, store: &mut Ordered<Object>) -> PyResult<Option<Ranked<Object>>> {
        match store {
            Ordered::Priority(priority) => priority.pop_oldest_by(|a, b| ask_python(py, a, b)),
            other => other.pop_oldest().map_err(|_| undecided()),
        }
    }
}

/// A heap's entries, in heap order.
fn entries(py: Python<'_>, priority: Priority<Object>) -> PyResult<Vec<Bound<'_, PyAny>>> {
    let entries = match priority.0 {
        Layout::Plain(heap) => {
            let items = heap.into_entries().into_iter();
            return Ok(items.map(|item| item.into_bound(py)).collect());
        }
        Layout::Stable(stable) => stable.into_entries().into_iter(),
    };
    let parts = entries.map(|entry| {
        let (number, Ranked { item, key }) = (entry.number(), entry.into_ranked());
        let item = item.into_bound(py);
        let key = key.map_or_else(|| item.clone(), |key| key.into_bound(py));
        Ok((key, number, item).into_pyobject(py)?.into_any())
    });
    parts.collect()
}

/// Visits with CPython's function; stops at the first that does not return 0.
pub fn visit_store<K: Kind>(
    store: &K::Store,
    visit: ffi::visitproc,
    argument: *mut std::ffi::c_void,
) -> std::ffi::c_int {
    let mut shown = 0;
    K::for_each(store, |object| {
        if shown == 0 {
            // SAFETY: the collector's function and its argument, on a live object.
            shown = unsafe { visit(object.as_ptr(), argument) };
        }
    });
    shown
}
