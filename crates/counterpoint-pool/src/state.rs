//! [`PoolState`]: the queue, the stations, and what becomes of a job that is pushed.

use crate::inlet::Hearing;
use crate::job::{Content, Job, Outcome, Place};
use crate::mailbox::News;
use crate::station::{Stage, Station};
use counterpoint_shm::clock;
use counterpoint_sync::executor::future::Cancel;
use counterpoint_sync::executor::tasks::TaskQueue;
use counterpoint_sync::waiter::{Claim, Notify, WaitList, Wakes};
use counterpoint_trace::Durations;
use std::sync::Arc;

/// Gives the definition of a function by its number.
pub type Definitions = Box<dyn Fn(u32) -> Option<Arc<[u8]>> + Send>;

/// A dispatcher that wakes within so many nanoseconds need not be woken.
const SOON: u64 = 1_000_000;

/// For how long, in nanoseconds, no worker is launched after one could not be.
const RELAUNCH: u64 = 500_000_000;

/// How large a pool may get.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// The most workers.
    pub workers: usize,
    /// Workers that there are even if there is nothing to do.
    pub least: usize,
    /// How long, in nanoseconds, another one may have nothing to do before it leaves.
    pub idle: Option<u64>,
    /// How many bytes a worker may have for itself while it runs a task.
    pub memory: Option<u64>,
    /// The most jobs that wait.
    pub pending: usize,
    /// After so many tasks a worker leaves and is replaced.
    pub tasks_per_worker: u64,
    /// Whether the jobs of a dead worker are all that its death costs.
    pub isolate: bool,
}

/// Why a job was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pool was shut down.
    Closed,
    /// The pool is broken.
    Broken,
    /// As many jobs wait as may.
    Full,
}

/// What became of a job that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pushed {
    /// A worker is to be launched, and is already counted.
    pub launch: bool,
    /// The dispatcher must look at its lanes.
    pub poke: bool,
    /// The worker to be launched is the first, for which whoever submits waits.
    pub first: bool,
}

/// How many jobs went which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Returned.
    pub done: u64,
    /// Raised, or were stopped.
    pub failed: u64,
    /// Were cancelled before they ran.
    pub cancelled: u64,
    /// Workers that died without being asked to.
    pub crashes: u64,
    /// Workers that took the place of another.
    pub restarts: u64,
    /// Nanoseconds that tasks have run.
    pub busy: u64,
}

/// How many workers in a row died before they were set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stillborn {
    /// By their own doing.
    pub failed: usize,
    /// By somebody's SIGKILL.
    pub killed: usize,
    /// When the first of them did, in monotonic nanoseconds.
    pub since: Option<u64>,
}

/// A pool's plain data.
pub struct PoolState<N, K> {
    pub(crate) queue: TaskQueue<Arc<Job<N, K>>>,
    pub(crate) stations: Vec<Station<N, K>>,
    pub(crate) limits: Limits,
    pub(crate) launching: usize,
    /// Those of them that were asked for and not heard of, and when they are due.
    pub(crate) asked: Vec<(u32, u64)>,
    /// No worker is launched before then: the last could not be.
    pub(crate) no_launch_before: u64,
    /// Workers that died before they were set up, since the last that was.
    pub(crate) stillborn: Stillborn,
    pub(crate) closed: bool,
    pub(crate) broken: bool,
    /// Closed in such a way that nothing more is begun.
    pub(crate) abandoned: bool,
    /// Jobs of the queue that were withdrawn, and wait there to be skipped.
    pub(crate) withdrawn: usize,
    /// Jobs that left their worker and whose end is still the courier's to decide.
    pub(crate) undecided: usize,
    /// When to look for workers that have gone quiet.
    pub(crate) patrol_at: u64,
    pub(crate) room: WaitList<N>,
    pub(crate) definitions: Definitions,
    /// For somebody attached.
    pub(crate) news: Vec<News<N, K>>,
    /// To be woken after the lock.
    pub(crate) wakes: Wakes<N>,
    /// To be dropped after the lock.
    pub(crate) done: Vec<Arc<Job<N, K>>>,
    /// What workers say.
    pub(crate) hearing: Hearing,
    /// Whether the dispatcher looks at the workers' memory from time to time, and when next.
    pub(crate) watches_memory: bool,
    pub(crate) memory_due: u64,
    /// Until when the dispatcher sleeps at most.
    pub(crate) asleep_until: u64,
    /// How it all went.
    pub counts: Counts,
    /// From submission to the beginning of the first attempt.
    pub queue_delay: Durations,
    /// From an attempt's beginning to its end.
    pub run_time: Durations,
}

