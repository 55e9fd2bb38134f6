//! [`PoolState`]: which worker sleeps, which is woken, and when a new one is started.
//!
//! # Vocabulary
//!
//! *Workers* are threads that ask [`next`](PoolState::next) for tasks. One is *starting* until its
//! thread says so ([`arrive`](PoolState::arrive)), which may take as long as somebody's initializer
//! does; *idle* while it sleeps on its waiter; *arriving* from the moment it is woken, or has
//! arrived, until it asks; *blocked* while its task waits for another task of this pool.
//! The *limit* is how many may run tasks at the same time; blocked ones do not count. An *extra*
//! worker was started because others are blocked, and leaves when there are too many.
//!
//! To be arriving is a promise to ask without delay: nothing that may run foreign code (a callback,
//! a destructor, an initializer) comes between. So one that is starting promises nothing but that
//! no further one need be started, and one that ends a task promises nothing before it asks.
//!
//! # Protocol of one who submits
//!
//! Queue the task and decide, under one lock: nobody if as many workers arrive as tasks wait; a
//! new worker if even the starting and the sleeping are too few and the limit allows; otherwise a
//! sleeping one, unless one is arriving already. What was decided is done after the lock, as a
//! [`Call`].
//!
//! # A start that fails, or seems to
//!
//! Starting a thread runs foreign code, which may raise before or after there is a thread. So a start
//! has a number: the thread brings it when it arrives, and whoever sees an error takes it back with
//! [`not_started`](PoolState::not_started). Whichever comes first decides. A thread that arrives
//! after its start was taken back is admitted as if it were started now, or told to leave.
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
use crate::wait::State;
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes, fork};
use counterpoint_trace::Durations;

mod room;
mod words;

pub use room::{Admission, Opening, Room};
pub use words::{Call, Counts, Member, Next, Outcome, Refusal, Start};

/// More extra workers than this are not started: then the blocked ones wait for their turn.
pub const MOST_EXTRA: usize = 2000;

