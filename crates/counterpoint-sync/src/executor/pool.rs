//! [`PoolState`]: which worker sleeps, which is woken, and when a new one is started.
//!
//! # Vocabulary
//!
//! *Workers* are threads that ask [`next`](PoolState::next) for tasks. One is *idle* while it
//! sleeps on its waiter; *arriving* from the moment it is woken or started (or has all but ended
//! its task) until it asks; *blocked* while its task waits for another task of this pool.
//! The *limit* is how many may run tasks at the same time; blocked ones do not count. An *extra*
//! worker was started because others are blocked, and leaves when there are too many.
//!
//! # Protocol of one who submits
//!
//! Queue the task and decide, under one lock: nobody if as many workers arrive as tasks wait; a
//! new worker if even the sleepers are too few and the limit allows; otherwise a sleeping one,
//! unless one is on the way already. What was decided is done after the lock, as a [`Call`].
//!
//! # Protocol of a worker
//!
//! Ask. With a task comes a call for the next worker if there are more tasks: wakes form a chain,
//! one in flight, so that a burst of tiny tasks costs one wake and not one for each sleeper.
//! Without one, the worker is put among the idle *under the same lock* that found the queue empty;
//! then it sleeps until claimed, and asks again.
//!
//! # The race, and why no task is left lying
//!
//! A task is pushed and a worker goes to sleep at the same time. Both happen under the lock. If
//! the push comes first, the worker finds the task. If the sleep comes first, the pusher finds
//! the sleeper. A claimed sleeper is counted as arriving until it asks; and the last to arrive,
//! whether it takes a task or leaves, wakes another sleeper if more tasks wait. So while a task
//! waits and a worker sleeps, some worker is on the way.
//!
//! The scheme resembles rayon's and tokio's, with a lock where they have atomics: the critical
//! sections are a few instructions, and with a GIL they cost nothing at all.

use super::tasks::TaskQueue;
use crate::door::Arc;
use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes, fork};
use counterpoint_trace::Durations;

/// More extra workers than this are not started: then the blocked ones wait for their turn.
pub const MOST_EXTRA: usize = 2000;

/// From this length on the clock is read for one task in eight.
const LONG_QUEUE: usize = 64;

/// Whom a change of the pool calls. To be carried out with no lock held.
#[must_use]
pub enum Call<N> {
    /// Nobody.
    Nobody,
    /// This sleeping worker, already claimed.
    Wake(Arc<Waiter<N>>),
    /// A new worker, already counted.
    Start {
        /// Whether it leaves when it is not needed any more.
        extra: bool,
    },
}

/// What a worker that asked has to do.
#[must_use]
pub enum Next<T, N> {
    /// Run this, after carrying out the call.
    Run(T, Call<N>),
    /// Sleep on the waiter it brought, then ask again.
    Sleep,
    /// Leave, after carrying out the call. It is not counted any more.
    Leave(Call<N>),
}

/// Why a task was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The pool was shut down.
    Closed,
    /// As many tasks wait as may.
    Full,
}

/// How many tasks are where.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Run now.
    pub running: usize,
    /// Returned.
    pub done: u64,
    /// Raised.
    pub failed: u64,
    /// Were cancelled before they ran.
    pub cancelled: u64,
}

/// How a task ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It returned.
    Done,
    /// It raised.
    Failed,
    /// It had been cancelled and did not run.
    Cancelled,
    /// It goes back into the queue.
    Retried,
}

/// A pool of workers and what waits for them.
pub struct PoolState<T, N> {
    tasks: TaskQueue<T>,
    /// Who sleeps, the latest last: its caches are the warmest.
    idle: Vec<Arc<Waiter<N>>>,
    room: WaitList<N>,
    limit: usize,
    max_pending: usize,
    workers: usize,
    extras: usize,
    arriving: usize,
    blocked: usize,
    closed: bool,
    generation: u32,
    /// How many tasks are where.
    pub counts: Counts,
    /// From submission to the first instruction.
    pub queue_delay: Durations,
    /// From the first instruction to the end.
    pub run_time: Durations,
    /// The sum of the moments at which the running tasks began, modulo 2^64.
    begun: u64,
    /// When a task was last queued, and how many reused that reading of the clock since.
    stamp: (u64, u32),
}

