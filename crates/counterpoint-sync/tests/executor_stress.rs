//! The pool, futures and collectors on real threads: nothing lost, nobody left asleep.
#![cfg(not(loom))]

use counterpoint_sync::executor::collector::{CollectorState, Ready};
use counterpoint_sync::executor::future::{Done, FutureState};
use counterpoint_sync::executor::pool::{Admission, Call, Next, Outcome, PoolState, Room};
use counterpoint_sync::wait::{Attempt, Shared, Source, State, Wait, deliver};
use counterpoint_sync::waiter::{Notify, Waiter, Wakes};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

/// Every party is a thread.
struct Task;

impl Notify for Task {
    fn notify(&self) -> bool {
        unreachable!("there are no tasks")
    }
}

struct Guarded<S>(Mutex<S>);

impl<S: State> Guarded<S> {
    fn new(state: S) -> Self {
        Self(Mutex::new(state))
    }

    fn change<R>(&self, f: impl FnOnce(&mut S, &mut Wakes<S::Notify>) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = self.with(|state| f(state, &mut wakes));
        deliver(self, wakes);
        result
    }

    fn block_on<O: Source<State = S>>(&self, source: O) -> O::Output {
        let mut wait = Wait::new(source);
        loop {
            match wait.attempt(self, || 1, |since| Waiter::thread(1, since)) {
                Attempt::Done(output) => return output,
                Attempt::Pending(waiter) => drop(waiter.park(None)),
            }
        }
    }
}

impl<S> Shared for Guarded<S> {
    type State = S;

    fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

type Future = Guarded<FutureState<Task>>;

struct World {
    pool: Guarded<PoolState<Arc<Future>, Task>>,
    ran: AtomicUsize,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

impl World {
    fn new(limit: usize, max_pending: usize) -> Arc<Self> {
        let pool = Guarded::new(PoolState::new(limit, max_pending));
        Arc::new(Self { pool, ran: AtomicUsize::new(0), workers: Mutex::default() })
    }

    fn carry_out(self: &Arc<Self>, call: Call<Task>) {
        match call {
            Call::Nobody => {}
            Call::Wake(waiter) => assert!(waiter.wake()),
            Call::Start(start) => {
                let world = self.clone();
                self.workers.lock().unwrap().push(thread::spawn(move || world.work(start.number)));
            }
        }
    }

    fn submit(self: &Arc<Self>) -> Arc<Future> {
        let future = Arc::new(Guarded::new(FutureState::default()));
        match self.pool.block_on(Room::new(future.clone(), 0, |_, _| ())) {
            Admission::Queued(call) => self.carry_out(call),
            Admission::Closed | Admission::Foreign => unreachable!("it is open, and nobody forks"),
        }
        future
    }

    fn work(self: &Arc<Self>, number: u64) {
        let Some(member) = self.pool.with(|pool| pool.arrive(number)) else { return };
        let mut arriving = true;
        loop {
            let waiter = Waiter::thread(1, 0);
            let next =
                self.pool.change(|pool, wakes| pool.next(member, arriving, 0, &waiter, wakes));
            arriving = matches!(next, Next::Sleep);
            match next {
                Next::Run(future, call) => {
                    self.carry_out(call);
                    self.ran.fetch_add(1, SeqCst);
                    let _ = future.change(FutureState::finish);
                    self.pool.with(|pool| pool.ended(member, Outcome::Done, 0));
                }
                Next::Sleep => drop(waiter.park(None)),
                Next::Leave(call) => return self.carry_out(call),
            }
        }
    }

    fn end(&self) {
        self.pool.change(|pool, wakes| pool.close(wakes));
        while let Some(worker) = { self.workers.lock().unwrap().pop() } {
            worker.join().unwrap();
        }
        self.pool.with(|pool| assert_eq!((pool.workers(), pool.queued()), (0, 0)));
    }
}

fn in_threads(count: usize, f: impl Fn() + Sync) {
    thread::scope(|scope| (0..count).for_each(|_| drop(scope.spawn(&f))));
}

#[test]
fn round_trips_of_many_submitters() {
    let world = World::new(3, usize::MAX);
    in_threads(4, || {
        for _ in 0..2_000 {
            world.submit().block_on(Done::default());
        }
    });
    world.end();
    assert_eq!(world.ran.load(SeqCst), 8_000);
}

#[test]
fn bursts_through_a_bound() {
    let world = World::new(2, 5);
    in_threads(4, || {
        let futures: Vec<_> = (0..3_000).map(|_| world.submit()).collect();
        futures.iter().for_each(|future| future.block_on(Done::default()));
    });
    world.end();
    assert_eq!(world.ran.load(SeqCst), 12_000);
}

#[test]
fn a_collector_is_told_by_many() {
    for _ in 0..300 {
        let collector = Guarded::new(CollectorState::<u32, Task>::default());
        collector.with(|collector| collector.need(40));
        thread::scope(|scope| {
            for teller in 0..4 {
                let collector = &collector;
                scope.spawn(move || {
                    (0..10).for_each(|n| {
                        collector.change(|c, wakes| c.tell(teller * 10 + n, false, wakes));
                    });
                });
            }
            collector.block_on(Ready::default());
        });
        assert_eq!(collector.with(CollectorState::take).len(), 40);
    }
}
