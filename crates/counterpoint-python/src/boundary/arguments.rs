//! Timeouts as the stdlib takes them, and the arguments of `acquire`.

use counterpoint_sync::clock;
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

/// `threading.TIMEOUT_MAX`, in seconds.
const TIMEOUT_MAX: f64 = 9_223_372_036.0;

/// How long a blocking call may take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Timeout {
    /// Not at all.
    Now,
    /// To this moment, in monotonic nanoseconds.
    Until(u64),
    /// For ever.
    Never,
}

impl Timeout {
    /// The deadline for a park; `None` if there is none.
    pub fn deadline(self) -> Option<u64> {
        match self {
            Timeout::Until(at) => Some(at),
            Timeout::Now | Timeout::Never => None,
        }
    }

    /// `seconds` from now; what is not positive is now.
    pub fn seconds(seconds: f64) -> PyResult<Self> {
        if seconds.is_nan() {
            return Err(PyValueError::new_err("Invalid value NaN (not a number)"));
        }
        if seconds > TIMEOUT_MAX {
            return Err(PyOverflowError::new_err("timeout value is too large"));
        }
        if seconds <= 0.0 {
            return Ok(Timeout::Now);
        }
        Ok(clock::deadline_in(seconds).map_or(Timeout::Never, Timeout::Until))
    }
}

/// `timeout=None` means for ever, as in `Condition.wait` and `Semaphore.acquire`.
pub fn optional_timeout(timeout: Option<f64>) -> PyResult<Timeout> {
    timeout.map_or(Ok(Timeout::Never), Timeout::seconds)
}

/// The arguments of `Lock.acquire(blocking=True, timeout=-1)`, with the stdlib's errors.
///
/// # Safety
/// `arguments` and `names` are what a METH_FASTCALL|METH_KEYWORDS function was called with.
pub unsafe fn lock_arguments(
    py: Python<'_>,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> PyResult<Timeout> {
    // SAFETY: the caller's promise.
    let [blocking, timeout] =
        unsafe { bind(py, arguments, count, names, "acquire", ["blocking", "timeout"])? };
    let blocking = blocking.map_or(Ok(true), |value| truth(&value))?;
    let seconds = timeout.map_or(Ok(-1.0), |value| number(&value))?;
    lock_timeout(blocking, seconds)
}

/// What `blocking` and `timeout` of `Lock.acquire` mean together; -1 is for ever.
pub fn lock_timeout(blocking: bool, seconds: f64) -> PyResult<Timeout> {
    match (blocking, seconds) {
        (true, -1.0) => Ok(Timeout::Never),
        (false, -1.0) => Ok(Timeout::Now),
        (false, _) => Err(PyValueError::new_err("can't specify a timeout for a non-blocking call")),
        (true, seconds) if seconds < -TIMEOUT_MAX => {
            Err(PyOverflowError::new_err("timeout value is too small"))
        }
        (true, seconds) if seconds < 0.0 => {
            Err(PyValueError::new_err("timeout value must be a non-negative number"))
        }
        (true, seconds) => Timeout::seconds(seconds),
    }
}

fn truth(value: &Bound<'_, PyAny>) -> PyResult<bool> {
    value.is_truthy()
}

/// A float, or what can become one.
pub fn number(value: &Bound<'_, PyAny>) -> PyResult<f64> {
    // SAFETY: `value` is a live object; the error indicator is checked right below.
    let seconds = unsafe { ffi::PyFloat_AsDouble(value.as_ptr()) };
    if seconds == -1.0
        && let Some(error) = PyErr::take(value.py())
    {
        return Err(error);
    }
    Ok(seconds)
}

/// Sorts positional and keyword arguments into places; each may be missing.
///
/// # Safety
/// `arguments` and `names` are what a METH_FASTCALL|METH_KEYWORDS function was called with.
pub unsafe fn bind<'py, const N: usize>(
    py: Python<'py>,
    arguments: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    function: &str,
    parameters: [&str; N],
) -> PyResult<[Option<Bound<'py, PyAny>>; N]> {
    let count = count as usize;
    if count > N {
        let text = format!("{function}() takes at most {N} arguments ({count} given)");
        return Err(PyTypeError::new_err(text));
    }
    let mut bound = [const { None }; N];
    // SAFETY: the vectorcall protocol: `count` positional values, then one per name.
    let value = |at: usize| unsafe { Bound::from_borrowed_ptr(py, *arguments.add(at)) };
    (0..count).for_each(|at| bound[at] = Some(value(at)));
    // SAFETY: null or a tuple of str.
    let keywords = if names.is_null() { 0 } else { unsafe { ffi::PyTuple_GET_SIZE(names) } };
    for at in 0..keywords as usize {
        // SAFETY: `at` is within the tuple.
        let name = unsafe { ffi::PyTuple_GET_ITEM(names, at as ffi::Py_ssize_t) };
        let place = position(py, name, function, &parameters)?;
        if bound[place].is_some() {
            let text = format!("{function}() got multiple values for '{}'", parameters[place]);
            return Err(PyTypeError::new_err(text));
        }
        bound[place] = Some(value(count + at));
    }
    Ok(bound)
}

fn position(
    py: Python<'_>,
    name: *mut ffi::PyObject,
    function: &str,
    parameters: &[&str],
) -> PyResult<usize> {
    // SAFETY: keyword names are live str objects.
    let name = unsafe { Bound::from_borrowed_ptr(py, name) };
    let name: String = name.extract()?;
    parameters.iter().position(|parameter| *parameter == name).ok_or_else(|| {
        PyTypeError::new_err(format!("{function}() got an unexpected keyword argument '{name}'"))
    })
}