impl<T, N> PoolState<T, N> {
    /// A pool in which `limit` tasks may run at once and `max_pending` may wait.
    pub fn new(limit: usize, max_pending: usize) -> Self {
        Self {
            tasks: TaskQueue::default(),
            idle: Vec::new(),
            room: WaitList::new(),
            limit,
            max_pending,
            workers: 0,
            extras: 0,
            arriving: 0,
            blocked: 0,
            closed: false,
            generation: fork::generation(),
            counts: Counts::default(),
            queue_delay: Durations::new(),
            run_time: Durations::new(),
            begun: 0,
            stamp: (0, 0),
        }
    }

    /// How many tasks wait.
    #[inline]
    pub fn queued(&self) -> usize {
        self.tasks.len()
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// How many workers sleep.
    pub fn idle(&self) -> usize {
        self.idle.len()
    }

    /// The tasks that wait, in no particular order.
    pub fn tasks(&self) -> impl Iterator<Item = &T> {
        self.tasks.iter()
    }

    /// Who waits for room.
    pub fn room(&self) -> &WaitList<N> {
        &self.room
    }

    /// Whether this is a child's copy of the pool: its workers stayed with the parent.
    #[inline]
    pub fn is_foreign(&self) -> bool {
        self.generation != fork::generation()
    }

    /// Whether a new task would be refused.
    #[inline]
    pub fn refusal(&self) -> Option<Refusal> {
        if self.closed {
            return Some(Refusal::Closed);
        }
        (self.tasks.len() >= self.max_pending).then_some(Refusal::Full)
    }

    /// The time, for a task that is about to be queued. In a long queue the clock is read for one
    /// in eight: the others wait for at least as many tasks to run as they are late by, times
    /// eight, so that their delay is right to an eighth.
    #[inline]
    pub fn stamp(&mut self, now: impl FnOnce() -> u64) -> u64 {
        if self.tasks.len() >= LONG_QUEUE && self.stamp.1 < 7 {
            self.stamp.1 += 1;
        } else {
            self.stamp = (now(), 0);
        }
        self.stamp.0
    }

    /// Queues a task, whatever [`refusal`](Self::refusal) says.
    #[inline]
    pub fn push(&mut self, task: T, priority: i64) -> Call<N> {
        self.tasks.push(task, priority);
        self.call()
    }

    /// Decides who comes for the tasks that nobody is on the way to.
    #[inline]
    fn call(&mut self) -> Call<N> {
        if self.tasks.len() <= self.arriving {
            return Call::Nobody;
        }
        if self.tasks.len() > self.arriving + self.idle.len()
            && let Call::Start { extra } = self.start()
        {
            return Call::Start { extra };
        }
        self.chain()
    }

    /// Wakes one who sleeps, unless a worker is on the way: it will do so when it arrives.
    #[inline]
    fn chain(&mut self) -> Call<N> {
        if self.arriving > 0 || self.tasks.is_empty() { Call::Nobody } else { self.rouse() }
    }

    fn rouse(&mut self) -> Call<N> {
        while let Some(sleeper) = self.idle.pop() {
            if sleeper.claim(Claim::Permission) {
                self.arriving += 1;
                return Call::Wake(sleeper);
            }
        }
        Call::Nobody
    }

    fn start(&mut self) -> Call<N> {
        let plain = self.workers - self.extras;
        let extra = plain >= self.limit;
        let active = self.workers - self.blocked;
        if active >= self.limit || (extra && self.extras >= MOST_EXTRA) {
            return Call::Nobody;
        }
        self.workers += 1;
        self.extras += usize::from(extra);
        self.arriving += 1;
        Call::Start { extra }
    }

    /// A worker that was to be started could not be.
    pub fn not_started(&mut self, extra: bool) {
        self.workers -= 1;
        self.extras -= usize::from(extra);
        self.arriving -= 1;
    }

    /// A worker that arrives asks what to do. `waiter`, unused so far, is where it would sleep.
    #[inline]
    pub fn next(
        &mut self,
        extra: bool,
        arriving: bool,
        now: u64,
        waiter: &Arc<Waiter<N>>,
        wakes: &mut Wakes<N>,
    ) -> Next<T, N> {
        self.arriving -= usize::from(arriving);
        if extra && self.workers - self.blocked > self.limit {
            return self.leave(extra);
        }
        if let Some(task) = self.tasks.pop() {
            self.counts.running += 1;
            self.begun = self.begun.wrapping_add(now);
            if !self.room.is_empty() {
                self.room.claim_first(Claim::Permission, wakes);
            }
            return Next::Run(task, self.chain());
        }
        if self.closed {
            return self.leave(extra);
        }
        self.idle.push(waiter.clone());
        Next::Sleep
    }

    fn leave(&mut self, extra: bool) -> Next<T, N> {
        self.workers -= 1;
        self.extras -= usize::from(extra);
        Next::Leave(self.chain())
    }

    /// A sleeping worker had enough of it; `false` if it was claimed meanwhile and must ask.
    #[must_use]
    pub fn give_up(&mut self, waiter: &Arc<Waiter<N>>, extra: bool, wakes: &mut Wakes<N>) -> bool {
        if !waiter.cancel() {
            return false;
        }
        if let Some(at) = self.idle.iter().position(|sleeper| Arc::ptr_eq(sleeper, waiter)) {
            wakes.discard(self.idle.remove(at));
        }
        self.workers -= 1;
        self.extras -= usize::from(extra);
        true
    }

    /// A task that began at `begun` ended. `arriving` promises that its worker asks for another
    /// without delay.
    #[inline]
    pub fn ended(&mut self, outcome: Outcome, begun: u64, arriving: bool) {
        self.arriving += usize::from(arriving);
        self.counts.running -= 1;
        self.begun = self.begun.wrapping_sub(begun);
        match outcome {
            Outcome::Done => self.counts.done += 1,
            Outcome::Failed => self.counts.failed += 1,
            Outcome::Cancelled => self.counts.cancelled += 1,
            Outcome::Retried => {}
        }
    }

    /// Nanoseconds that tasks have run so far, those that run now included.
    pub fn busy(&self, now: u64) -> u64 {
        let running = (self.counts.running as u64).wrapping_mul(now).wrapping_sub(self.begun);
        // Clocks read at slightly different moments may make this a little negative.
        self.run_time.summary().total + (running as i64).max(0) as u64
    }

    /// The task of one worker begins to wait for something that this pool must do.
    pub fn block(&mut self) -> Call<N> {
        self.blocked += 1;
        self.call()
    }

    /// That wait is over.
    pub fn unblock(&mut self) {
        self.blocked -= 1;
    }

    /// Accepts no more tasks. Everybody is woken: they leave once the queue is empty.
    pub fn close(&mut self, wakes: &mut Wakes<N>) {
        self.closed = true;
        for sleeper in self.idle.drain(..) {
            if sleeper.claim(Claim::Permission) {
                self.arriving += 1;
                wakes.push(sleeper);
            }
        }
        self.room.claim_all(Claim::Refused, wakes);
    }

    /// Whether no task is accepted any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Takes out every task that waits.
    pub fn drain(&mut self) -> Vec<T> {
        self.tasks.drain()
    }

    /// Makes a child's copy usable: it has no workers, and the tasks are the parent's.
    pub fn adopt(&mut self, wakes: &mut Wakes<N>) -> Vec<T> {
        self.idle.drain(..).for_each(|sleeper| wakes.discard(sleeper));
        (self.workers, self.extras, self.arriving, self.blocked) = (0, 0, 0, 0);
        (self.counts.running, self.begun) = (0, 0);
        self.generation = fork::generation();
        self.tasks.drain()
    }
}

impl<T, N: Notify> State for PoolState<T, N> {
    type Notify = N;

    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        // A permission to submit that goes unused; a refusal went to everybody.
        if waiter.claimed() == Claim::Permission && self.refusal() != Some(Refusal::Full) {
            self.room.claim_first(Claim::Permission, wakes);
        }
    }
}

