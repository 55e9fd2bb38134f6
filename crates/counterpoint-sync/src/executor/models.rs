//! Every interleaving, within loom's bounds, of workers, submitters, waiters and cancellations.

use super::collector::{CollectorState, Ready};
use super::future::{Cancel, Done, FutureState, Phase};
use super::pool::{Admission, Call, Member, Next, Outcome, PoolState, Room};
use super::timers::{Alarm, Tick, TimerState};
use crate::door::Mutex;
use crate::wait::{Attempt, Shared, Source, State, Wait, deliver};
use crate::waiter::{Notify, Waiter, Wakes};
use loom::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use loom::thread::{self, JoinHandle};
use std::sync::Arc;

/// Every party is a thread.
struct Task;

impl Notify for Task {
    fn notify(&self) -> bool {
        unreachable!("there are no tasks")
    }
}

/// A state behind a mutex.
struct Guarded<S>(Mutex<S>);

impl<S> Guarded<S> {
    fn new(state: S) -> Self {
        Self(Mutex::new(state))
    }
}

impl<S: State> Guarded<S> {
    fn change<R>(&self, f: impl FnOnce(&mut S, &mut Wakes<S::Notify>) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = self.with(|state| f(state, &mut wakes));
        deliver(self, wakes);
        result
    }
}

impl<S> Shared for Guarded<S> {
    type State = S;

    fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

type Pool = Guarded<PoolState<usize, Task>>;

/// What the parties of one model share.
struct World {
    pool: Pool,
    ran: AtomicUsize,
    started: Mutex<Vec<JoinHandle<()>>>,
    /// Whether the next start fails, or seems to.
    failure: Mutex<Option<Failure>>,
}

/// How a start goes wrong.
#[derive(Clone, Copy, PartialEq)]
enum Failure {
    /// There is no thread.
    NoThread,
    /// An error, and yet a thread.
    Apparent,
}

impl World {
    fn new(limit: usize, max_pending: usize) -> Arc<Self> {
        let pool = Guarded::new(PoolState::new(limit, max_pending));
        let (ran, started, failure) = (AtomicUsize::new(0), Mutex::default(), Mutex::default());
        Arc::new(Self { pool, ran, started, failure })
    }

    fn carry_out(self: &Arc<Self>, call: Call<Task>) {
        match call {
            Call::Nobody => {}
            Call::Wake(waiter) => assert!(waiter.wake()),
            Call::Start(start) => self.start(start.number),
        }
    }

    fn start(self: &Arc<Self>, number: u64) {
        let failure = self.failure.lock().unwrap().take();
        if failure != Some(Failure::NoThread) {
            let world = self.clone();
            let worker = thread::spawn(move || {
                let member = world.pool.with(|pool| pool.arrive(number));
                member.into_iter().for_each(|member| world.work(member));
            });
            self.started.lock().unwrap().push(worker);
        }
        if failure.is_some() {
            let call = self.pool.with(|pool| pool.not_started(number, true));
            self.carry_out(call);
        }
    }

    fn push(self: &Arc<Self>, task: usize) {
        let call = self.pool.with(|pool| pool.push(task, 0));
        self.carry_out(call);
    }

    fn work(self: &Arc<Self>, member: Member) {
        let mut arriving = true;
        loop {
            let waiter = Waiter::thread(1, 0);
            let next =
                self.pool.change(|pool, wakes| pool.next(member, arriving, 0, &waiter, wakes));
            arriving = false;
            match next {
                Next::Run(task, call) => {
                    self.carry_out(call);
                    self.run(member, task);
                    self.pool.with(|pool| pool.ended(member, Outcome::Done, 0));
                }
                Next::Sleep if member.is_extra() => {
                    // It has had enough at once.
                    if self.pool.change(|pool, wakes| pool.give_up(&waiter, member, wakes)) {
                        return;
                    }
                    arriving = true;
                }
                Next::Sleep => {
                    let _ = waiter.park(None);
                    arriving = true;
                }
                Next::Leave(call) => return self.carry_out(call),
            }
        }
    }

    /// Task 9 waits for a task of its own pool.
    fn run(self: &Arc<Self>, member: Member, task: usize) {
        if task == 9 {
            self.push(1);
            let call = self.pool.with(|pool| pool.block(member));
            self.carry_out(call);
            while self.ran.load(SeqCst) == 0 {
                thread::yield_now();
            }
            self.pool.with(|pool| pool.unblock(member));
        }
        self.ran.fetch_add(1, SeqCst);
    }

    /// Closes the pool, and sees everybody off.
    fn end(self: &Arc<Self>, tasks: usize) {
        self.pool.change(|pool, wakes| pool.close(wakes));
        while let Some(worker) = { self.started.lock().unwrap().pop() } {
            worker.join().unwrap();
        }
        assert_eq!(self.ran.load(SeqCst), tasks);
        self.pool.with(|pool| assert_eq!((pool.workers(), pool.queued(), pool.idle()), (0, 0, 0)));
    }

