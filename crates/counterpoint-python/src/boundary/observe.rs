//! The observer of new objects, and [`Meter`]: what was measured of an object, outliving it.

use super::{Buckets, Waits, buckets, halts_at_exit, seconds};
use counterpoint_reactor::clock;
use counterpoint_trace::{Durations, Line, Stall, Stalls};
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The switch that constructors read; the observer itself is behind a lock.
static OBSERVED: AtomicBool = AtomicBool::new(false);
static OBSERVER: Mutex<Option<Py<PyAny>>> = Mutex::new(None);

/// Whether an observer is set.
#[inline(always)]
pub fn is_observed() -> bool {
    OBSERVED.load(Ordering::Relaxed)
}

/// Shows a new object to the observer, if there is one. With no core lock held.
#[inline]
pub fn observe<T>(object: &Bound<'_, T>) -> PyResult<()> {
    if !is_observed() {
        return Ok(());
    }
    let py = object.py();
    halts_at_exit();
    let observer = {
        let guard = OBSERVER.lock().unwrap_or_else(PoisonError::into_inner);
        guard.as_ref().map(|observer| observer.clone_ref(py))
    };
    observer.map_or(Ok(()), |observer| observer.call1(py, (object.as_any(),)).map(drop))
}

/// Sets who is shown each new object of ours, or nobody.
#[pyfunction]
#[pyo3(signature = (observer, /))]
fn set_observer(observer: Option<Py<PyAny>>) {
    let set = observer.is_some();
    let old = {
        let mut guard = OBSERVER.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *guard, observer)
    };
    OBSERVED.store(set, Ordering::Relaxed);
    // Its destructor may run code: outside the lock.
    drop(old);
}

/// Numbers by name, shared by an object and its meter; the object writes them, at the latest
/// when it dies.
#[derive(Default)]
pub struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl Counts {
    /// Sets some of them.
    pub fn set<const N: usize>(&self, values: [(&'static str, u64); N]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(values);
    }

    fn get(&self) -> BTreeMap<&'static str, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What was measured of one object, or of several together.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Meter {
    /// The object's name.
    #[pyo3(get)]
    name: Option<String>,
    counts: Arc<Counts>,
    waits: Vec<(&'static str, Durations)>,
    /// Of event loops.
    stalls: Arc<Stalls>,
}

/// Callback, when it was first seen, seconds since then, whether it has ended, after how many seconds
/// its stack was recorded, and the stack.
type Stalled = (String, f64, f64, bool, Option<f64>, Vec<Line>);

fn stalled(stall: &Stall) -> Stalled {
    let lasted = stall.length();
    let seconds = lasted.unwrap_or_else(|| clock::now().saturating_sub(stall.began));
    let [began, seconds] = [stall.began, seconds].map(|ns| ns as f64 / 1e9);
    let sampled = stall.sampled.map(|ns| ns as f64 / 1e9);
    (stall.callback.clone(), began, seconds, lasted.is_some(), sampled, stall.stack.clone())
}

impl Meter {
    /// Of an object with these counts and recorders (shared ones).
    pub fn new(
        name: Option<String>,
        counts: Arc<Counts>,
        waits: Vec<(&'static str, Durations)>,
    ) -> Self {
        Self { name, counts, waits, stalls: Arc::default() }
    }

    /// The same with an event loop's stalls.
    pub fn with_stalls(self, stalls: Arc<Stalls>) -> Self {
        Self { stalls, ..self }
    }

    /// Of a lock, which has waits and no counts.
    pub fn of_lock(waits: Durations) -> Self {
        Self::new(None, Arc::default(), vec![("waits", waits)])
    }

    fn durations(&self, which: &str) -> PyResult<&Durations> {
        let found = self.waits.iter().find(|(name, _)| *name == which);
        let found = found.map(|(_, durations)| durations);
        found.ok_or_else(|| PyKeyError::new_err(which.to_owned()))
    }
}

#[pymethods]
impl Meter {
    /// The counts so far, by name.
    fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.get()
    }

    /// How many stalls there were, and the last ones.
    fn _stalls(&self) -> (u64, Vec<Stalled>) {
        let recent = self.stalls.list();
        (self.stalls.count(), recent.iter().map(|stall| stalled(stall)).collect())
    }

    /// The histogram of that name: (count, total, p50, p99, max), in seconds.
    fn _waits(&self, which: &str) -> PyResult<Waits> {
        Ok(seconds(self.durations(which)?.summary()))
    }

    /// The same in full: bounds in seconds, and how many were at most that long.
    fn _histogram(&self, which: &str) -> PyResult<Buckets> {
        Ok(buckets(self.durations(which)?))
    }

    /// The same as a `WaitStatistics`.
    fn waits<'py>(&self, py: Python<'py>, which: &str) -> PyResult<Bound<'py, PyAny>> {
        let record = py.import("counterpoint._statistics")?.getattr("WaitStatistics")?;
        record.call1(self._waits(which)?)
    }
}

/// A new meter with the sums of all; of a count named `max…` the largest.
#[pyfunction]
fn merge_meters(meters: Vec<PyRef<'_, Meter>>) -> Meter {
    let name = meters.first().and_then(|meter| meter.name.clone());
    let mut counts: BTreeMap<&'static str, u64> = BTreeMap::new();
    let mut waits: BTreeMap<&'static str, Durations> = BTreeMap::new();
    let stalls = Arc::<Stalls>::default();
    for meter in &meters {
        stalls.merge(&meter.stalls);
        for (name, value) in meter.counts.get() {
            let sum = counts.entry(name).or_default();
            *sum = if name.starts_with("max") { value.max(*sum) } else { *sum + value };
        }
        for (name, durations) in &meter.waits {
            waits.entry(name).or_default().merge(durations);
        }
    }
    let shared = Counts(Mutex::new(counts));
    Meter::new(name, Arc::new(shared), waits.into_iter().collect()).with_stalls(stalls)
}

/// Adds the observer's functions and `Meter`.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Meter>()?;
    module.add_function(wrap_pyfunction!(set_observer, module)?)?;
    module.add_function(wrap_pyfunction!(merge_meters, module)?)
}
