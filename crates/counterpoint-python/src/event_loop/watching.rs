//! Who is told of a descriptor: a loop's registry with its poller.

use super::native::{Loop, State};
use super::queue::Due;
use super::registry::Watcher;
use crate::boundary::os_error;
use crate::executor::reference::Ref;
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi::PyObject;
use pyo3::prelude::*;
use std::io;
use std::os::fd::RawFd;

impl Loop {
    /// Has `watcher` told when `fd` is readable or writable; who was told before.
    pub fn watch(
        &self,
        py: Python<'_>,
        fd: RawFd,
        what: u32,
        watcher: Watcher,
    ) -> PyResult<Option<Watcher>> {
        let before = self.state.with(py, |state| {
            state.renew()?;
            let State { registry, system, .. } = state;
            system
                .as_ref()
                .map(|system| registry.set(&system.poller, fd, what, watcher))
                .transpose()
        });
        let before = before.map_err(|error: io::Error| os_error(&error))?;
        before.ok_or_else(|| PyRuntimeError::new_err("Event loop is closed"))
    }

    /// Takes who is told away.
    pub fn unwatch(&self, py: Python<'_>, fd: RawFd, what: u32) -> Option<Watcher> {
        self.state.with(py, |state| {
            let renewed = state.renew();
            let State { registry, system, .. } = state;
            // A child without descriptors of its own leaves its parent's alone.
            let system = renewed.is_ok().then_some(system.as_ref()).flatten();
            registry.remove(system.map(|system| &system.poller), fd, what)
        })
    }

    /// Takes that object away, if it is still the one that is told.
    pub fn forget(&self, py: Python<'_>, fd: RawFd, what: u32, object: *mut PyObject) {
        if self.state.with(py, |state| state.registry.is_told(fd, what, object)) {
            drop(self.unwatch(py, fd, what));
        }
    }

    /// The transport that was told has left something to be read: it is told again, each time.
    #[cold]
    pub fn tell_again(&self, py: Python<'_>, fd: RawFd) {
        self.state.with(py, |state| {
            if state.renew().is_err() {
                return;
            }
            let State { registry, system, .. } = state;
            if let Some(system) = system {
                registry.tell_again(&system.poller, fd);
            }
        });
    }

    /// The transport that was told has left something to be read, this time: it reads in the next turn.
    #[cold]
    pub fn read_again(&self, py: Python<'_>, fd: RawFd, transport: *mut PyObject) {
        let of_news = self.state.with(py, |state| state.registry.tells_of_news(fd));
        if of_news {
            // SAFETY: alive: whoever reads holds it.
            self.push(py, Due::Read(unsafe { Ref::new(transport) }));
        }
    }

    /// Watches again for an operation that was told.
    pub fn watch_on(&self, py: Python<'_>, fd: RawFd) -> PyResult<()> {
        let done = self.state.with(py, |state| {
            state.renew()?;
            let State { registry, system, .. } = state;
            system.as_ref().map_or(Ok(()), |system| registry.watch_on(&system.poller, fd))
        });
        done.map_err(|error| os_error(&error))
    }
}