/// Waiting until the pool would accept a task, or never will.
pub struct Room<T, N>(std::marker::PhantomData<fn(T, N)>);

impl<T, N> Default for Room<T, N> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T, N: Notify> Source for Room<T, N> {
    type State = PoolState<T, N>;
    type Output = ();

    fn take(&mut self, pool: &mut Self::State, _: Claim, _: &mut Wakes<N>) -> Option<()> {
        (pool.refusal() != Some(Refusal::Full)).then_some(())
    }

    fn list<'s>(&self, pool: &'s mut Self::State) -> &'s mut WaitList<N> {
        &mut pool.room
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    type Pool = PoolState<u32, ()>;

    fn ask(pool: &mut Pool, extra: bool) -> (Next<u32, ()>, Arc<Waiter<()>>) {
        let waiter = Waiter::thread(1, 0);
        (pool.next(extra, true, 0, &waiter, &mut Wakes::default()), waiter)
    }

    fn starts(call: Call<()>) -> bool {
        matches!(call, Call::Start { .. })
    }

    #[test]
    fn workers_are_started_up_to_the_limit_and_reused() {
        let mut pool = Pool::new(2, 9);
        assert!(starts(pool.push(1, 0)) && starts(pool.push(2, 0)));
        assert!(matches!(pool.push(3, 0), Call::Nobody));
        for task in [1, 2] {
            assert!(matches!(ask(&mut pool, false).0, Next::Run(t, Call::Nobody) if t == task));
        }
        pool.ended(Outcome::Done, 0, true);
        assert!(matches!(ask(&mut pool, false).0, Next::Run(3, _)));
        pool.ended(Outcome::Done, 0, true);
        assert!(matches!(ask(&mut pool, false).0, Next::Sleep));
        assert!(matches!(pool.push(4, 0), Call::Wake(_)));
        assert_eq!((pool.workers(), pool.counts.done, pool.counts.running), (2, 2, 1));
    }

    #[test]
    fn a_burst_wakes_one_sleeper_which_wakes_the_next() {
        let mut pool = Pool::new(2, 9);
        let _ = (pool.push(1, 0), pool.push(2, 0));
        let _ = (ask(&mut pool, false), ask(&mut pool, false));
        for _ in 0..2 {
            pool.ended(Outcome::Done, 0, true);
            let _ = ask(&mut pool, false);
        }
        assert_eq!(pool.idle(), 2);
        assert!(matches!(pool.push(3, 0), Call::Wake(_)));
        assert!(matches!(pool.push(4, 0), Call::Nobody));
        assert!(matches!(ask(&mut pool, false).0, Next::Run(3, Call::Wake(_))));
        assert!(matches!(ask(&mut pool, false).0, Next::Run(4, Call::Nobody)));
    }

    #[test]
    fn a_blocked_worker_is_replaced_and_the_extra_one_leaves() {
        let mut pool = Pool::new(1, 9);
        let _ = pool.push(1, 0);
        let _ = ask(&mut pool, false);
        assert!(matches!(pool.push(2, 0), Call::Nobody));
        assert!(matches!(pool.block(), Call::Start { extra: true }));
        assert!(matches!(ask(&mut pool, true).0, Next::Run(2, _)));
        pool.ended(Outcome::Done, 0, true);
        pool.unblock();
        assert!(matches!(ask(&mut pool, true).0, Next::Leave(_)));
        assert_eq!((pool.workers(), pool.extras), (1, 0));
    }

    #[test]
    fn a_closed_pool_ends_its_work_first() {
        let (mut pool, mut wakes) = (Pool::new(1, 9), Wakes::default());
        let _ = pool.push(1, 0);
        pool.close(&mut wakes);
        assert_eq!(pool.refusal(), Some(Refusal::Closed));
        assert!(matches!(ask(&mut pool, false).0, Next::Run(1, _)));
        pool.ended(Outcome::Failed, 0, true);
        assert!(matches!(ask(&mut pool, false).0, Next::Leave(_)));
        assert_eq!((pool.workers(), pool.counts.failed), (0, 1));
    }

    #[test]
    fn an_extra_sleeper_gives_up_unless_it_was_called() {
        let (mut pool, mut wakes) = (Pool::new(1, 9), Wakes::default());
        let _ = (pool.push(1, 0), ask(&mut pool, false), pool.push(2, 0), pool.block());
        let _ = ask(&mut pool, true);
        pool.ended(Outcome::Done, 0, true);
        let (next, waiter) = ask(&mut pool, true);
        assert!(matches!(next, Next::Sleep));
        assert!(pool.give_up(&waiter, true, &mut wakes));
        assert_eq!((pool.workers(), pool.idle()), (1, 0));
    }

    #[test]
    fn busy_time_counts_what_runs() {
        let mut pool = Pool::new(1, 9);
        let _ = pool.push(1, 0);
        let _ = pool.next(false, true, 100, &Waiter::thread(1, 0), &mut Wakes::default());
        assert_eq!(pool.busy(250), 150);
        pool.run_time.record(150);
        pool.ended(Outcome::Done, 100, true);
        assert_eq!(pool.busy(900), 150);
    }
}
