//! Putting and getting the long way: what the fast paths in `calls` leave to do.

use super::errors::denied;
use super::kind::{ItemOf, Kind};
use super::layout::RawQueue;
use super::object::Object;
use super::outside;
use crate::boundary::{TaskHandle, Timeout, block_on_waking, halts_at_exit, thread_owner};
use counterpoint_sync::queue::blocks::Blocks;
use counterpoint_sync::queue::{Caller, Denied, Ended, Get, GetMany, Got, Put};
use counterpoint_sync::wait::{Source, State, Wait};
use pyo3::prelude::*;

/// How an operation ended: with its outcome, or because the items live elsewhere.
pub enum Outcome<T> {
    /// Here.
    Done(T),
    /// To be made again by the Python implementation, with these objects that are still to be
    /// put.
    Elsewhere(Vec<Object>),
}

/// This thread, which waits unless the time is over at once.
pub fn caller(timeout: Timeout) -> Caller {
    Caller::new(thread_owner(), timeout != Timeout::Now).collecting()
}

/// Tries at once, then waits; `None`: the time was over.
pub fn run<O, K>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    wait: &mut Wait<O>,
    timeout: Timeout,
) -> PyResult<Option<O::Output>>
where
    K: Kind,
    O: Source<State = super::layout::StateOf<K>>,
    O::State: State<Notify = TaskHandle> + Send,
{
    match wait.try_now(&queue.state.held(py)) {
        Some(output) => Ok(Some(output)),
        None => {
            let owed = queue.state.with(py, |state| state.collect_owed());
            block_on_waking(py, &queue.state, wait, timeout.deadline(), owed)
        }
    }
}

/// The item for an object: with its key, if the queue computes keys.
pub fn item<K: Kind>(py: Python<'_>, queue: &RawQueue<K>, object: Object) -> PyResult<ItemOf<K>> {
    let key = match queue.extra(py, |extra| extra.key.as_ref()) {
        Some(function) => {
            halts_at_exit();
            Some(function.bind(py).call1((object.bind(py),))?.into())
        }
        None => None,
    };
    Ok(K::item(object, key))
}

/// Puts one object, waiting as `timeout` says.
pub fn put<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    object: Object,
    timeout: Timeout,
) -> PyResult<Outcome<()>> {
    let item = item(py, queue, object)?;
    if outside::is_within(py, queue) {
        return outside::put_within(py, queue, item, timeout).map(Outcome::Done);
    }
    let mut wait = Wait::new(Put::new(item, caller(timeout)));
    put_on(py, queue, &mut wait, timeout)
}

/// Puts several, in order. Those for which there was no time are not put.
pub fn put_many<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    objects: Vec<Object>,
    timeout: Timeout,
) -> PyResult<Outcome<()>> {
    let mut items = Blocks::default();
    for object in objects {
        items.push_back(item(py, queue, object)?);
    }
    if outside::is_within(py, queue) {
        while let Some(item) = items.pop_front() {
            outside::put_within(py, queue, item, timeout)?;
        }
        return Ok(Outcome::Done(()));
    }
    let mut wait = Wait::new(Put::many(items, caller(timeout)));
    put_on(py, queue, &mut wait, timeout)
}

fn put_on<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    wait: &mut Wait<Put<TaskHandle, K::Store>>,
    timeout: Timeout,
) -> PyResult<Outcome<()>> {
    loop {
        let ended = match run(py, queue, wait, timeout) {
            Ok(Some(ended)) => ended,
            Ok(None) => wait.source.end(Err(Denied::Full)),
            Err(error) => {
                give_up(py, queue, &mut wait.source);
                return Err(error);
            }
        };
        let Some(rest) = finish_put(py, queue, ended)? else { return Ok(Outcome::Done(())) };
        match rest {
            Rest::Elsewhere(objects) => return Ok(Outcome::Elsewhere(objects)),
            Rest::Items(items) => *wait = Wait::new(Put::many(items, caller(timeout))),
        }
    }
}

/// What is left to do after a put.
pub enum Rest<I> {
    /// To be put again, here.
    Items(Blocks<I>),
    /// To be put by the Python implementation.
    Elsewhere(Vec<Object>),
}

