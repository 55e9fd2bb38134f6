//! `counterpoint._core.Barrier`: parties that wait for each other.

use crate::boundary::{
    Meter, Pending, Place, Protected, TaskHandle, Ticket, Timeout, Waits, block_on, halts_at_exit,
    observe, optional_timeout, seconds, traverse_waiters, wake,
};
use counterpoint_sync::clock;
use counterpoint_sync::lock::barrier::{BarrierState, Broken, Pass, Passage};
use counterpoint_sync::wait::{Shared, Wait};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// A cyclic barrier. A passage is told to Python as the index, after the action, which is the
/// attribute `_action`; a broken barrier as None; a timeout as None or PENDING.
#[pyclass(frozen, subclass, module = "counterpoint._core")]
pub struct Barrier {
    state: Protected<BarrierState<TaskHandle>>,
}

/// The index to return. Where the action is to be run that happens here, without a point between
/// the passage and its end at which a signal handler could raise: the others wait for that end.
fn pass(
    py: Python<'_>,
    barrier: &Py<Barrier>,
    passage: Result<Passage, Broken>,
) -> PyResult<Option<usize>> {
    match passage {
        Ok(Passage::Go(index)) => Ok(Some(index)),
        Ok(Passage::Act(index)) => {
            let acted = act(barrier.bind(py));
            let state = &barrier.get().state;
            let whole = wake(py, state, |state, wakes| state.finish(acted.is_ok(), wakes));
            acted.map(|()| whole.is_ok().then_some(index))
        }
        Err(Broken) => Ok(None),
    }
}

fn act(barrier: &Bound<'_, Barrier>) -> PyResult<()> {
    let action = barrier.getattr(intern!(barrier.py(), "_action"))?;
    if !action.is_none() {
        halts_at_exit();
        action.call0()?;
    }
    Ok(())
}

#[pymethods]
impl Barrier {
    #[new]
    #[pyo3(signature = (*_args, **_kwargs))]
    fn new(_args: &Bound<'_, PyTuple>, _kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        Self { state: Protected::new(BarrierState::new(1, false)) }
    }

    fn _set(slf: &Bound<'_, Self>, parties: usize, acts: bool) -> PyResult<()> {
        let new = BarrierState::new(parties, acts);
        drop(slf.get().state.with(slf.py(), |state| std::mem::replace(state, new)));
        observe(slf)
    }

    /// Arrives and waits; None if the barrier is or becomes broken, also by this timeout.
    fn _pass(slf: &Bound<'_, Self>, timeout: Option<f64>) -> PyResult<Option<usize>> {
        let timeout = optional_timeout(timeout)?;
        let mut wait = Wait::new(Pass::default());
        // The stdlib waits with a deadline that has passed already where the timeout is zero.
        let deadline =
            if timeout == Timeout::Now { Some(clock::now()) } else { timeout.deadline() };
        let passage = block_on(slf.py(), &slf.get().state, &mut wait, deadline)?;
        passage.map_or(Ok(None), |passage| pass(slf.py(), slf.as_unbound(), passage))
    }

    /// Breaks the barrier: everyone who waits, or comes, gets BrokenBarrierError.
    fn abort(&self, py: Python<'_>) {
        wake(py, &self.state, BarrierState::abort);
    }

    /// Sends away those who wait, with BrokenBarrierError, and makes the barrier whole.
    fn reset(&self, py: Python<'_>) {
        wake(py, &self.state, BarrierState::reset);
    }

    /// How many have to arrive.
    #[getter]
    fn parties(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.parties())
    }

    /// How many have arrived.
    #[getter]
    fn n_waiting(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.waiting())
    }

    /// Whether the barrier is broken.
    #[getter]
    fn broken(&self, py: Python<'_>) -> bool {
        self.state.with(py, |state| state.is_broken())
    }

    /// None: a barrier belongs to nobody.
    #[getter]
    fn owner(&self) -> Option<usize> {
        None
    }

    /// How many threads and tasks wait.
    #[getter]
    fn waiters(&self, py: Python<'_>) -> usize {
        self.state.with(py, |state| state.lists().into_iter().map(|list| list.len()).sum())
    }

    #[getter]
    fn _meter(&self, py: Python<'_>) -> Meter {
        Meter::of_lock(self.state.with(py, |state| state.waits.share()))
    }

    fn _waits(&self, py: Python<'_>) -> Waits {
        seconds(self.state.with(py, |state| state.waits.summary()))
    }

    fn _ticket(slf: &Bound<'_, Self>) -> Ticket {
        Ticket::new(Pending {
            place: BarrierPlace(slf.clone().unbind()),
            wait: Wait::new(Pass::default()),
            finish: |py, BarrierPlace(barrier), passage| {
                Ok(pass(py, barrier, passage)?.into_pyobject(py)?.into_any().unbind())
            },
        })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: called by the collector.
        let lists = unsafe { self.state.peek() }.lists();
        lists.into_iter().try_for_each(|list| traverse_waiters(list, &visit))
    }

    fn __clear__(&self) {
        // SAFETY: the collector calls this attached.
        let py = unsafe { Python::assume_attached() };
        drop(self.state.with(py, BarrierState::forget));
    }
}

struct BarrierPlace(Py<Barrier>);

impl Place for BarrierPlace {
    type State = BarrierState<TaskHandle>;

    fn shared<'a>(&'a self, py: Python<'a>) -> impl Shared<State = Self::State> + 'a {
        self.0.get().state.held(py)
    }

    fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}
