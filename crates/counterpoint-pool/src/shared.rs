//! [`Shared`]: a pool's state, its lock, and what its threads wait on.

use crate::mailbox::{Mailbox, News};
use crate::speech::{Weight, Word};
use crate::state::PoolState;
use crate::station::Station;
use crate::system::{Doorbell, Poller};
use counterpoint_shm::clock;
use counterpoint_sync::waiter::{Notify, fork};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, TryLockError};

/// How often the dispatcher yields to those who want the state.
const COURTESY: usize = 20;

/// How long a worker that was asked for may take to begin, in nanoseconds.
const PATIENCE: u64 = 60_000_000_000;

/// Tokens of the poller beyond those of stations.
pub(crate) const POKE: u64 = u64::MAX;
/// Marks a token as a station's end.
pub(crate) const DEATH: u64 = 1 << 32;
/// Marks a token as an inlet's.
pub(crate) const INLET: u64 = 1 << 33;
/// Marks a token as that of a worker which was asked for.
pub(crate) const LAUNCH: u64 = 1 << 34;

/// What submitters, the dispatcher and the courier of one pool share.
pub struct Shared<N, K> {
    state: Mutex<PoolState<N, K>>,
    /// How many threads wait for it.
    wanting: AtomicU32,
    /// What the courier reads.
    pub mailbox: Mailbox<News<N, K>>,
    /// What the listener reads: whatever holds that up holds up no news.
    pub speech: Mailbox<Word>,
    /// Until the end: futures keep this pool, and must not keep its descriptors.
    pub(crate) ears: RwLock<Option<Ears>>,
    generation: u32,
}

/// What the dispatcher listens to.
pub(crate) struct Ears {
    pub(crate) poller: Poller,
    pub(crate) bell: Arc<Doorbell>,
}

impl<N: Notify, K> Shared<N, K> {
    /// A pool that nobody serves yet.
    pub fn new(state: PoolState<N, K>) -> io::Result<Self> {
        let (poller, bell) = (Poller::new()?, Arc::new(Doorbell::new()?));
        poller.add(bell.fd(), POKE, false)?;
        let ears = RwLock::new(Some(Ears { poller, bell }));
        let (state, wanting) = (Mutex::new(state), AtomicU32::new(0));
        let (mailbox, speech) = (Mailbox::default(), Mailbox::default());
        Ok(Self { state, wanting, mailbox, speech, ears, generation: fork::generation() })
    }

