//! The locks as Python types, one a file. No algorithm here: those are in `counterpoint-sync`.

mod barrier;
mod condition;
mod event;
mod limiter;
mod lock;
mod raw_lock;
mod rlock;
mod rwlock;
mod semaphore;
mod yielding;

pub use condition::Condition;
pub use lock::LockObject;
pub use rlock::RLockObject;
pub use yielding::yields;

use pyo3::prelude::*;

/// Adds the types to `counterpoint._core`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    lock::register(module)?;
    rlock::register(module)?;
    module.add_class::<semaphore::Semaphore>()?;
    module.add_class::<event::Event>()?;
    module.add_class::<Condition>()?;
    module.add_class::<barrier::Barrier>()?;
    module.add_class::<rwlock::RWLock>()?;
    module.add_class::<limiter::CapacityLimiter>()?;
    module.add_function(wrap_pyfunction!(yielding::let_yield, module)?)?;
    for class in ["RLock", "Semaphore", "Event", "Barrier"] {
        yields(module, class, &["owner", "waiters", "_meter"])?;
    }
    // Its `owner` is the lock's, which Python asks.
    yields(module, "Condition", &["waiters", "_meter"])
}
