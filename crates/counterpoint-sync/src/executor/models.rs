//! Every interleaving, within loom's bounds, of workers, submitters, waiters and cancellations.

use super::collector::{CollectorState, Ready};
use super::future::{Cancel, Done, FutureState, Phase};
use super::pool::{Call, Next, Outcome, PoolState, Room};
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
}

impl World {
    fn new(limit: usize, max_pending: usize) -> Arc<Self> {
        let pool = Guarded::new(PoolState::new(limit, max_pending));
        Arc::new(Self { pool, ran: AtomicUsize::new(0), started: Default::default() })
    }

    fn carry_out(self: &Arc<Self>, call: Call<Task>) {
        match call {
            Call::Nobody => {}
            Call::Wake(waiter) => assert!(waiter.wake()),
            Call::Start { extra } => {
                let world = self.clone();
                let worker = thread::spawn(move || world.work(extra));
                self.started.lock().unwrap().push(worker);
            }
        }
    }

    fn push(self: &Arc<Self>, task: usize) {
        let call = self.pool.with(|pool| pool.push(task, 0));
        self.carry_out(call);
    }

    fn work(self: &Arc<Self>, extra: bool) {
        let mut arriving = true;
        loop {
            let waiter = Waiter::thread(1, 0);
            let next =
                self.pool.change(|pool, wakes| pool.next(extra, arriving, 0, &waiter, wakes));
            match next {
                Next::Run(task, call) => {
                    self.carry_out(call);
                    self.run(task);
                    self.pool.with(|pool| pool.ended(Outcome::Done, 0, true));
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
    fn run(self: &Arc<Self>, task: usize) {
        if task == 9 {
            self.push(1);
            let call = self.pool.with(PoolState::block);
            self.carry_out(call);
            while self.ran.load(SeqCst) == 0 {
                thread::yield_now();
            }
            self.pool.with(PoolState::unblock);
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
fn room_is_waited_for_and_a_closed_pool_lets_nobody_wait() {
    loom::model(|| {
        let world = World::new(1, 1);
        world.push(1);
        let other = world.clone();
        let submitter = thread::spawn(move || block_on(&other.pool, Room::default()));
        world.end(1);
        submitter.join().unwrap();
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
