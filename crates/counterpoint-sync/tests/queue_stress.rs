//! Real threads on one queue: no item lost or doubled, the order of each producer kept, nobody
//! left asleep. Also run under ThreadSanitizer.
#![cfg(not(loom))]

use counterpoint_sync::Arc;
use counterpoint_sync::clock;
use counterpoint_sync::queue::{
    Caller, Counters, Denied, Fifo, Get, GetMany, Join, Overflow, Put, QueueState, blocks::Blocks,
};
use counterpoint_sync::wait::{Attempt, Shared, Source, Wait, deliver};
use counterpoint_sync::waiter::{Notify, Parked, Waiter, Wakes};
use std::sync::Mutex;
use std::thread;

struct Nobody;

impl Notify for Nobody {
    fn notify(&self) -> bool {
        true
    }
}

type Item = (u32, u32);
type State = QueueState<Nobody, Fifo<Item>>;

struct Queue(Mutex<State>);

impl Shared for Queue {
    type State = State;

    fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

impl Queue {
    fn new(limit: Option<usize>) -> Self {
        Self(Mutex::new(QueueState::new(Fifo(Blocks::default()), limit, Overflow::Block)))
    }

    /// `None`: the deadline passed.
    fn run<O: Source<State = State>>(&self, source: O, deadline: Option<u64>) -> Option<O::Output> {
        let mut wait = Wait::new(source);
        loop {
            let make = |since| Waiter::thread(1, since);
            match wait.attempt(self, clock::now, make) {
                Attempt::Done(output) => return Some(output),
                Attempt::Pending(waiter) => match waiter.park(deadline) {
                    Parked::TimedOut => return wait.expire(self, clock::now),
                    Parked::Woken | Parked::Interrupted => {}
                },
            }
        }
    }

    fn put(&self, item: Item) -> Result<(), Denied> {
        self.run(Put::new(item, Caller::new(1, true)), None).unwrap().verdict
    }

    fn get(&self) -> Result<Item, Denied> {
        self.run(Get::new(Caller::new(1, true)), None).unwrap()
    }

    fn act<R>(&self, f: impl FnOnce(&mut State, &mut Wakes<Nobody>) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = self.with(|state| f(state, &mut wakes));
        deliver(self, wakes);
        result
    }

    fn shut_down(&self) {
        drop(self.act(|state, wakes| state.shut_down(false, wakes)));
    }
}

const PRODUCERS: u32 = 4;
const EACH: u32 = 5_000;

fn producers(queue: &Arc<Queue>) -> Vec<thread::JoinHandle<()>> {
    let start = |producer| {
        let queue = queue.clone();
        thread::spawn(move || (0..EACH).for_each(|n| queue.put((producer, n)).unwrap()))
    };
    (0..PRODUCERS).map(start).collect()
}

/// Each consumer saw each producer's items in order, and together they saw all, once.
fn check(seen: Vec<Vec<Item>>) {
    let mut all = Vec::new();
    for items in seen {
        for producer in 0..PRODUCERS {
            assert!(items.iter().filter(|item| item.0 == producer).is_sorted());
        }
        all.extend(items);
    }
    all.sort();
    let expected: Vec<Item> =
        (0..PRODUCERS).flat_map(|producer| (0..EACH).map(move |n| (producer, n))).collect();
    assert!(all == expected, "{} of {} items", all.len(), expected.len());
}

fn consume(queue: &Arc<Queue>, get: fn(&Queue) -> Result<Vec<Item>, Denied>) {
    let start = |_| {
        let queue = queue.clone();
        thread::spawn(move || {
            let mut seen = Vec::new();
            while let Ok(items) = get(&queue) {
                items.iter().for_each(|_| assert!(queue.act(|s, wakes| s.task_done(wakes))));
                seen.extend(items);
            }
            seen
        })
    };
    let consumers: Vec<_> = (0..4).map(start).collect();
    producers(queue).into_iter().for_each(|producer| producer.join().unwrap());
    assert_eq!(queue.run(Join::default(), None), Some(Ok(())));
    queue.shut_down();
    check(consumers.into_iter().map(|consumer| consumer.join().unwrap()).collect());
    let Counters { puts, gets, unfinished, getters, putters, .. } = queue.with(|s| s.counters());
    assert_eq!((puts, gets), (u64::from(PRODUCERS * EACH), u64::from(PRODUCERS * EACH)));
    assert_eq!((unfinished, getters, putters), (0, 0, 0));
}

#[test]
fn one_at_a_time_through_a_narrow_queue() {
    for limit in [Some(1), Some(3), None] {
        consume(&Arc::new(Queue::new(limit)), |queue| queue.get().map(|item| vec![item]));
    }
}

#[test]
fn many_at_a_time() {
    let get = |queue: &Queue| {
        let got = queue.run(GetMany::new(7, Caller::new(1, true)), None).unwrap();
        got.map(|got| got.items)
    };
    consume(&Arc::new(Queue::new(Some(16))), get);
}

/// Consumers whose waits keep ending, by timeout or by being abandoned, just as items arrive.
#[test]
fn impatient_consumers_lose_nothing() {
    fn get(queue: &Queue) -> Result<Vec<Item>, Denied> {
        let now = clock::now();
        if now & 64 == 0 {
            let source = Get::new(Caller::new(1, true));
            return match queue.run(source, Some(now + now % 20_000)) {
                Some(item) => item.map(|item| vec![item]),
                None => Ok(Vec::new()),
            };
        }
        let mut wait = Wait::new(Get::new(Caller::new(1, true)));
        match wait.attempt(queue, clock::now, |since| Waiter::thread(1, since)) {
            Attempt::Done(item) => item.map(|item| vec![item]),
            Attempt::Pending(_) => {
                wait.abandon(queue, clock::now);
                Ok(Vec::new())
            }
        }
    }
    consume(&Arc::new(Queue::new(Some(2))), get);
}
