//! The event loop as a Python class. No algorithm here: those are in `counterpoint_reactor`.
//!
//! `LoopBase` is derived from `asyncio.SelectorEventLoop`: what is done once per connection,
//! subprocess or signal is asyncio's own code, on top of what is done per callback and packet,
//! which is ours: scheduling, timers, the poll, and reading and writing on sockets.

mod ahead;
mod arguments;
mod attributes;
mod bare;
mod base;
mod context;
mod datagram;
mod descriptor;
mod fields;
mod handle;
mod kept;
mod measure;
mod native;
mod operation;
mod pipe;
mod queue;
mod recycled;
mod registry;
mod schedule;
mod stall;
mod stream;
mod system;
mod tasks;
mod tls;
mod turn;
mod watchdog;
mod watching;

use pyo3::prelude::*;
use recycled::Recycled;

/// Where the memory of what callbacks need is kept.
static MEMORIES: [&Recycled; 2] = [&handle::RECYCLED, &operation::RECYCLED];

/// Adds the types to `counterpoint._core`; not before somebody asks for them, since they need
/// asyncio.
#[pyfunction]
fn _event_loop<'py>(py: Python<'py>) -> PyResult<Bound<'py, PyModule>> {
    static MODULE: pyo3::sync::PyOnceLock<Py<PyModule>> = pyo3::sync::PyOnceLock::new();
    let module = MODULE.get_or_try_init(py, || make(py))?;
    Ok(module.bind(py).clone())
}

fn make(py: Python<'_>) -> PyResult<Py<PyModule>> {
    let module = PyModule::new(py, "counterpoint._core.event_loop")?;
    handle::register(&module)?;
    operation::register(&module)?;
    module.add_class::<native::Loop>()?;
    module.add_class::<stream::Connection>()?;
    module.add_class::<datagram::Datagram>()?;
    module.add_function(wrap_pyfunction!(watchdog::end_watchdog, &module)?)?;
    module.add("LoopBase", base::make(py)?)?;
    module.add("TransportBase", stream::make(py)?)?;
    module.add("DatagramBase", datagram::make(py)?)?;
    module.add_class::<pipe::Pipe>()?;
    let [reader, writer] = pipe::make(py)?;
    module.add("ReadPipeBase", reader)?;
    module.add("WritePipeBase", writer)?;
    tls::register(&module)?;
    Ok(module.unbind())
}

/// Adds the way to the types to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(_event_loop, module)?)
}
