//! The way in: `submit` as a bare C function, in a class derived from the stdlib's
//! ProcessPoolExecutor.

use super::codec::{Encoded, encode_call};
use super::context;
use super::parcel::naming;
use super::payload::pack;
use super::pool::{Core, ProcessPool};
use crate::boundary::{Spec, guarded, halts_at_exit, method, raw_type};
use crate::executor::future::FutureObject;
use crate::executor::future::remote::{RemoteJob, new_remote};
use counterpoint_pool::{Job, Options, Outcome, Pushed, Record, Refusal};
use counterpoint_shm::clock;
use pyo3::Borrowed;
use pyo3::exceptions::{PyException, PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject, PyTypeObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where the field with the pool is: behind the base's own fields.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Memory for encoding, kept from one call to the next.
    static SCRATCH: RefCell<Encoded> = RefCell::default();
}

/// A scratch record larger than this is given back.
const KEEP: usize = 1 << 20;

type Arguments<'a, 'py> = &'a [Borrowed<'a, 'py, PyAny>];
type Names<'a, 'py> = Option<Borrowed<'a, 'py, PyTuple>>;

/// A call that was encoded, as a job; or the error of encoding it, as its outcome.
fn prepare(
    py: Python<'_>,
    pool: &ProcessPool,
    function: Borrowed<'_, '_, PyAny>,
    arguments: Arguments<'_, '_>,
    names: Names<'_, '_>,
    options: Option<Box<Options>>,
) -> PyResult<Arc<RemoteJob>> {
    halts_at_exit();
    let mut encoded = SCRATCH.take();
    encoded.clear();
    let function = pool.interner.intern(function)?;
    let shared = &pool.core().shared;
    let (record, parcels) = naming(|| {
        context::encode(py, &mut encoded)?;
        encode_call(function, arguments, names, &mut encoded)?;
        pack(py, &encoded, || pool.core().arena())
    });
    if encoded.bytes.capacity() < KEEP {
        encoded.clear();
        SCRATCH.replace(encoded);
    }
    match record {
        Ok(mut record) => {
            record.parcels = parcels.into();
            Ok(Job::new(record, function.id(), clock::now(), shared.clone(), options))
        }
        Err(error) => {
            let nothing = Record {
                bytes: Box::default(),
                blocks: Box::default(),
                apart: false,
                parcels: Box::default(),
            };
            let job = Job::new(nothing, None, clock::now(), shared.clone(), None);
            let error: Py<PyAny> = error.into_value(py).into_any();
            shared.with(|pool| pool.finish(job.clone(), Outcome::Failed(Arc::new(error))));
            Ok(job)
        }
    }
}

/// Encodes, queues, and returns the future.
fn submit_now<'py>(
    pool: &Bound<'py, ProcessPool>,
    executor: &Bound<'py, PyAny>,
    function: Borrowed<'_, 'py, PyAny>,
    arguments: Arguments<'_, 'py>,
    names: Names<'_, 'py>,
    options: Option<Box<Options>>,
) -> PyResult<Bound<'py, PyAny>> {
    let (py, pool) = (pool.py(), pool.get());
    let core = pool.core();
    core.check_ours()?;
    core.ensure_served()?;
    // Not in the condition, where the lock would be held while Python is asked.
    let refusal = core.shared.lock().refusal();
    if let Some(refusal) = refusal {
        refuse(executor, refusal)?;
    }
    let mut job = prepare(py, pool, function, arguments, names, options)?;
    // SAFETY: a new reference, or null with an exception set.
    let future = unsafe { Bound::from_owned_ptr_or_err(py, new_remote(job.clone()))? };
    if job.lock().future.phase().is_done() {
        return Ok(future);
    }
    loop {
        match core.shared.with(|pool| pool.push(job)) {
            Ok(Pushed { launch, poke, first }) => {
                if poke {
                    core.shared.poke();
                }
                let start = if first { Core::launch } else { Core::launch_soon };
                if launch && let Err(error) = start(core, py) {
                    launch_failed(py, pool, &future, error)?;
                }
                return Ok(future);
            }
            Err((refusal, back)) => {
                refuse(executor, refusal)?;
                job = back;
            }
        }
    }
}

