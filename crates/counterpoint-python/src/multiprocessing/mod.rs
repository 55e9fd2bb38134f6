//! What processes share: locks and queues in memory of their own, for `counterpoint.multiprocessing`.
//!
//! The names and the arguments of `multiprocessing.synchronize` and `multiprocessing.queues` are
//! made of these by the Python half, which also hands them to other processes: a memory's
//! descriptor is all that there is to hand over.

mod event;
mod lock;
mod parcel;
mod place;
mod queue;
mod rlock;
mod semaphore;
mod waiters;

use pyo3::prelude::*;

/// Adds the types to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("_SEM_VALUE_MAX", counterpoint_shm::sync::MOST)?;
    module.add_class::<event::ProcessEvent>()?;
    module.add_class::<lock::ProcessLock>()?;
    module.add_class::<queue::ProcessQueue>()?;
    module.add_class::<rlock::ProcessRLock>()?;
    module.add_class::<semaphore::ProcessSemaphore>()?;
    module.add_class::<waiters::ProcessWaiters>()
}
