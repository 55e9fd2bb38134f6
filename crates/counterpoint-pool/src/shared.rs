//! [`Shared`]: a pool's state, its lock, and what its threads wait on.

use crate::mailbox::Mailbox;
use crate::state::PoolState;
use crate::station::Station;
use crate::system::{Doorbell, Poller};
use counterpoint_sync::waiter::{Notify, Wakes, fork};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens of the poller beyond those of stations.
pub(crate) const POKE: u64 = u64::MAX;
/// Marks a token as a station's end.
pub(crate) const DEATH: u64 = 1 << 32;
/// Marks a token as an inlet's.
pub(crate) const INLET: u64 = 1 << 33;

/// What submitters, the dispatcher and the courier of one pool share.
pub struct Shared<N, K> {
    state: Mutex<PoolState<N, K>>,
    /// What the courier reads.
    pub mailbox: Mailbox<N, K>,
    pub(crate) poller: Poller,
    bell: Arc<Doorbell>,
    generation: u32,
}

impl<N: Notify, K> Shared<N, K> {
    /// A pool that nobody serves yet.
    pub fn new(state: PoolState<N, K>) -> io::Result<Self> {
        let (poller, bell) = (Poller::new()?, Arc::new(Doorbell::new()?));
        poller.add(bell.fd(), POKE, false)?;
        let (state, mailbox) = (Mutex::new(state), Mailbox::default());
        Ok(Self { state, mailbox, poller, bell, generation: fork::generation() })
    }

    /// The state, locked. For moments; nothing is woken or dropped meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, PoolState<N, K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `f` on the state; then wakes whom it claimed and drops what it ended.
    pub fn with<R>(&self, f: impl FnOnce(&mut PoolState<N, K>) -> R) -> R {
        let mut state = self.lock();
        let result = f(&mut state);
        if state.wakes.is_empty() && state.done.is_empty() && state.news.is_empty() {
            return result;
        }
        let wakes = std::mem::take(&mut state.wakes);
        let done = std::mem::take(&mut state.done);
        let news = std::mem::take(&mut state.news);
        drop(state);
        self.deliver(wakes);
        self.mailbox.post(news);
        drop(done);
        result
    }

    fn deliver(&self, mut wakes: Wakes<N>) {
        for thread in wakes.take_threads() {
            let _ = thread.wake();
        }
        if !wakes.is_empty() {
            // To tell a task takes an interpreter.
            self.mailbox.post([crate::News::Wakes(wakes)]);
        }
    }

    /// Makes the dispatcher look.
    pub fn poke(&self) {
        self.bell.ring();
    }

    /// What makes the dispatcher look.
    pub fn doorbell(&self) -> &Arc<Doorbell> {
        &self.bell
    }

    pub(crate) fn silence(&self) {
        self.bell.silence();
    }

    /// Whether this is the process that made it, and not a fork.
    pub fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Has the dispatcher watch a station whose worker was launched, and adds it.
    pub fn add_station(&self, station: Station<N, K>) -> io::Result<()> {
        let id = u64::from(station.id());
        self.poller.add(station.end.event_fd(), id, true)?;
        station.watch_inlets(self, INLET)?;
        if let Some(pidfd) = station.pidfd() {
            // Once: it stays readable.
            self.poller.add(pidfd, id | DEATH, true)?;
        }
        self.with(|state| state.add_station(station));
        self.poke();
        Ok(())
    }
}

impl<N: Notify, K> counterpoint_sync::wait::Shared for Shared<N, K> {
    type State = PoolState<N, K>;

    fn with<R>(&self, f: impl FnOnce(&mut PoolState<N, K>) -> R) -> R {
        f(&mut self.lock())
    }
}