/// Ends a put: compares in Python if need be, and lets go of what was thrown away.
pub fn finish_put<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    ended: Ended<ItemOf<K>>,
) -> PyResult<Option<Rest<ItemOf<K>>>> {
    let Ended { verdict, item, mut items, mut dropped } = ended;
    let result = match verdict {
        Ok(()) => Ok(None),
        Err(Denied::Undecided) => outside::put(py, queue, item, &mut dropped)
            .map(|()| (!items.is_empty()).then_some(Rest::Items(items))),
        Err(Denied::Foreign) => {
            let rest = item.into_iter().chain(std::iter::from_fn(|| items.pop_front()));
            Ok(Some(Rest::Elsewhere(rest.map(K::object).collect())))
        }
        Err(why) => Err(denied(py, why)),
    };
    throw_away(py, queue, dropped);
    result
}

/// A put ends without its outcome: what it has thrown away by then is gone all the same.
pub fn give_up<K: Kind>(py: Python<'_>, queue: &RawQueue<K>, put: &mut Put<TaskHandle, K::Store>) {
    throw_away(py, queue, put.end(Err(Denied::Full)).dropped);
}

fn throw_away<K: Kind>(py: Python<'_>, queue: &RawQueue<K>, mut items: Blocks<ItemOf<K>>) {
    while let Some(item) = items.pop_front() {
        tell_dropped(py, queue, &K::object(item));
    }
}

/// Tells `on_drop` of an item; what that raises goes to `sys.unraisablehook`, because the put did
/// succeed.
pub fn tell_dropped<K: Kind>(py: Python<'_>, queue: &RawQueue<K>, object: &Object) {
    let Some(on_drop) = queue.extra(py, |extra| extra.on_drop.as_ref()) else { return };
    let on_drop = on_drop.bind(py);
    halts_at_exit();
    if let Err(error) = on_drop.call1((object.bind(py),)) {
        error.write_unraisable(py, Some(&on_drop));
    }
}

/// Gets one object, waiting as `timeout` says.
pub fn get<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    timeout: Timeout,
) -> PyResult<Outcome<Object>> {
    if outside::is_within(py, queue) {
        return outside::get_within(py, timeout).map(Outcome::Done);
    }
    let mut wait = Wait::new(Get::new(caller(timeout)));
    let output = run(py, queue, &mut wait, timeout)?.unwrap_or(Err(Denied::Empty));
    finish_get(py, queue, output)
}

/// Ends a get: compares in Python if need be.
pub fn finish_get<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    output: Result<ItemOf<K>, Denied>,
) -> PyResult<Outcome<Object>> {
    match output {
        Ok(item) => Ok(Outcome::Done(K::object(item))),
        Err(Denied::Undecided) => match outside::get(py, queue)? {
            Some(item) => Ok(Outcome::Done(K::object(item))),
            None => Err(denied(py, Denied::Empty)),
        },
        Err(Denied::Foreign) => Ok(Outcome::Elsewhere(Vec::new())),
        Err(why) => Err(denied(py, why)),
    }
}

/// Gets at least one object and at most `most`.
pub fn get_many<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    most: usize,
    timeout: Timeout,
) -> PyResult<Outcome<Vec<Object>>> {
    if outside::is_within(py, queue) {
        return outside::get_within(py, timeout).map(|object| Outcome::Done(vec![object]));
    }
    let mut wait = Wait::new(GetMany::new(most, caller(timeout)));
    let output = run(py, queue, &mut wait, timeout)?.unwrap_or(Err(Denied::Empty));
    finish_get_many(py, queue, output)
}

/// Ends a get of several: goes on comparing in Python if need be.
pub fn finish_get_many<K: Kind>(
    py: Python<'_>,
    queue: &RawQueue<K>,
    output: Result<Got<ItemOf<K>>, Denied>,
) -> PyResult<Outcome<Vec<Object>>> {
    match output {
        Ok(Got { mut items, wanted }) => {
            if wanted > 0 {
                outside::get_many(py, queue, &mut items, wanted)?;
            }
            Ok(Outcome::Done(items.into_iter().map(K::object).collect()))
        }
        Err(Denied::Foreign) => Ok(Outcome::Elsewhere(Vec::new())),
        Err(why) => Err(denied(py, why)),
    }
}
