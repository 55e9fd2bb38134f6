//! `maxsize`: any number, as in the stdlib, where a queue is full when `0 < maxsize <= qsize()`.

use super::kind::{Full, Kind, More};
use super::layout::RawQueue;
use super::object::Object;
use crate::boundary::{number, wake};
use pyo3::exceptions::PyAttributeError;
use pyo3::prelude::*;
use pyo3::types::PyInt;
use std::sync::atomic::Ordering;

/// In the place of the number: the object that was given is among the rare things.
const ELSEWHERE: isize = isize::MIN;

/// A bound that was asked for.
#[derive(Default)]
pub struct Asked {
    /// The most items; zero or less: any number.
    most: isize,
    /// What was given, where that is no int of a word's size.
    given: Option<Object>,
}

impl Asked {
    /// What an argument or a value asks for: an int, infinity, any real number.
    pub fn read(value: &Bound<'_, PyAny>) -> PyResult<Self> {
        match value.extract() {
            Ok(most) if most != ELSEWHERE => return Ok(Self { most, given: None }),
            _ => {}
        }
        let size = match value.cast::<PyInt>() {
            Ok(huge) if huge.gt(0)? => f64::INFINITY,
            Ok(_) => -1.0,
            Err(_) => number(value)?,
        };
        // Half an item more than two makes three; not a number is no bound.
        let most = if size < isize::MAX as f64 { size.ceil() as isize } else { 0 };
        Ok(Self { most, given: Some(value.clone().into()) })
    }

    fn is_default(&self) -> bool {
        self.most == 0 && self.given.is_none()
    }
}

fn full_part<K: Kind>(queue: &RawQueue<K>) -> PyResult<&Full> {
    queue.more.full().ok_or_else(|| PyAttributeError::new_err("a SimpleQueue has no bound"))
}

/// Sets the bound; zero or less is none.
pub fn resize<K: Kind>(py: Python<'_>, queue: &RawQueue<K>, asked: Asked) -> PyResult<()> {
    let full = full_part(queue)?;
    let Asked { most, given } = asked;
    let shown = if given.is_some() { ELSEWHERE } else { most };
    if given.is_some() || full.maxsize.load(Ordering::Relaxed) == ELSEWHERE {
        drop(queue.change_extra(py, |extra| std::mem::replace(&mut extra.maxsize, given)));
    }
    full.maxsize.store(shown, Ordering::Relaxed);
    let limit = usize::try_from(most).ok().filter(|limit| *limit > 0);
    wake(py, &queue.state, |state, wakes| state.set_limit(limit, wakes));
    Ok(())
}

/// The constructor's part: a queue without a bound has nothing to set, unless it had one before.
pub fn construct<K: Kind>(py: Python<'_>, queue: &RawQueue<K>, asked: Asked) -> PyResult<()> {
    let had = queue.more.full().is_some_and(|full| full.maxsize.load(Ordering::Relaxed) != 0);
    if had || !asked.is_default() { resize(py, queue, asked) } else { Ok(()) }
}

/// What `maxsize` shows.
pub fn shown<'py, K: Kind>(py: Python<'py>, queue: &RawQueue<K>) -> PyResult<Bound<'py, PyAny>> {
    let most = full_part(queue)?.maxsize.load(Ordering::Relaxed);
    if most == ELSEWHERE
        && let Some(given) = queue.extra(py, |extra| extra.maxsize.as_ref())
    {
        return Ok(given.into_bound(py));
    }
    Ok(most.into_pyobject(py)?.into_any())
}
