//! [`Yielding`]: attributes of ours, in classes of the stdlib's, that get out of a subclass's way.
//!
//! The stdlib's classes know nothing of `waiters`, `owner` or `_meter`, so a class that derives
//! from them may keep something of its own under such a name. A computed attribute would refuse
//! the assignment; one without a setter's slot lets the instance's `__dict__` have its way.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

/// Computes what the wrapped descriptor computes, as long as the instance has no such attribute.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Yielding(Py<PyAny>);

#[pymethods]
impl Yielding {
    /// The attribute of an instance; of a class: the wrapped descriptor, for those who document.
    fn __get__<'py>(
        &self,
        py: Python<'py>,
        instance: Option<Bound<'py, PyAny>>,
        class: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let Some(instance) = instance else { return Ok(self.0.bind(py).clone()) };
        let class = class.map_or(std::ptr::null_mut(), |class| class.as_ptr());
        // SAFETY: live objects; a descriptor's slot is called as CPython would.
        unsafe {
            let Some(get) = (*ffi::Py_TYPE(self.0.as_ptr())).tp_descr_get else {
                return Err(PyTypeError::new_err("not an attribute that is computed"));
            };
            let value = get(self.0.as_ptr(), instance.as_ptr(), class);
            Bound::from_owned_ptr_or_err(py, value)
        }
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// Lets the class's own attributes of these names yield to an instance's.
#[pyfunction]
#[pyo3(signature = (class, /, *names))]
pub fn let_yield(class: &Bound<'_, PyType>, names: &Bound<'_, PyTuple>) -> PyResult<()> {
    let attributes = class.getattr("__dict__")?;
    for name in names {
        let wrapped = Yielding(attributes.get_item(&name)?.unbind());
        class.setattr(name.cast::<pyo3::types::PyString>()?, wrapped)?;
    }
    Ok(())
}

/// The same for a class of the module.
pub fn yields(module: &Bound<'_, PyModule>, class: &str, names: &[&str]) -> PyResult<()> {
    let class = module.getattr(class)?.cast_into::<PyType>()?;
    let_yield(&class, &PyTuple::new(module.py(), names)?)
}
