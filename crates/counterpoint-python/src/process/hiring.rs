//! How a pool gets its workers: each is asked for, and has begun some time later.
//!
//! Whoever submits to a pool in which nobody works waits until the first worker has begun, so that an
//! error is raised there. For the others the courier waits.

use super::pool::{ARENA, Core, no_memory};
use crate::boundary::TaskHandle;
use counterpoint_pool::{Link, News, Station};
use counterpoint_shm::arena::{self, Arena};
use pyo3::call::PyCallArgs;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use std::collections::VecDeque;
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
    /// Launches one worker, which was counted already. Where others are at work nobody waits until
    /// it has begun: then that is left to the courier.
    pub fn launch_soon(&self, py: Python<'_>) -> PyResult<()> {
        let alone = self.shared.with(|pool| pool.launches_first());
        if alone || self.coming().len() >= MOST_COMING {
            return self.launch(py);
        }
        let coming = self.counted(self.ask(py))?;
        self.coming().push_back(coming);
        self.shared.mailbox.send(News::Wanted);
        Ok(())
    }

    /// Launches one worker, which was counted already, or sees that one has begun which was asked for.
    pub fn launch(&self, py: Python<'_>) -> PyResult<()> {
        let asked = self.coming().pop_front();
        let coming = asked.map_or_else(|| self.ask(py), Ok);
        self.counted(coming.and_then(|coming| self.engage(py, coming)))
    }

    /// Wants one worker less of those that were counted.
    pub fn dismiss_one(&self, py: Python<'_>) -> PyResult<()> {
        let asked = self.coming().pop_front();
        self.shared.with(|pool| pool.not_launched());
        match asked {
            Some(Coming { id, .. }) => self.hook(py, intern!(py, "withdraw"), (id,)).map(drop),
            None => Ok(()),
        }
    }

    fn coming(&self) -> MutexGuard<'_, VecDeque<Coming>> {
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

    fn ask(&self, py: Python<'_>) -> PyResult<Coming> {
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
        self.hook(py, intern!(py, "request"), (id, fds))?;
        Ok(Coming { id, station, _reader: reader })
    }

    fn engage(&self, py: Python<'_>, coming: Coming) -> PyResult<()> {
        let Coming { id, station, _reader } = coming;
        let launched = self.hook(py, intern!(py, "launched"), (id,))?;
        let added = self.admit(&launched, station);
        if added.is_err() {
            self.hook(py, intern!(py, "abandon"), (id,))?;
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
