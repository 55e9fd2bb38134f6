//! `__init__`: the bound, the policies, and what a subclass overrides.

use super::attributes::set_extra;
use super::bound::{self, Asked};
use super::elsewhere::{compatible, overflow_named};
use super::kind::{Kind, More, Queue, SimpleQueue};
use super::layout::{KEYED, OWN_GET, OWN_PUT, RawQueue, receiver};
use super::object::Object;
use crate::boundary::{guarded, is_observed, observe, wake};
use counterpoint_sync::queue::blocks::Blocks;
use counterpoint_sync::queue::{Fifo, Ordered, Overflow, Priority, Store};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple, PyType};
use std::ffi::c_int;
use std::sync::atomic::Ordering;

/// The order of a queue's class.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// First in, first out.
    Fifo,
    /// Last in, first out.
    Lifo,
    /// The lowest first.
    Priority,
}

/// What a constructor takes and makes.
pub trait Construct: Kind {
    /// The parameters; all but `maxsize` by name only.
    fn parameters(order: Order) -> &'static [&'static str];

    /// The store for these options.
    fn store(order: Order, keyed: bool, overflow: Overflow) -> Self::Store;
}

impl Construct for SimpleQueue {
    fn parameters(_: Order) -> &'static [&'static str] {
        &[]
    }

    fn store(_: Order, _: bool, _: Overflow) -> Fifo<Object> {
        Fifo::default()
    }
}

impl Construct for Queue {
    fn parameters(order: Order) -> &'static [&'static str] {
        match order {
            Order::Priority => &["maxsize", "overflow", "on_drop", "key"],
            _ => &["maxsize", "overflow", "on_drop"],
        }
    }

    fn store(order: Order, keyed: bool, overflow: Overflow) -> Ordered<Object> {
        match order {
            Order::Fifo => Ordered::default(),
            Order::Lifo => Ordered::Lifo(Blocks::default()),
            Order::Priority if keyed || overflow == Overflow::DropOldest => {
                Ordered::Priority(Priority::stable())
            }
            Order::Priority => Ordered::Priority(Priority::default()),
        }
    }
}

/// The order that the object's class has, by its attribute `_order`.
fn order_of(this: &Bound<'_, PyAny>) -> PyResult<Order> {
    let order = this.get_type().getattr_opt(intern!(this.py(), "_order"))?;
    let order: Option<String> = order.map(|order| order.extract()).transpose()?;
    Ok(match order.as_deref() {
        Some("lifo") => Order::Lifo,
        Some("priority") => Order::Priority,
        _ => Order::Fifo,
    })
}

/// `__init__(maxsize=0, *, overflow="block", on_drop=None)`, with `key=None` where it has one.
pub unsafe extern "C" fn init<K: Construct>(
    object: *mut PyObject,
    arguments: *mut PyObject,
    keywords: *mut PyObject,
) -> c_int {
    guarded(|py| {
        // SAFETY: CPython passes an instance of the type, a tuple, and a dict or null.
        let (this, arguments, keywords) = unsafe {
            let keywords = Bound::from_borrowed_ptr_or_opt(py, keywords);
            let arguments =
                Bound::from_borrowed_ptr(py, arguments).cast_into_unchecked::<PyTuple>();
            (Bound::from_borrowed_ptr(py, object), arguments, keywords)
        };
        let keywords = keywords.map(|keywords| keywords.cast_into::<PyDict>()).transpose()?;
        let order = if K::More::FULL { order_of(&this)? } else { Order::Fifo };
        let parameters = K::parameters(order);
        let options = Options::read(parameters, &this, &arguments, keywords.as_ref())?;
        // SAFETY: as above.
        let queue = unsafe { receiver::<K>(object) };
        apply::<K>(py, queue, order, options)?;
        settle_class::<K>(py, queue, &this)?;
        if is_observed() {
            observe(&this)?;
        }
        Ok(0)
    })
}

/// The arguments, checked.
#[derive(Default)]
struct Options {
    maxsize: Asked,
    overflow: Option<Overflow>,
    on_drop: Option<Object>,
    key: Option<Object>,
}