    /// Submits a task, waiting for room.
    fn submit(self: &Arc<Self>, task: usize) -> bool {
        match block_on(&self.pool, room(task)) {
            Admission::Queued(call) => {
                self.carry_out(call);
                true
            }
            Admission::Closed => false,
            Admission::Foreign => unreachable!("nobody forks"),
        }
    }
}

fn room(task: usize) -> Room<usize, Task> {
    Room::new(task, 0, |_, _| ())
}

/// Waits as a thread does.
fn block_on<O: Source>(shared: &impl Shared<State = O::State>, source: O) -> O::Output
where
    O::State: State,
{
    let mut wait = Wait::new(source);
    loop {
        match wait.attempt(shared, || 1, |since| Waiter::thread(1, since)) {
            Attempt::Done(output) => return output,
            Attempt::Pending(waiter) => drop(waiter.park(None)),
        }
    }
}

#[test]
fn every_task_runs_and_every_worker_leaves() {
    loom::model(|| {
        let world = World::new(1, 9);
        world.push(1);
        world.push(2);
        world.end(2);
    });
}

#[test]
fn two_workers_share_and_chain() {
    loom::model(|| {
        let world = World::new(2, 9);
        world.push(1);
        let other = world.clone();
        let submitter = thread::spawn(move || other.push(2));
        submitter.join().unwrap();
        world.end(2);
    });
}

#[test]
fn a_task_may_wait_for_a_task_of_its_own_full_pool() {
    loom::model(|| {
        let world = World::new(1, 9);
        world.push(9);
        world.end(2);
    });
}

#[test]
fn an_extra_worker_may_give_up_at_any_moment() {
    loom::model(|| {
        let world = World::new(1, 9);
        world.push(9);
        let other = world.clone();
        let submitter = thread::spawn(move || other.push(2));
        submitter.join().unwrap();
        world.end(3);
    });
}

#[test]
fn a_start_that_fails_loses_no_task() {
    loom::model(|| {
        let world = World::new(1, 9);
        *world.failure.lock().unwrap() = Some(Failure::NoThread);
        let other = world.clone();
        let submitter = thread::spawn(move || other.push(2));
        world.push(1);
        submitter.join().unwrap();
        world.end(2);
    });
}

#[test]
fn a_start_that_seems_to_fail_loses_no_task_and_no_worker() {
    loom::model(|| {
        let world = World::new(1, 9);
        *world.failure.lock().unwrap() = Some(Failure::Apparent);
        world.push(1);
        world.push(2);
        world.end(2);
    });
}

#[test]
fn one_that_is_long_in_starting_keeps_no_task_from_a_sleeper() {
    loom::model(|| {
        let world = World::new(2, 9);
        let Call::Start(first) = world.pool.with(|pool| pool.push(1, 0)) else { unreachable!() };
        world.start(first.number);
        // This one arrives when the third task has run, and not before.
        let slow = world.pool.with(|pool| pool.push(2, 0));
        world.push(3);
        while world.ran.load(SeqCst) < 3 {
            thread::yield_now();
        }
        world.carry_out(slow);
        world.end(3);
    });
}

#[test]
fn one_that_is_long_in_ending_its_task_keeps_none_from_a_sleeper() {
    loom::model(|| {
        let world = World::new(2, 9);
        let Call::Start(start) = world.pool.with(|pool| pool.push(7, 0)) else { unreachable!() };
        // This party is a worker, which takes the first task and never asks for another before the
        // second has run: its destructor waits for that.
        let slow = world.pool.with(|pool| pool.arrive(start.number)).unwrap();
        let waiter = Waiter::thread(1, 0);
        let next = world.pool.change(|pool, wakes| pool.next(slow, true, 0, &waiter, wakes));
        assert!(matches!(next, Next::Run(7, _)));
        world.ran.fetch_add(1, SeqCst);
        world.pool.with(|pool| pool.ended(slow, Outcome::Done, 0));
        world.push(2);
        while world.ran.load(SeqCst) < 2 {
            thread::yield_now();
        }
        world.pool.change(|pool, wakes| pool.close(wakes));
        let left = world.pool.change(|pool, wakes| pool.next(slow, false, 0, &waiter, wakes));
        assert!(matches!(left, Next::Leave(_)));
        world.end(2);
    });
}

#[test]
fn room_is_waited_for_and_a_closed_pool_lets_nobody_wait() {
    loom::model(|| {
        let world = World::new(1, 1);
        world.push(1);
        let other = world.clone();
        let submitter = thread::spawn(move || other.submit(2));
        let in_time = submitter.join().unwrap();
        assert!(in_time);
        world.end(2);
        let late = world.clone();
        assert!(!thread::spawn(move || late.submit(3)).join().unwrap());
    });
}

#[test]
fn room_that_one_gives_up_goes_to_the_other() {
    loom::model(|| {
        let world = World::new(1, 1);
        let Call::Start(start) = world.pool.with(|pool| pool.push(1, 0)) else { unreachable!() };
        // The first in line is interrupted, before it is told of the room or after.
        let mut impatient = Wait::new(room(2));
        let make = |since| Waiter::thread(1, since);
        let Attempt::Pending(_) = impatient.attempt(&world.pool, || 1, make) else {
            unreachable!("there is no room")
        };
        let other = world.clone();
        let patient = thread::spawn(move || other.submit(3));
        world.start(start.number);
        impatient.abandon(&world.pool, || 2);
        assert!(patient.join().unwrap());
        world.end(2);
    });
}

#[test]
fn the_end_of_a_future_reaches_its_waiter_and_comes_once() {
    loom::model(|| {
        let future = Arc::new(Guarded::new(FutureState::<Task>::default()));
        let (finisher, canceller) = (future.clone(), future.clone());
        let finisher = thread::spawn(move || finisher.change(FutureState::finish).is_ok());
        let canceller = thread::spawn(move || canceller.change(FutureState::cancel));
        block_on(&*future, Done::default());
        let (finished, cancelled) = (finisher.join().unwrap(), canceller.join().unwrap());
        assert_ne!(finished, cancelled == Cancel::Now);
        let phase = if finished { Phase::Finished } else { Phase::Cancelled };
        future.with(|future| assert_eq!(future.phase(), phase));
    });
}

#[test]
fn a_collector_hears_of_every_future() {
    loom::model(|| {
        let collector = Arc::new(Guarded::new(CollectorState::<u32, Task>::default()));
        let tellers: Vec<_> = (0..2)
            .map(|future| {
                let collector = collector.clone();
                thread::spawn(move || collector.change(|c, wakes| c.tell(future, false, wakes)))
            })
            .collect();
        collector.with(|collector| collector.need(2));
        block_on(&*collector, Ready::default());
        assert_eq!(collector.with(CollectorState::take).len(), 2);
        tellers.into_iter().for_each(|teller| teller.join().unwrap());
    });
}

#[test]
fn consumers_of_one_collector_each_get_what_settled_for_them() {
    loom::model(|| {
        let collector = Arc::new(Guarded::new(CollectorState::<u32, Task>::default()));
        collector.with(|collector| collector.need(1));
        let theirs = collector.clone();
        let consumer = thread::spawn(move || pop_one(&theirs));
        let theirs = collector.clone();
        let teller = thread::spawn(move || {
            (1..=2).for_each(|item| theirs.change(|c, wakes| c.tell(item, false, wakes)));
        });
        let mine = pop_one(&collector);
        assert_eq!(mine + consumer.join().unwrap(), 3);
        teller.join().unwrap();
    });
}

/// Waits for an item, as a consumer of `as_completed` does, and takes no more.
fn pop_one(collector: &Guarded<CollectorState<u32, Task>>) -> u32 {
    loop {
        if let Some(item) = collector.with(CollectorState::pop) {
            return item;
        }
        block_on(collector, Ready::default());
    }
}

#[test]
fn a_timer_is_served_by_the_thread_that_its_adding_starts_or_wakes() {
    loom::model(|| {
        let timers = Arc::new(Mutex::new(TimerState::<u32, Task>::default()));
        let served = Arc::new(AtomicUsize::new(0));
        let adders: Vec<_> = (0..2)
            .map(|item| {
                let (timers, served) = (timers.clone(), served.clone());
                thread::spawn(move || add_timer(&timers, &served, item))
            })
            .collect();
        adders.into_iter().for_each(|adder| adder.join().unwrap());
        assert_eq!(served.load(SeqCst), 2);
        assert!(timers.lock().unwrap().is_empty());
    });
}

/// Adds a timer that is due, and serves if nobody does.
fn add_timer(timers: &Mutex<TimerState<u32, Task>>, served: &AtomicUsize, item: u32) {
    let alarm = timers.lock().unwrap().add(0, item);
    match alarm {
        Alarm::Nothing => {}
        Alarm::Wake(waiter) => assert!(waiter.wake()),
        Alarm::Start => loop {
            let waiter = Waiter::thread(1, 0);
            let tick = timers.lock().unwrap().tick(1, &waiter);
            match tick {
                Tick::Due(_) => drop(served.fetch_add(1, SeqCst)),
                Tick::Sleep(_) => drop(waiter.park(None)),
                Tick::Leave => return,
            }
        },
    }
}
