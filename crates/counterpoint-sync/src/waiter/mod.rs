#![doc = include_str!("README.md")]

pub mod fork;
mod list;
mod park;
pub mod turn;

use crate::door::{Arc, Ordering};
pub use list::{Key, WaitList};
pub use park::Parked;
use std::sync::atomic::AtomicU32;

// Bits 0-2 of the word; only `WAITING` is ever left.
const WAITING: u32 = 0;
const CLAIMED: u32 = 1;
const GRANTED: u32 = 2;
const REFUSED: u32 = 3;
const CANCELLED: u32 = 4;
const STATE: u32 = 0b0111;
// Bit 3.
const SPENT: u32 = 0b1000;

/// How a waiter that is no thread is told to run again: an asyncio task, a callback.
pub trait Notify: Send + Sync + 'static {
    /// Schedules the waiter; `false` if it can never run again (its event loop was closed).
    ///
    /// Called with no lock of this crate held; it may run arbitrary code.
    fn notify(&self) -> bool;
}

/// The verdict on a waiter, as its owner reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// Nobody claimed it; or it never queued.
    None,
    /// It may try again.
    Permission,
    /// It has what it waited for.
    Granted,
    /// It will never get it.
    Refused,
}

impl Claim {
    fn state(self) -> u32 {
        match self {
            Claim::None => WAITING,
            Claim::Permission => CLAIMED,
            Claim::Granted => GRANTED,
            Claim::Refused => REFUSED,
        }
    }

    fn of(word: u32) -> Self {
        match word & STATE {
            CLAIMED => Claim::Permission,
            GRANTED => Claim::Granted,
            REFUSED => Claim::Refused,
            _ => Claim::None,
        }
    }
}

/// One who waits. Shared by its own thread or task and the list in which it is queued.
pub struct Waiter<N> {
    word: park::Word,
    /// `None`: a thread, parked on `word`.
    notify: Option<N>,
    /// Whom a hand-off makes the owner; a number the binding chooses, never 0 for a lock.
    owner: usize,
    /// When it first queued (monotonic nanoseconds): its place in line and its age.
    since: u64,
    generation: u32,
    /// In which turn it was claimed.
    turn: AtomicU32,
    /// Where its event loop runs, as a number of [`fork::thread`]; 0 for a thread's.
    thread: u64,
}

impl<N> Waiter<N> {
    /// A thread's waiter, queued first at `since`.
    pub fn thread(owner: usize, since: u64) -> Arc<Self> {
        Self::new(owner, since, None)
    }

    /// The waiter of a task or callback, woken through `notify`; made in the thread in which its
    /// event loop runs.
    pub fn task(owner: usize, since: u64, notify: N) -> Arc<Self> {
        Self::new(owner, since, Some(notify))
    }

    fn new(owner: usize, since: u64, notify: Option<N>) -> Arc<Self> {
        let (word, generation) = (park::Word::new(WAITING), fork::generation());
        let turn = AtomicU32::new(0);
        let thread = if notify.is_some() { fork::thread() } else { 0 };
        Arc::new(Self { word, notify, owner, since, generation, turn, thread })
    }

    /// Whom a hand-off makes the owner.
    pub fn owner(&self) -> usize {
        self.owner
    }

    /// When it first queued.
    pub fn since(&self) -> u64 {
        self.since
    }

    /// How its task is told; `None` for a thread.
    pub fn notify(&self) -> Option<&N> {
        self.notify.as_ref()
    }

    /// Whether its thread, or that of its event loop, still exists in this process. That of a
    /// thread which forked from within its wait does not count: it queues anew.
    pub fn is_alive(&self) -> bool {
        self.generation == fork::generation() || fork::is_survivor(self.thread)
    }

    /// What was decided about it so far.
    pub fn claimed(&self) -> Claim {
        // ORDERING: Acquire pairs with the Release of `claim`.
        Claim::of(self.word.0.load(Ordering::Acquire))
    }

