//! [`Job`]: one submitted task, from its payload to its outcome.

use crate::blocks::{Loan, Received};
use crate::lookout::Lookout;
use crate::parcel::Parcel;
use counterpoint_sync::executor::future::FutureState;
use counterpoint_sync::wait::Shared;
use counterpoint_sync::waiter::{Notify, fork};
use std::any::Any;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Where a job is. Changed under the pool's lock only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the queue, or on its way into it.
    Queued,
    /// At this station, under this number.
    Sent {
        /// Which station.
        station: u32,
        /// The number on the lane.
        entry: u16,
    },
    /// Its failure is being judged: it ends, or goes back into the queue.
    Judged,
    /// Nowhere any more.
    Over,
}

/// What `options(…)` adds to a task.
#[derive(Clone, Default)]
pub struct Options {
    /// Higher runs sooner.
    pub priority: i64,
    /// How long it may run, in nanoseconds; then its worker is killed.
    pub timeout: Option<u64>,
    /// How long it may run, in nanoseconds, before its worker interrupts it.
    pub soft_timeout: Option<u64>,
    /// What it is called in errors.
    pub name: Option<Box<str>>,
    /// Judges a failure before it is an outcome; the binding's business.
    pub judge: Option<Arc<dyn Any + Send + Sync>>,
}

/// A record and the blocks that belong to it.
pub struct Record<B> {
    /// Small enough for a ring, or empty if it is in the last block.
    pub bytes: Box<[u8]>,
    /// What travels beside it.
    pub blocks: Box<[B]>,
    /// Whether the last block is the record itself.
    pub apart: bool,
    /// What else its receiver must have; only ever on the way to a worker.
    pub parcels: Box<[Arc<Parcel>]>,
}

/// What became of a job that no worker could finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its time, in nanoseconds, was over.
    TimedOut(u64),
}

/// How a job ended.
pub enum Outcome {
    /// It returned this.
    Returned(Record<Arc<Received>>),
    /// It raised this.
    Raised(Record<Arc<Received>>),
    /// Its worker was stopped.
    Stopped(Fate),
    /// It failed outside of any worker; the error is the binding's.
    Failed(Arc<dyn Any + Send + Sync>),
}

/// What a job holds at the moment.
pub enum Content {
    /// What is to be sent.
    Payload(Record<Arc<Loan>>),
    /// What came back; shared, because two threads may begin to read it.
    Outcome(Arc<Outcome>),
    /// Nothing: the outcome was read, or is none of this crate's.
    Empty,
}

/// What a job's lock protects.
pub struct Cell<N, K> {
    /// The phase, and the threads that wait.
    pub future: FutureState<N>,
    /// Where it is.
    pub place: Place,
    /// What it holds.
    pub content: Content,
    /// Kept alive until the end, and told of it by the courier.
    pub keeper: Option<K>,
}

/// One task. `K` is what the binding wants told of its end.
pub struct Job<N, K> {
    cell: Mutex<Cell<N, K>>,
    /// When it was submitted, in monotonic nanoseconds.
    pub submitted: u64,
    /// The number of its function, or [`u32::MAX`].
    pub function: u32,
    generation: u32,
    /// The pool to which it was submitted.
    pub pool: Arc<crate::Shared<N, K>>,
    /// What few jobs have.
    pub options: Option<Box<Options>>,
}

impl<N, K> Job<N, K> {
    /// A job that is pending and in no queue yet.
    pub fn new(
        payload: Record<Arc<Loan>>,
        function: Option<u32>,
        submitted: u64,
        pool: Arc<crate::Shared<N, K>>,
        options: Option<Box<Options>>,
    ) -> Arc<Self> {
        let cell = Cell {
            future: FutureState::default(),
            place: Place::Queued,
            content: Content::Payload(payload),
            keeper: None,
        };
        let function = function.unwrap_or(u32::MAX);
        let (cell, generation) = (Mutex::new(cell), fork::generation());
        Arc::new(Self { cell, submitted, function, generation, pool, options })
    }

    /// Its lock. For moments.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, Cell<N, K>> {
        self.cell.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was submitted by this process, and not before the fork that made it.
    pub fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// Higher runs sooner.
    pub fn priority(&self) -> i64 {
        self.options.as_ref().map_or(0, |options| options.priority)
    }

    /// How long it may run, in nanoseconds.
    pub fn timeout(&self) -> Option<u64> {
        self.options.as_ref().and_then(|options| options.timeout)
    }

    /// How long it may run before its worker interrupts it, in nanoseconds.
    pub fn soft_timeout(&self) -> Option<u64> {
        self.options.as_ref().and_then(|options| options.soft_timeout)
    }

    /// Whether its failures are judged before they are outcomes.
    pub fn is_judged(&self) -> bool {
        self.options.as_ref().is_some_and(|options| options.judge.is_some())
    }
}

impl<N: Notify, K> Job<N, K> {
    /// What its thread may do again and again before it sleeps until the end: take in what the
    /// worker says, which does not ring meanwhile. `None`: not worth it.
    pub fn look_out(&self) -> Option<impl FnMut()> {
        let lookout = Lookout::begin(self)?;
        Some(move || lookout.look())
    }
}

impl<N: Notify, K> Shared for Job<N, K> {
    type State = FutureState<N>;

    fn with<R>(&self, f: impl FnOnce(&mut FutureState<N>) -> R) -> R {
        f(&mut self.lock().future)
    }
}