impl<N: Notify, K> PoolState<N, K> {
    /// An empty pool.
    pub fn new(limits: Limits, definitions: Definitions) -> Self {
        Self {
            queue: TaskQueue::default(),
            stations: Vec::new(),
            limits,
            launching: 0,
            asked: Vec::new(),
            no_launch_before: 0,
            stillborn: Stillborn::default(),
            closed: false,
            broken: false,
            abandoned: false,
            withdrawn: 0,
            undecided: 0,
            patrol_at: u64::MAX,
            room: WaitList::new(),
            definitions,
            news: Vec::new(),
            wakes: Wakes::default(),
            done: Vec::new(),
            hearing: Hearing::default(),
            watches_memory: false,
            memory_due: 0,
            asleep_until: 0,
            counts: Counts::default(),
            queue_delay: Durations::new(),
            run_time: Durations::new(),
        }
    }

    /// Why a job would not be accepted now.
    pub fn refusal(&self) -> Option<Refusal> {
        if self.broken {
            Some(Refusal::Broken)
        } else if self.closed {
            Some(Refusal::Closed)
        } else {
            (self.limits.pending != usize::MAX && self.pending() >= self.limits.pending)
                .then_some(Refusal::Full)
        }
    }

    /// The most workers that there may be.
    pub fn max_workers(&self) -> usize {
        self.limits.workers
    }

    /// Jobs that no worker has begun, give or take one a worker.
    pub fn pending(&self) -> usize {
        let ahead = |station: &Station<N, K>| station.end.in_flight().saturating_sub(1);
        let queued = self.queue.len() - self.withdrawn;
        queued + self.stations.iter().map(ahead).sum::<usize>()
    }

    /// Jobs that workers run.
    pub fn running(&self) -> usize {
        self.stations.iter().filter(|station| station.end.in_flight() > 0).count()
    }

    /// The stations.
    pub fn stations(&self) -> &[Station<N, K>] {
        &self.stations
    }

    /// Whether somebody still has something to do here.
    pub fn is_over(&self) -> bool {
        self.is_deserted() && self.closed && self.queue.is_empty() && self.undecided == 0
    }

    /// Whether there is nothing left to do for one more worker.
    pub fn wants_nobody(&self) -> bool {
        // What waits behind another job is work for one more.
        self.broken || (self.closed && self.pending() == 0 && self.undecided == 0)
    }

    /// Whether there is no worker, and none on its way.
    pub fn is_deserted(&self) -> bool {
        self.stations.is_empty() && self.launching == 0
    }

    /// Whether jobs wait that only a new worker can run.
    pub fn is_stranded(&self) -> bool {
        self.is_deserted() && self.queue.len() > self.withdrawn
    }

    /// Whether a worker's death costs only what it had begun.
    pub fn isolates(&self) -> bool {
        self.limits.isolate
    }

    /// Whether every job has failed, and no worker is wanted any more.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Whether no job is accepted any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Accepts a job: hands it to a worker if one has room, or queues it.
    pub fn push(&mut self, job: Arc<Job<N, K>>) -> Result<Pushed, (Refusal, Arc<Job<N, K>>)> {
        if let Some(refusal) = self.refusal() {
            return Err((refusal, job));
        }
        let now = job.submitted;
        let place = self.queue.is_empty().then(|| self.place()).flatten();
        let mut busy = place.is_none();
        let mut poke = self.begin_patrol(now);
        let left = match place {
            Some(at) => {
                busy = !self.stations[at].is_idle();
                let left = self.send(at, job, now);
                self.stations[at].end.ring();
                // While it had nothing to do the dispatcher may have gone to sleep for long.
                poke |= busy && self.asleep_until > now.saturating_add(SOON);
                left.err()
            }
            None => Some(job),
        };
        poke |= self.must_watch_memory();
        poke |= place.is_some_and(|at| self.stations[at].stalled);
        if poke {
            // Once will do.
            self.asleep_until = 0;
        }
        if let Some(job) = left {
            let priority = job.priority();
            self.queue.push(job, priority);
        }
        let launch = busy && self.reserve_launch(now);
        Ok(Pushed { launch, poke, first: self.stations.is_empty() && self.launching == 1 })
    }