    /// In which [`turn`] it was claimed, if it was.
    pub fn turn(&self) -> u32 {
        self.turn.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// Whether nothing was decided yet.
    pub fn is_waiting(&self) -> bool {
        // ORDERING: Acquire pairs with the Release of `claim`.
        self.word.0.load(Ordering::Acquire) == WAITING
    }

    /// The claim, for the one party that acts on it; [`Claim::None`] for any other. Called under
    /// the object's lock, and only when something was decided.
    #[must_use]
    pub fn spend(&self) -> Claim {
        // ORDERING: as in `decide`.
        let word = self.word.0.fetch_or(SPENT, Ordering::AcqRel);
        debug_assert_ne!(word, WAITING, "nothing to spend");
        if word & SPENT == 0 { Claim::of(word) } else { Claim::None }
    }

    /// Decides for it; `false` if that was decided before. The caller then [`wake`](Self::wake)s
    /// it, with no lock held.
    #[must_use]
    pub fn claim(&self, claim: Claim) -> bool {
        self.turn.store(turn::stamp(), std::sync::atomic::Ordering::Relaxed);
        self.decide(claim.state())
    }

    /// Gives up; `false` if a claim came first, which the caller must then use or pass on.
    #[must_use]
    pub fn cancel(&self) -> bool {
        self.decide(CANCELLED)
    }

    fn decide(&self, state: u32) -> bool {
        // ORDERING: Release publishes what the claimer did to the waiter's Acquire loads; on
        // failure the caller goes on to read the claim, hence Acquire.
        let (done, failed) = (Ordering::AcqRel, Ordering::Acquire);
        self.word.0.compare_exchange(WAITING, state, done, failed).is_ok()
    }

    /// Sleeps until claimed, to `deadline` at most. Only the waiter's own thread calls this.
    pub fn park(&self, deadline: Option<u64>) -> Parked {
        self.word.sleep_while(WAITING, deadline)
    }
}

impl<N: Notify> Waiter<N> {
    /// Makes a claimed waiter run; `false` if it never will again.
    #[must_use]
    pub fn wake(&self) -> bool {
        match &self.notify {
            Some(notify) => notify.notify(),
            None => {
                self.word.wake();
                self.is_alive()
            }
        }
    }
}

/// Waiters claimed under a lock, to be woken after it, and references to be dropped after it.
pub struct Wakes<N> {
    claimed: Vec<Arc<Waiter<N>>>,
    reminded: Vec<Arc<Waiter<N>>>,
    discarded: Vec<Arc<Waiter<N>>>,
}

impl<N> Default for Wakes<N> {
    fn default() -> Self {
        Self { claimed: Vec::new(), reminded: Vec::new(), discarded: Vec::new() }
    }
}

impl<N> Wakes<N> {
    /// To be woken.
    pub fn push(&mut self, waiter: Arc<Waiter<N>>) {
        self.claimed.push(waiter);
    }

    /// Threads that were claimed earlier, by another object, and are to be woken only now; what
    /// they were claimed for is not ours to pass on.
    pub fn remind(&mut self, threads: Vec<Arc<Waiter<N>>>) {
        self.reminded.extend(threads);
    }

    /// Takes out the threads, which can be woken without being attached.
    pub fn take_threads(&mut self) -> Vec<Arc<Waiter<N>>> {
        let mut threads = std::mem::take(&mut self.reminded);
        let is_thread = |waiter: &Arc<Waiter<N>>| waiter.notify().is_none() && waiter.is_alive();
        if self.claimed.iter().any(is_thread) {
            threads.extend(self.claimed.extract_if(.., |waiter| is_thread(waiter)));
        }
        threads
    }

    /// All of another's.
    pub fn append(&mut self, mut other: Self) {
        self.claimed.append(&mut other.claimed);
        self.reminded.append(&mut other.reminded);
        self.discarded.append(&mut other.discarded);
    }

    /// To be dropped where dropping may run code of others.
    pub fn discard(&mut self, waiter: Arc<Waiter<N>>) {
        self.discarded.push(waiter);
    }

    /// Whether nobody is to be woken.
    pub fn is_empty(&self) -> bool {
        self.claimed.is_empty() && self.reminded.is_empty()
    }

    /// Wakes everybody, for states that have nothing to pass on.
    pub fn wake_all(&mut self)
    where
        N: Notify,
    {
        for waiter in self.take() {
            let _ = waiter.wake();
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Arc<Waiter<N>>> {
        std::mem::take(&mut self.claimed)
    }

    pub(crate) fn take_reminded(&mut self) -> Vec<Arc<Waiter<N>>> {
        std::mem::take(&mut self.reminded)
    }
}
