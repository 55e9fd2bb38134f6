//! [`Measured`]: what an observer sees of a pool, after its executor's death too.

use super::pool::Inner;
use crate::boundary::{Counts, Meter};
use counterpoint_shm::clock;
use pyo3::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// The age of a pool, and its meter once somebody has asked for it.
pub struct Measured {
    born: u64,
    /// When everything was over; 0 before.
    ended: AtomicU64,
    meter: OnceLock<(Py<Meter>, Arc<Counts>)>,
}

impl Default for Measured {
    fn default() -> Self {
        Self { born: clock::now(), ended: AtomicU64::new(0), meter: OnceLock::new() }
    }
}

impl Measured {
    /// Everything is over: the pool grows no older, and these were its last numbers.
    pub fn end(&self, pool: &Inner) {
        self.ended.store(clock::now(), Ordering::Relaxed);
        self.update(pool);
    }

    /// The meter, brought up to date; the same object each time.
    pub fn meter(&self, py: Python<'_>, pool: &Inner) -> PyResult<Py<Meter>> {
        let (delay, run) = pool.with(|pool| (pool.queue_delay.share(), pool.run_time.share()));
        let counts = Arc::<Counts>::default();
        let waits = vec![("queue_delay", delay), ("run_time", run)];
        let made = (Py::new(py, Meter::new(None, counts.clone(), waits))?, counts);
        let (meter, _) = self.meter.get_or_init(|| made);
        self.update(pool);
        Ok(meter.clone_ref(py))
    }

    fn update(&self, pool: &Inner) {
        let Some((_, counts)) = self.meter.get() else { return };
        let (tasks, workers) = pool.with(|pool| (pool.counts, pool.max_workers() as u64));
        counts.set([
            ("done", tasks.done),
            ("failed", tasks.failed),
            ("cancelled", tasks.cancelled),
            ("crashes", tasks.crashes),
            ("restarts", tasks.restarts),
            ("max_workers", workers),
            ("busy_ns", tasks.busy),
            ("capacity_ns", self.age().saturating_mul(workers)),
        ]);
    }

    fn age(&self) -> u64 {
        let ended = self.ended.load(Ordering::Relaxed);
        let until = if ended == 0 { clock::now() } else { ended };
        until.saturating_sub(self.born)
    }
}
