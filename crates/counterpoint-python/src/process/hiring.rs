//! How a pool gets its workers: each is asked for, and has begun some time later.
//!
//! Whoever submits to a pool in which nobody works waits until the first worker has begun, so that an
//! error is raised there; as does a callback that submits, which holds up the courier. For the others nobody waits: the dispatcher sees that they have begun, and
//! the courier engages them.

use super::pool::{ARENA, Core, no_memory};
use crate::boundary::TaskHandle;
use counterpoint_pool::{Link, News, Station};
use counterpoint_shm::arena::{self, Arena};
use pyo3::call::PyCallArgs;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};

/// The most workers that are asked for and not waited for: their descriptors are under way, and the
/// kernel has a limit for that.
const MOST_COMING: usize = 4;

/// A worker that was asked for and may not have begun.
pub struct Coming {
    id: u32,
    station: Station<TaskHandle, Py<PyAny>>,
    /// It may have to be asked for again.
    _reader: OwnedFd,
}

impl Core {
    /// Launches one worker, which was counted already, and waits until it has begun.
    pub fn launch(&self, py: Python<'_>) -> PyResult<()> {
        let launched = self.ask(py).and_then(|(coming, _)| self.engage(py, coming));
        self.counted(launched)
    }

    /// Launches one worker, which was counted already. Nobody waits until it has begun: the courier
    /// hears of that, unless a callback in it is what submits.
    pub fn launch_soon(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_courier() || self.coming().len() >= MOST_COMING {
            return self.launch(py);
        }
        let (coming, ready) = self.counted(self.ask(py))?;
        let id = coming.id;
        // Held, so that nobody engages or withdraws it meanwhile.
        let mut all = self.coming();
        all.push(coming);
        // SAFETY: the hook keeps it open until it is told to engage the worker or to abandon it.
        let ready = (ready >= 0).then(|| unsafe { BorrowedFd::borrow_raw(ready) });
        let heard_of = ready.is_some_and(|ready| self.shared.expect(id, ready));
        drop(all);
        if !heard_of {
            self.shared.mailbox.send(News::Begun(id));
        }
        Ok(())
    }

    /// Engages a worker that was asked for, if the pool still wants it: it has begun, or should have.
    pub fn begun(&self, py: Python<'_>, id: u32) -> PyResult<()> {
        let found = {
            let mut coming = self.coming();
            let at = coming.iter().position(|coming| coming.id == id);
            at.map(|at| coming.swap_remove(at))
        };
        let Some(coming) = found else { return Ok(()) };
        if !self.shared.with(|pool| pool.wants_nobody()) {
            return self.counted(self.engage(py, coming));
        }
        let abandoned = self.abandon(py, id);
        self.shared.with(|pool| pool.not_launched());
        // It may have been the last that the pool's end waited for.
        self.shared.poke();
        abandoned
    }

    /// Wants none of those that were asked for and have not begun.
    pub fn withdraw_all(&self, py: Python<'_>) -> PyResult<()> {
        let ids: Vec<_> = self.coming().iter().map(|coming| coming.id).collect();
        let mut outcome = Ok(());
        for id in ids {
            outcome = outcome.and(self.begun(py, id));
        }
        outcome
    }

    fn abandon(&self, py: Python<'_>, id: u32) -> PyResult<()> {
        self.hook(py, intern!(py, "abandon"), (id,)).map(drop)
    }

    fn coming(&self) -> MutexGuard<'_, Vec<Coming>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counted<T>(&self, result: PyResult<T>) -> PyResult<T> {
        result.inspect_err(|_| self.shared.with(|pool| pool.not_launched()))
    }

    fn hook<'py, A: PyCallArgs<'py>>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
        arguments: A,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.hooks.bind(py).call_method1(name, arguments)
    }

    /// Asks for a worker. Also a descriptor, which is readable once it has begun; -1: it has.
    fn ask(&self, py: Python<'_>) -> PyResult<(Coming, i32)> {
        let id = self.stations.fetch_add(1, Ordering::Relaxed);
        let results = Arena::lay_out(c"counterpoint-results", ARENA).map_err(no_memory)?;
        let len = arena::sealed_len(results.as_fd()).map_err(no_memory)?;
        let link = Link::new(
            results,
            len,
            self.shared.doorbell().ok_or_else(|| no_memory(io::ErrorKind::NotFound.into()))?,
        );
        let station = Station::create(id, link, self.capture).map_err(no_memory)?;
        let arguments = self.arena()?;
        let reader = {
            let arena = arguments.lock().unwrap_or_else(PoisonError::into_inner);
            arena.reader().try_clone_to_owned().map_err(no_memory)?
        };
        let mut fds: Vec<i32> = station.descriptors().iter().map(AsRawFd::as_raw_fd).collect();
        fds.insert(2, reader.as_raw_fd());
        let fds = PyTuple::new(py, fds)?;
        match self.hook(py, intern!(py, "request"), (id, fds)).and_then(|ready| ready.extract()) {
            Ok(ready) => Ok((Coming { id, station, _reader: reader }, ready)),
            Err(error) => {
                // An interrupt may have come when it was asked for already.
                self.abandon(py, id)?;
                Err(error)
            }
        }
    }

    fn engage(&self, py: Python<'_>, coming: Coming) -> PyResult<()> {
        let Coming { id, station, _reader } = coming;
        let launched = self.hook(py, intern!(py, "launched"), (id,));
        let added = launched.and_then(|launched| self.admit(&launched, station));
        if added.is_err() {
            self.abandon(py, id)?;
        }
        added
    }

    fn admit(
        &self,
        launched: &Bound<'_, PyAny>,
        mut station: Station<TaskHandle, Py<PyAny>>,
    ) -> PyResult<()> {
        let (pid, pidfd, restarted): (i32, i32, bool) = launched.extract()?;
        // SAFETY: the hook says that it is open, and keeps it so during this call.
        let pidfd: OwnedFd =
            unsafe { BorrowedFd::borrow_raw(pidfd) }.try_clone_to_owned().map_err(no_memory)?;
        station.launched(pidfd, pid);
        self.shared.add_station(station).map_err(no_memory)?;
        self.shared.with(|pool| pool.counts.restarts += u64::from(restarted));
        Ok(())
    }
}