    /// A station for one more job: one that is ready and idle, one that will be, or one whose
    /// worker has little in hand.
    fn place(&self) -> Option<usize> {
        let mut idle = None;
        for (at, station) in self.stations.iter().enumerate() {
            if station.is_idle() {
                if station.stage == Stage::Ready {
                    return Some(at);
                }
                idle = idle.or(Some(at));
            }
        }
        idle.or_else(|| self.stations.iter().position(|station| station.room() > 0))
    }

    /// Sends a job, or gives it back.
    pub(crate) fn send(
        &mut self,
        at: usize,
        job: Arc<Job<N, K>>,
        now: u64,
    ) -> Result<(), Arc<Job<N, K>>> {
        let station = &mut self.stations[at];
        station.send(job, &self.definitions, &mut self.done, now)?;
        if station.assigned >= self.limits.tasks_per_worker {
            station.stage = Stage::Leaving;
        }
        Ok(())
    }

    /// Counts one more worker as on its way, if one may be launched.
    pub(crate) fn reserve_launch(&mut self, now: u64) -> bool {
        let launch = self.may_launch(now);
        self.launching += usize::from(launch);
        launch
    }

    /// Whether one more worker may be launched.
    pub(crate) fn may_launch(&self, now: u64) -> bool {
        // One that leaves counts while it runs its last job: no more run at a time than may.
        let counts = |station: &&Station<N, K>| station.is_live() || station.end.in_flight() > 0;
        let live = self.stations.iter().filter(counts).count();
        !self.broken && live + self.launching < self.limits.workers && now >= self.no_launch_before
    }

    /// The worker was launched: its station takes part from now on.
    pub fn add_station(&mut self, station: Station<N, K>) {
        self.launching -= 1;
        self.stations.push(station);
    }

    /// The worker could not be launched.
    pub fn not_launched(&mut self) {
        self.launching -= 1;
        self.no_launch_before = clock::now() + RELAUNCH;
    }

    /// Ends a job whose end was the courier's to decide.
    pub fn decide(&mut self, job: Arc<Job<N, K>>, outcome: Outcome) {
        self.undecided -= 1;
        self.finish(job, outcome);
    }

    /// Queues a job again that was judged worth another try; or ends it, if nothing more is begun.
    pub fn push_again(&mut self, job: Arc<Job<N, K>>, outcome: Outcome) {
        if self.abandoned || self.broken {
            return self.decide(job, outcome);
        }
        self.undecided -= 1;
        let priority = job.priority();
        let mut cell = job.lock();
        if cell.future.phase().is_done() {
            cell.place = Place::Over;
            drop(cell);
            return self.done.push(job);
        }
        // Somebody may have seen it run; now it can be cancelled again.
        if !cell.future.retry() {
            // Nobody did; this attempt is over all the same.
            let attempt = cell.future.attempt();
            let _ = cell.future.decide(attempt);
        }
        cell.place = Place::Queued;
        drop(cell);
        self.queue.push(job, priority);
    }

    /// Takes a job out of the queue or back from its worker; `false`: it has begun, or is over.
    /// The caller ends it.
    pub fn withdraw(&mut self, job: &Job<N, K>) -> bool {
        let place = job.lock().place;
        match place {
            // It stays in the queue until its turn, and is skipped then.
            Place::Queued => self.withdrawn += 1,
            Place::Sent { station, entry } => {
                let Some(station) = self.station(station) else { return false };
                let Some(job) = station.recall(entry) else { return false };
                self.done.push(job);
            }
            Place::Judged | Place::Over => return false,
        }
        let mut cell = job.lock();
        cell.place = Place::Over;
        let content = std::mem::replace(&mut cell.content, Content::Empty);
        drop(cell);
        drop(content);
        self.counts.cancelled += 1;
        self.tidy_queue();
        self.admit();
        true
    }

