//! [`System`]: what a loop has of the kernel.

use counterpoint_reactor::alarm::Alarm;
use counterpoint_reactor::poller::{Poller, READ};
use counterpoint_sync::waiter::fork;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;

/// A loop's descriptors. They are rung and changed under the state's lock, where they are taken away
/// when the loop is closed: so nobody uses a number that is another file's by then.
///
/// A fork shares them with its parent, whose events it would take, and whose watching it would
/// change. So a child makes its own before it touches them.
pub struct System {
    pub poller: Poller,
    pub alarm: Alarm,
    /// Of which process they are.
    generation: u32,
}

impl System {
    pub fn new() -> io::Result<Arc<Self>> {
        let (poller, alarm) = (Poller::new()?, Alarm::new()?);
        poller.watch(alarm.as_fd().as_raw_fd(), 0, READ)?;
        Ok(Arc::new(Self { poller, alarm, generation: fork::generation() }))
    }

    /// Whether they are another process's, from which this one was forked.
    #[inline(always)]
    pub fn is_parents(&self) -> bool {
        self.generation != fork::generation()
    }
}