impl Options {
    fn read(
        parameters: &[&str],
        this: &Bound<'_, PyAny>,
        arguments: &Bound<'_, PyTuple>,
        keywords: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let mut options = Self::default();
        let most = parameters.len().min(1);
        if arguments.len() > most {
            let class = this.get_type();
            let text = format!("{}() takes at most {most} positional arguments", class.name()?);
            return Err(PyTypeError::new_err(text));
        }
        if let Ok(maxsize) = arguments.get_item(0) {
            options.maxsize = Asked::read(&maxsize)?;
        }
        for (name, value) in keywords.into_iter().flatten() {
            let name: String = name.extract()?;
            if !parameters.contains(&name.as_str()) || (name == "maxsize" && !arguments.is_empty())
            {
                let class = this.get_type();
                let text =
                    format!("{}() got an unexpected keyword argument '{name}'", class.name()?);
                return Err(PyTypeError::new_err(text));
            }
            options.set(&name, value)?;
        }
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> PyResult<()> {
        let drops = matches!(self.overflow, Some(Overflow::DropOldest | Overflow::DropNewest));
        if self.on_drop.is_none() || drops {
            return Ok(());
        }
        Err(PyValueError::new_err(
            "on_drop is never called unless overflow is 'drop_oldest' or 'drop_newest'",
        ))
    }

    fn set(&mut self, name: &str, value: Bound<'_, PyAny>) -> PyResult<()> {
        match name {
            "maxsize" => self.maxsize = Asked::read(&value)?,
            "overflow" => {
                let word: String = value.extract()?;
                let policy = overflow_named(&word).ok_or_else(|| {
                    PyValueError::new_err(format!(
                        "overflow must be 'block', 'raise', 'drop_oldest' or 'drop_newest', not \
                         {word:?}"
                    ))
                })?;
                self.overflow = Some(policy);
            }
            "on_drop" => self.on_drop = callable(name, value)?,
            _ => self.key = callable(name, value)?,
        }
        Ok(())
    }
}

fn callable(name: &str, value: Bound<'_, PyAny>) -> PyResult<Option<Object>> {
    if value.is_none() {
        return Ok(None);
    }
    if !value.is_callable() {
        return Err(PyTypeError::new_err(format!("{name} must be callable or None")));
    }
    Ok(Some(value.into()))
}

fn apply<K: Construct>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    order: Order,
    options: Options,
) -> PyResult<()> {
    let Options { maxsize, overflow, on_drop, key } = options;
    let overflow = overflow.unwrap_or(Overflow::Block);
    let keyed = key.is_some();
    let bits = queue.own.load(Ordering::Relaxed) & !KEYED;
    queue.own.store(bits | if keyed { KEYED } else { 0 }, Ordering::Relaxed);
    set_extra(py, queue, on_drop, key);
    bound::construct(py, queue, maxsize)?;
    let plain = order == Order::Fifo && overflow == Overflow::Block && !keyed;
    if !plain || !queue.state.with(py, |state| state.store().is_empty()) {
        let store = K::store(order, keyed, overflow);
        drop(wake(py, &queue.state, |state, wakes| state.configure(store, overflow, wakes)));
    }
    Ok(())
}

/// Our public classes and their own hooks, from `counterpoint.queue`.
static PUBLIC: PyOnceLock<(Objects, Objects)> = PyOnceLock::new();

type Objects = Vec<Py<PyAny>>;

const HOOKS: [&str; 4] = ["_init", "_qsize", "_put", "_get"];

/// Makes these classes the public ones: they get the native methods as their own, and a queue of
/// another class may override things.
#[pyfunction]
pub fn _publish_queues(py: Python<'_>, classes: Vec<Bound<'_, PyType>>) -> PyResult<()> {
    let simple = py.import("counterpoint._core")?.getattr("SimpleQueue")?;
    let mut own = Vec::new();
    for class in &classes {
        if class.is_subclass(&simple)? {
            super::own_methods::<SimpleQueue>(class)?;
        } else {
            super::own_methods::<Queue>(class)?;
        }
        for name in HOOKS.iter().chain(&["put", "get"]) {
            if let Ok(method) = class.getattr(*name) {
                own.push(method.unbind());
            }
        }
    }
    let classes = classes.into_iter().map(|class| class.into_any().unbind()).collect();
    let _ = PUBLIC.set(py, (classes, own));
    Ok(())
}

/// Notes what the object's class overrides.
fn settle_class<K: Construct>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    this: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let Some((classes, own)) = PUBLIC.get(py) else { return Ok(()) };
    // SAFETY: the type of a live object.
    let class = unsafe { ffi::Py_TYPE(this.as_ptr()) };
    if classes.iter().any(|public| public.as_ptr() == class.cast()) {
        return Ok(());
    }
    let class = this.get_type();
    let overrides = |name: &str| match class.getattr(name) {
        Ok(method) => !own.iter().any(|ours| ours.is(&method)),
        Err(_) => false,
    };
    let bits = [("put", OWN_PUT), ("get", OWN_GET)];
    let bits = bits.map(|(name, bit)| if overrides(name) { bit } else { 0 });
    queue.own.fetch_or(bits[0] | bits[1], Ordering::Relaxed);
    if HOOKS.iter().any(|name| overrides(name)) {
        compatible::<K>(py, this.as_ptr())?;
    }
    Ok(())
}