    /// Throws withdrawn jobs out once they are most of the queue.
    fn tidy_queue(&mut self) {
        if self.withdrawn < 64 || self.withdrawn * 2 < self.queue.len() {
            return;
        }
        for job in self.queue.drain() {
            let over = job.lock().place == Place::Over;
            if over {
                self.done.push(job);
            } else {
                let priority = job.priority();
                self.queue.push(job, priority);
            }
        }
        self.withdrawn = 0;
    }

    /// The next job of the queue that was not withdrawn.
    pub(crate) fn next(&mut self) -> Option<Arc<Job<N, K>>> {
        loop {
            let job = self.queue.pop()?;
            if self.withdrawn == 0 || job.lock().place != Place::Over {
                return Some(job);
            }
            self.withdrawn -= 1;
            self.done.push(job);
        }
    }

    /// Whether a worker has begun this job.
    pub fn is_begun(&mut self, job: &Job<N, K>) -> bool {
        let place = job.lock().place;
        let Place::Sent { station, entry } = place else { return place == Place::Judged };
        self.station(station).is_some_and(|station| station.end.is_started(entry))
    }

    /// Where among the stations it is.
    pub(crate) fn position(&self, id: u32) -> Option<usize> {
        self.stations.iter().position(|station| station.id() == id)
    }

    pub(crate) fn station(&mut self, id: u32) -> Option<&mut Station<N, K>> {
        self.position(id).map(|at| &mut self.stations[at])
    }

    /// Accepts no more jobs. With `cancel`, those that were not begun are cancelled, and none is
    /// tried again.
    pub fn close(&mut self, cancel: bool) {
        self.closed = true;
        self.room.claim_all(Claim::Refused, &mut self.wakes);
        if cancel {
            self.abandoned = true;
            for job in self.take_unstarted() {
                self.cancel(job);
            }
        }
    }

    fn cancel(&mut self, job: Arc<Job<N, K>>) {
        let mut cell = job.lock();
        let cancelled = cell.future.cancel(&mut self.wakes) == Cancel::Now;
        // Settled at once: it is in no queue any more.
        let _ = cell.future.start();
        let old = std::mem::replace(&mut cell.content, Content::Empty);
        let kept = cancelled && cell.keeper.is_some();
        drop(cell);
        drop(old);
        if kept {
            self.news.push(News::Ended(job));
        } else {
            self.done.push(job);
        }
    }

    /// The pool is broken: accepts nothing more, and returns every job, begun or not.
    pub fn break_up(&mut self) -> Vec<Arc<Job<N, K>>> {
        (self.closed, self.broken) = (true, true);
        self.room.claim_all(Claim::Refused, &mut self.wakes);
        let mut jobs = Vec::new();
        for station in &mut self.stations {
            station.kill();
            let (started, unstarted) = station.leftover();
            jobs.extend(started);
            jobs.extend(unstarted);
        }
        jobs.extend(self.drain_queue());
        jobs.iter().for_each(|job| job.lock().place = Place::Over);
        self.undecided += jobs.len();
        jobs
    }

    /// Everything that waits and was not withdrawn.
    fn drain_queue(&mut self) -> Vec<Arc<Job<N, K>>> {
        std::iter::from_fn(|| self.next()).collect()
    }

    fn take_unstarted(&mut self) -> Vec<Arc<Job<N, K>>> {
        let mut jobs: Vec<_> =
            self.stations.iter_mut().flat_map(|station| station.recall_some(usize::MAX)).collect();
        jobs.extend(self.drain_queue());
        for job in &jobs {
            job.lock().place = Place::Over;
        }
        self.counts.cancelled += jobs.len() as u64;
        jobs
    }

    /// Sends a signal to every worker.
    pub fn signal_workers(&mut self, signal: i32) {
        self.stations.iter().for_each(|station| station.signal(signal));
    }
}