    /// The state, locked. For moments; nothing is woken or dropped meanwhile.
    pub fn lock(&self) -> MutexGuard<'_, PoolState<N, K>> {
        self.try_lock().unwrap_or_else(|| self.wait_for_lock())
    }

    /// The same, unless somebody has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, PoolState<N, K>>> {
        match self.state.try_lock() {
            Ok(state) => Some(state),
            Err(TryLockError::Poisoned(error)) => Some(error.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    #[cold]
    fn wait_for_lock(&self) -> MutexGuard<'_, PoolState<N, K>> {
        self.wanting.fetch_add(1, Ordering::Relaxed);
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.wanting.fetch_sub(1, Ordering::Relaxed);
        state
    }

    /// Gives those who wait for the state a chance, which the lock by itself does not.
    pub(crate) fn let_others(&self) {
        for _ in 0..COURTESY {
            if self.wanting.load(Ordering::Relaxed) == 0 {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Runs `f` on the state; then wakes whom it claimed and drops what it ended.
    pub fn with<R>(&self, f: impl FnOnce(&mut PoolState<N, K>) -> R) -> R {
        self.with_locked(self.lock(), f)
    }

    /// The same for who has the lock.
    pub(crate) fn with_locked<R>(
        &self,
        mut state: MutexGuard<'_, PoolState<N, K>>,
        f: impl FnOnce(&mut PoolState<N, K>) -> R,
    ) -> R {
        let result = f(&mut state);
        let quiet = state.news.is_empty() && state.hearing.words.is_empty();
        if quiet && state.wakes.is_empty() && state.done.is_empty() {
            return result;
        }
        let mut wakes = std::mem::take(&mut state.wakes);
        let threads = wakes.take_threads();
        if !wakes.is_empty() {
            // To tell a task takes an interpreter.
            state.news.push(News::Wakes(wakes));
        }
        let done = std::mem::take(&mut state.done);
        let news = std::mem::take(&mut state.news);
        let heard = self.speech.add(std::mem::take(&mut state.hearing.words));
        // Before anybody else sees this state: what follows from it must arrive behind these news,
        // the end of the pool above all.
        let told = self.mailbox.add(news);
        drop(state);
        if told {
            self.mailbox.notify();
        }
        if heard {
            self.speech.notify();
        }
        for thread in threads {
            let _ = thread.wake();
        }
        drop(done);
        result
    }

    /// Makes the dispatcher look.
    pub fn poke(&self) {
        if let Some(ears) = &*self.listen() {
            ears.bell.ring();
        }
    }

    /// A word was dealt with: its worker may go on, if it waited for that.
    pub fn relieve(&self, weight: Weight) {
        if weight.lift() {
            self.poke();
        }
    }

    pub(crate) fn listen(&self) -> RwLockReadGuard<'_, Option<Ears>> {
        self.ears.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The dispatcher hears nothing any more.
    pub(crate) fn go_deaf(&self) {
        let ears = self.ears.write().unwrap_or_else(PoisonError::into_inner).take();
        drop(ears);
    }

    /// What makes the dispatcher look; `None` once the pool is over.
    pub fn doorbell(&self) -> Option<Arc<Doorbell>> {
        self.listen().as_ref().map(|ears| ears.bell.clone())
    }

    /// Whether this is the process that made it, and not a fork.
    pub fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Has the dispatcher watch a station whose worker was launched, and adds it. If that fails the
    /// worker is killed.
    pub fn add_station(&self, mut station: Station<N, K>) -> io::Result<()> {
        // Both under the lock: a death is reported once, and the dispatcher looks for its station.
        self.with(|state| match self.watch(&station) {
            Ok(()) => {
                state.add_station(station);
                Ok(())
            }
            Err(error) => {
                station.kill();
                Err(error)
            }
        })?;
        self.poke();
        Ok(())
    }

    /// Has the dispatcher say when a worker has begun that was asked for: then `ready` is readable.
    /// `false`: that is not possible.
    pub fn expect(&self, id: u32, ready: BorrowedFd<'_>) -> bool {
        let due = clock::now() + PATIENCE;
        let poke = self.with(|state| {
            // Before it can be heard of.
            state.asked.push((id, due));
            let ears = self.listen();
            let added =
                ears.as_ref().map(|ears| ears.poller.add(ready, u64::from(id) | LAUNCH, true));
            if !matches!(added, Some(Ok(()))) {
                state.asked.pop();
                return None;
            }
            Some(state.asleep_until > due)
        });
        if poke == Some(true) {
            self.poke();
        }
        poke.is_some()
    }

    fn watch(&self, station: &Station<N, K>) -> io::Result<()> {
        let ears = self.listen();
        // A worker is on its way, so the pool is not over.
        let Some(Ears { poller, .. }) = &*ears else { return Err(io::ErrorKind::NotFound.into()) };
        let id = u64::from(station.id());
        poller.add(station.end.event_fd(), id, true)?;
        station.watch_inlets(poller, INLET)?;
        // Once: it stays readable.
        station.pidfd().map_or(Ok(()), |pidfd| poller.add(pidfd, id | DEATH, true))
    }
}

impl<N: Notify, K> counterpoint_sync::wait::Shared for Shared<N, K> {
    type State = PoolState<N, K>;

    fn with<R>(&self, f: impl FnOnce(&mut PoolState<N, K>) -> R) -> R {
        f(&mut self.lock())
    }
}