/// A worker could not be launched. With others at work that is no harm; else the call is taken back
/// and the error is the caller's. What others have submitted meanwhile is tried again by the
/// courier, or fails there.
#[cold]
fn launch_failed(
    py: Python<'_>,
    pool: &ProcessPool,
    future: &Bound<'_, PyAny>,
    error: PyErr,
) -> PyResult<()> {
    let shared = &pool.core().shared;
    // The pool's end may have waited for that worker.
    shared.poke();
    let harmless = error.is_instance_of::<PyException>(py);
    if harmless && !shared.with(|pool| pool.is_stranded()) {
        return Ok(());
    }
    // SAFETY: a live future, ours.
    let job = unsafe { FutureObject::from_ptr(future.as_ptr()) }.remote();
    let withdrawn = job.is_some_and(|job| shared.with(|pool| pool.withdraw(&job)));
    shared.poke();
    if withdrawn || !harmless { Err(error) } else { Ok(()) }
}

/// Raises for a pool that does not accept a job, or returns when it is worth trying again.
#[cold]
fn refuse(executor: &Bound<'_, PyAny>, refusal: Refusal) -> PyResult<()> {
    let py = executor.py();
    let name = match refusal {
        Refusal::Closed => intern!(py, "_refuse_closed"),
        Refusal::Broken => intern!(py, "_refuse_broken"),
        Refusal::Full => intern!(py, "_refuse_full"),
    };
    executor.call_method0(name).map(drop)
}

/// The same for a call with options, from Python.
pub fn submit_slowly<'py>(
    pool: &Bound<'py, ProcessPool>,
    executor: &Bound<'py, PyAny>,
    function: &Bound<'py, PyAny>,
    arguments: &[Bound<'py, PyAny>],
    names: Option<Bound<'py, PyTuple>>,
    options: Box<Options>,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.as_borrowed()).collect();
    let names = names.as_ref().map(|names| names.as_borrowed());
    submit_now(pool, executor, function.as_borrowed(), &arguments, names, Some(options))
}

/// `submit(fn, /, *args, **kwargs)`.
unsafe extern "C" fn submit(
    executor: *mut PyObject,
    arguments: *const *mut PyObject,
    count: ffi::Py_ssize_t,
    names: *mut PyObject,
) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: a method is called attached, on its own type, by the vectorcall protocol:
        // `count` positional values, then one for each name. `Borrowed` has the layout of a
        // pointer.
        unsafe {
            let executor = Bound::from_borrowed_ptr(py, executor);
            let pool = pool_of(&executor)?;
            if count < 1 {
                return Err(PyTypeError::new_err(
                    "ProcessPoolExecutor.submit() missing 1 required positional argument: 'fn'",
                ));
            }
            let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) };
            let all = std::slice::from_raw_parts(
                arguments.cast::<Borrowed<'_, '_, PyAny>>(),
                (count + named) as usize,
            );
            let names = Bound::from_borrowed_ptr_or_opt(py, names);
            let names = names.as_ref().map(|names| names.cast_unchecked::<PyTuple>());
            let names = names.filter(|names| !names.is_empty()).map(|names| names.as_borrowed());
            submit_now(&pool, &executor, all[0], &all[1..], names, None).map(Bound::into_ptr)
        }
    })
}

/// The executor's pool.
fn pool_of<'py>(executor: &Bound<'py, PyAny>) -> PyResult<Bound<'py, ProcessPool>> {
    // SAFETY: an instance of the class; the field is null or a live object.
    let pool = unsafe {
        let field = *executor.as_ptr().byte_add(OFFSET.load(Ordering::Relaxed)).cast();
        Bound::from_borrowed_ptr_or_opt(executor.py(), field)
    };
    let pool = pool.ok_or_else(|| {
        PyRuntimeError::new_err("this executor was not initialised: call super().__init__() first")
    })?;
    Ok(pool.cast_into::<ProcessPool>()?)
}

/// Makes the class, once its base was imported.
#[pyfunction]
pub fn _process_pool_base<'py>(base: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: a live type object.
    let size = unsafe { (*base.as_ptr().cast::<PyTypeObject>()).tp_basicsize } as usize;
    let offset = size.next_multiple_of(align_of::<*mut PyObject>());
    OFFSET.store(offset, Ordering::Relaxed);
    let spec = Spec {
        name: c"counterpoint._core.ProcessPoolBase",
        size: offset + size_of::<*mut PyObject>(),
        flags: ffi::Py_TPFLAGS_BASETYPE,
        slots: Vec::new(),
        methods: vec![method(
            c"submit",
            submit,
            c"submit($self, fn, /, *args, **kwargs)\n--\n\nRun fn(*args, **kwargs) in a worker process; return its Future.",
        )],
        members: vec![ffi::PyMemberDef {
            name: c"_counterpoint_pool".as_ptr(),
            type_code: ffi::Py_T_OBJECT_EX,
            offset: offset as ffi::Py_ssize_t,
            flags: 0,
            doc: std::ptr::null(),
        }],
        attributes: Vec::new(),
    };
    raw_type(base.py(), spec, Some(base))
}