/// For so many submissions in a row the clock is not read.
const MOST_SKIPPED: usize = 31;

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
    /// Whose threads have not arrived, and whether they are known to have begun.
    starting: Vec<(Start, bool)>,
    blocked: usize,
    closed: bool,
    /// How many workers were ever started: the number of the next.
    starts: u64,
    generation: u32,
    /// How many tasks are where.
    pub counts: Counts,
    /// From submission to the first instruction of the first attempt.
    pub queue_delay: Durations,
    /// From the first instruction of an attempt to its end.
    pub run_time: Durations,
    /// The sum of the moments at which the running tasks began, modulo 2^64.
    begun: u64,
    /// When a task was last queued, and how many reused that reading of the clock since.
    stamp: (u64, usize),
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
            starting: Vec::new(),
            blocked: 0,
            closed: false,
            starts: 0,
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

    /// The time, for a task that is about to be queued. In a long queue the clock is not read for
    /// each: the others wait for at least as many tasks to run as they are late by, times eight, so
    /// that their delay is right to an eighth.
    #[inline]
    pub fn stamp(&mut self, now: impl FnOnce() -> u64) -> u64 {
        if self.tasks.len() / 8 > self.stamp.1 && self.stamp.1 < MOST_SKIPPED {
            self.stamp.1 += 1;
        } else {
            self.stamp = (now(), 0);
        }
        self.stamp.0
    }

    /// Queues a task, whatever [`refusal`](Self::refusal) says.
    #[inline(always)]
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
        let coming = self.arriving + self.starting.len() + self.idle.len();
        if self.tasks.len() > coming
            && let Some(start) = self.start()
        {
            return Call::Start(start);
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

    fn start(&mut self) -> Option<Start> {
        let extra = self.enter()?;
        self.starts += 1;
        let start = Start { number: self.starts, extra };
        self.starting.push((start, false));
        Some(start)
    }

    /// Counts one more worker if that is allowed; whether it is an extra one.
    fn enter(&mut self) -> Option<bool> {
        let plain = self.workers - self.extras;
        let extra = plain >= self.limit;
        let active = self.workers.saturating_sub(self.blocked);
        if active >= self.limit || (extra && self.extras >= MOST_EXTRA) {
            return None;
        }
        self.workers += 1;
        self.extras += usize::from(extra);
        Some(extra)
    }

    fn exit(&mut self, extra: bool) {
        self.workers = self.workers.saturating_sub(1);
        self.extras = self.extras.saturating_sub(usize::from(extra));
    }

    /// A thread that was started is about to ask. `None`: its start was taken back, and there are
    /// enough workers without it.
    pub fn arrive(&mut self, number: u64) -> Option<Member> {
        let extra = match self.take_start(number) {
            Some(start) => start.extra,
            None => self.enter()?,
        };
        self.arriving += 1;
        Some(Member { extra, generation: self.generation })
    }

    fn take_start(&mut self, number: u64) -> Option<Start> {
        let at = self.starting.iter().position(|(start, _)| start.number == number)?;
        Some(self.starting.swap_remove(at).0)
    }

    /// The thread of that start has begun, whatever else is heard: it will arrive.
    pub fn started(&mut self, number: u64) {
        self.starting
            .iter_mut()
            .filter(|(start, _)| start.number == number)
            .for_each(|(_, certain)| *certain = true);
    }

    /// Starting it raised something: takes the start back, unless its thread is known to have begun.
    pub fn start_raised(&mut self, number: u64, again: bool) -> Call<N> {
        let certain =
            self.starting.iter().any(|(start, certain)| start.number == number && *certain);
        if certain { Call::Nobody } else { self.not_started(number, again) }
    }

    /// Takes a start back, unless its thread has arrived. Others may have counted on it: the call
    /// is for them, and begins another start only if that is worth a try (`again`).
    pub fn not_started(&mut self, number: u64, again: bool) -> Call<N> {
        let Some(start) = self.take_start(number) else { return Call::Nobody };
        self.exit(start.extra);
        if again { self.call() } else { self.chain() }
    }

    /// A worker that arrives, if `arriving`, or has ended its task, asks what to do. `waiter`,
    /// unused so far, is where it would sleep.
    #[inline]
    pub fn next(
        &mut self,
        member: Member,
        arriving: bool,
        now: u64,
        waiter: &Arc<Waiter<N>>,
        wakes: &mut Wakes<N>,
    ) -> Next<T, N> {
        if !member.is_here() {
            return Next::Leave(Call::Nobody);
        }
        self.arriving = self.arriving.saturating_sub(usize::from(arriving));
        if member.extra && self.workers.saturating_sub(self.blocked) > self.limit {
            return self.leave(member);
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
            return self.leave(member);
        }
        self.idle.push(waiter.clone());
        Next::Sleep
    }

    fn leave(&mut self, member: Member) -> Next<T, N> {
        self.exit(member.extra);
        Next::Leave(self.chain())
    }

    /// A sleeping worker had enough of it; `false` if it must ask, as one that arrives: it was
    /// claimed meanwhile, or tasks wait for which nobody is on the way yet.
    #[must_use]
    pub fn give_up(
        &mut self,
        waiter: &Arc<Waiter<N>>,
        member: Member,
        wakes: &mut Wakes<N>,
    ) -> bool {
        if !waiter.cancel() {
            return false;
        }
        if let Some(at) = self.idle.iter().position(|sleeper| Arc::ptr_eq(sleeper, waiter)) {
            wakes.discard(self.idle.remove(at));
        }
        if self.tasks.len() > self.arriving {
            // Who submitted them, or began to wait for them, counted on this one.
            self.arriving += 1;
            return false;
        }
        self.exit(member.extra);
        true
    }

    /// A task of `member` that began at `begun` ended.
    #[inline]
    pub fn ended(&mut self, member: Member, outcome: Outcome, begun: u64) {
        if !member.is_here() {
            return;
        }
        self.counts.running = self.counts.running.saturating_sub(1);
        self.begun = self.begun.wrapping_sub(begun);
        match outcome {
            Outcome::Done => self.counts.done += 1,
            Outcome::Failed => self.counts.failed += 1,
            Outcome::Cancelled => self.counts.cancelled += 1,
            Outcome::Uncounted => {}
        }
    }

    /// Nanoseconds that tasks have run so far, those that run now included.
    pub fn busy(&self, now: u64) -> u64 {
        let running = (self.counts.running as u64).wrapping_mul(now).wrapping_sub(self.begun);
        // Clocks read at slightly different moments may make this a little negative.
        self.run_time.summary().total + (running as i64).max(0) as u64
    }

    /// The task of one worker begins to wait for something that this pool must do.
    pub fn block(&mut self, member: Member) -> Call<N> {
        if !member.is_here() {
            return Call::Nobody;
        }
        self.blocked += 1;
        self.call()
    }

    /// That wait is over.
    pub fn unblock(&mut self, member: Member) {
        if member.is_here() {
            self.blocked = self.blocked.saturating_sub(1);
        }
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

    /// Somebody who may have been told of room does not use it: tells the next who waits for it.
    pub fn pass_room_on(&mut self, wakes: &mut Wakes<N>) {
        if self.refusal() != Some(Refusal::Full) {
            self.room.claim_first(Claim::Permission, wakes);
        }
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
        self.starting.clear();
        (self.counts.running, self.begun) = (0, 0);
        self.generation = fork::generation();
        self.tasks.drain()
    }
}

impl<T, N: Notify> State for PoolState<T, N> {
    type Notify = N;

    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        // A permission to submit that goes unused; a refusal went to everybody.
        if waiter.claimed() == Claim::Permission {
            self.pass_room_on(wakes);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
