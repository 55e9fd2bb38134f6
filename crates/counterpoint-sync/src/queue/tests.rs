//! The queue's operations in one thread, and (under `--cfg loom`) in every interleaving of two
//! or three.

use super::*;
use crate::door::Arc;
use crate::wait::{Attempt, Shared, Source, Wait, deliver};
use crate::waiter::{Parked, Waiter, Wakes};

#[cfg(loom)]
use loom::sync::Mutex;
#[cfg(not(loom))]
use std::sync::Mutex;

type State<S> = QueueState<(), S>;

impl crate::waiter::Notify for () {
    fn notify(&self) -> bool {
        true
    }
}

/// Zero cannot be compared.
impl Comparable for i32 {
    fn less(&self, other: &Self) -> Result<bool, Undecided> {
        if *self == 0 || *other == 0 { Err(Undecided) } else { Ok(self < other) }
    }
}

struct Locked<S: Store>(Mutex<State<S>>);

impl<S: Store> Shared for Locked<S> {
    type State = State<S>;

    fn with<R>(&self, f: impl FnOnce(&mut State<S>) -> R) -> R {
        f(&mut self.0.lock().unwrap())
    }
}

impl<S: Store> Locked<S> {
    fn new(store: S, limit: Option<usize>, overflow: Overflow) -> Arc<Self> {
        Arc::new(Self(Mutex::new(QueueState::new(store, limit, overflow))))
    }

    fn act<R>(&self, f: impl FnOnce(&mut State<S>, &mut Wakes<()>) -> R) -> R {
        let mut wakes = Wakes::default();
        let result = self.with(|state| f(state, &mut wakes));
        deliver(self, wakes);
        result
    }

    fn run<O: Source<State = State<S>>>(&self, source: O) -> O::Output {
        let mut wait = Wait::new(source);
        loop {
            match wait.attempt(self, || 1, |since| Waiter::thread(1, since)) {
                Attempt::Done(output) => return output,
                Attempt::Pending(waiter) => assert_eq!(waiter.park(None), Parked::Woken),
            }
        }
    }

    fn put(&self, item: S::Object) -> Result<(), Denied> {
        self.run(Put::new(item.into(), Caller::new(1, true))).verdict
    }

    fn get(&self) -> Result<S::Item, Denied> {
        self.run(Get::new(Caller::new(1, true)))
    }

    fn try_get(&self) -> Result<S::Item, Denied> {
        self.run(Get::new(Caller::new(1, false)))
    }
}

type Numbers = Fifo<u32>;

fn fifo(limit: usize) -> Arc<Locked<Numbers>> {
    Locked::new(Fifo::default(), Some(limit), Overflow::Block)
}

#[cfg(not(loom))]
mod sequential {
    use super::*;

    fn items(queue: &Locked<Numbers>) -> Vec<u32> {
        queue.with(|state| state.store().0.iter().copied().collect())
    }

    fn try_put(queue: &Locked<Numbers>, item: u32) -> (Result<(), Denied>, Vec<u32>) {
        let ended = queue.run(Put::new(item, Caller::new(1, false)));
        (ended.verdict, ended.dropped.iter().copied().collect())
    }

    #[test]
    fn fast_paths_only_when_nothing_else_is_to_do() {
        let queue = fifo(2);
        assert!((1..=2).all(|n| queue.with(|state| state.put_fast(n)).is_ok()));
        assert_eq!(queue.with(|state| state.put_fast(3)), Err(3));
        assert_eq!(queue.with(|state| state.get_fast()), Some(1));
        assert!(queue.act(|state, wakes| state.shut_down(false, wakes)).is_none());
        assert_eq!(queue.with(|state| state.put_fast(3)), Err(3));
        assert_eq!(queue.with(|state| state.get_fast()), Some(2));
        assert_eq!(queue.with(|state| state.get_fast()), None);
    }

    #[test]
    fn each_overflow_policy_does_what_it_says() {
        let cases = [
            (Overflow::Block, Err(Denied::Full), vec![], vec![1, 2]),
            (Overflow::Raise, Err(Denied::Full), vec![], vec![1, 2]),
            (Overflow::DropNewest, Ok(()), vec![3], vec![1, 2]),
            (Overflow::DropOldest, Ok(()), vec![1], vec![2, 3]),
        ];
        for (overflow, output, dropped, left) in cases {
            let queue = Locked::new(Fifo::default(), Some(2), overflow);
            assert_eq!(try_put(&queue, 1), (Ok(()), vec![]));
            assert_eq!(try_put(&queue, 2), (Ok(()), vec![]));
            assert_eq!(try_put(&queue, 3), (output, dropped));
            assert_eq!((items(&queue), queue.with(|state| state.unfinished())), (left, 2));
        }
    }

    #[test]
    fn shutting_down_drains_or_empties() {
        for immediate in [false, true] {
            let queue = fifo(5);
            (0..2).for_each(|n| queue.put(n).unwrap());
            let left = queue.act(|state, wakes| state.shut_down(immediate, wakes));
            assert_eq!(left.map(|store| store.len()), immediate.then_some(2));
            assert_eq!(queue.put(9), Err(Denied::ShutDown));
            if !immediate {
                assert_eq!((queue.get(), queue.get()), (Ok(0), Ok(1)));
            }
            assert_eq!(
                (queue.get(), queue.try_get()),
                (Err(Denied::ShutDown), Err(Denied::ShutDown))
            );
            let unfinished = if immediate { 0 } else { 2 };
            assert_eq!(queue.with(|state| state.unfinished()), unfinished);
        }
    }

    #[test]
    fn counts_what_happens() {
        let queue = fifo(9);
        (0..4).for_each(|n| queue.put(n).unwrap());
        (0..3).for_each(|n| assert_eq!(queue.get(), Ok(n)));
        assert!(queue.act(|state, wakes| state.task_done(wakes)));
        let counters = queue.with(|state| state.counters());
        assert_eq!((counters.puts, counters.gets, counters.unfinished), (4, 3, 3));
        assert_eq!((counters.longest, counters.getters, counters.putters), (4, 0, 0));
        assert!((0..3).all(|_| queue.act(|state, wakes| state.task_done(wakes))));
        assert!(!queue.act(|state, wakes| state.task_done(wakes)));
        assert_eq!(queue.run(Join::default()), Ok(()));
    }

    #[test]
    fn many_at_a_time_in_order() {
        let queue = Locked::new(Fifo::default(), Some(5), Overflow::DropOldest);
        let mut items = blocks::Blocks::default();
        (0..7).for_each(|n| items.push_back(n));
        let ended = queue.run(Put::many(items, Caller::new(1, true)));
        assert_eq!((ended.verdict, ended.items.len(), ended.dropped.len()), (Ok(()), 0, 2));
        let get = |most| queue.run(GetMany::new(most, Caller::new(1, true))).map(|got| got.items);
        assert_eq!(get(3), Ok(vec![2, 3, 4]));
        assert_eq!(queue.run(Peek::new(1)), Ok(5));
        assert_eq!(get(9), Ok(vec![5, 6]));
        assert_eq!(queue.run(Peek::new(1)), Err(Denied::Empty));
    }

    #[test]
    fn room_that_appears_is_offered_at_once() {
        let queue = fifo(1);
        queue.put(0).unwrap();
        let mut waits: Vec<_> =
            (1..4).map(|n| Wait::new(Put::new(n, Caller::new(1, true)))).collect();
        for wait in &mut waits {
            let attempt = wait.attempt(&*queue, || 1, |since| Waiter::thread(1, since));
            assert!(matches!(attempt, Attempt::Pending(_)));
        }
        queue.act(|state, wakes| state.set_limit(Some(3), wakes));
        let outcome: Vec<bool> =
            waits.iter_mut().map(|wait| wait.expire(&*queue, || 1).is_some()).collect();
        assert_eq!((outcome, items(&queue)), (vec![true, true, false], vec![0, 1, 2]));
    }

    #[test]
    fn undecided_items_are_compared_outside() {
        let queue = Locked::new(Priority::<i32>::default(), None, Overflow::Block);
        queue.put(5).unwrap();
        let mut ended = queue.run(Put::new(0.into(), Caller::new(7, true)));
        assert_eq!(ended.verdict, Err(Denied::Undecided));
        assert!(queue.with(|state| state.is_busy_with(7) && !state.is_busy_with(8)));
        let mut store = queue.with(|state| state.check_out());
        // From within the comparison.
        assert!(queue.with(|state| state.put_in_inbox(3.into())).is_ok());
        assert_eq!(queue.with(|state| state.len()), 2);
        let mut put = 0;
        while let Some(item) =
            ended.item.take().or_else(|| queue.with(|state| state.next_in_inbox(&store)))
        {
            assert!(store.push_by(item, |a, b| Ok::<_, ()>(a < b)).is_ok());
            put += 1;
        }
        let change = Change { put, ..Change::default() };
        assert!(queue.act(|state, wakes| state.check_in(store, change, wakes)).is_none());
        let counters = queue.with(|state| state.counters());
        assert_eq!((counters.puts, counters.unfinished), (3, 3));
        assert_eq!(queue.get().map(|ranked| ranked.item), Ok(0));
    }

    #[test]
    fn items_can_move_elsewhere() {
        let queue = fifo(3);
        queue.put(1).unwrap();
        let (store, counters) = queue.run(Emigrate::new()).unwrap();
        assert_eq!((store.len(), counters.puts), (1, 1));
        assert_eq!((queue.put(2), queue.get()), (Err(Denied::Foreign), Err(Denied::Foreign)));
        assert_eq!(queue.run(Join::default()), Err(Denied::Foreign));
    }
}

#[cfg(loom)]
mod models {
    use super::*;
    use loom::thread::{JoinHandle, spawn};

    fn check(model: impl Fn() + Send + Sync + 'static) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(Some(3));
        builder.check(model);
    }

    fn go<R: 'static>(
        queue: &Arc<Locked<Numbers>>,
        f: impl FnOnce(&Locked<Numbers>) -> R + 'static,
    ) -> JoinHandle<R> {
        let queue = queue.clone();
        spawn(move || f(&queue))
    }

    #[test]
    fn a_getter_that_sleeps_is_woken() {
        check(|| {
            let queue = fifo(9);
            let getter = go(&queue, |queue| queue.get());
            queue.put(1).unwrap();
            assert_eq!(getter.join().unwrap(), Ok(1));
        });
    }

    #[test]
    fn a_putter_that_sleeps_is_woken_and_the_order_kept() {
        check(|| {
            let queue = fifo(1);
            let putter = go(&queue, |queue| (1..=3).for_each(|n| queue.put(n).unwrap()));
            assert_eq!([queue.get(), queue.get(), queue.get()], [Ok(1), Ok(2), Ok(3)]);
            putter.join().unwrap();
        });
    }

    #[test]
    fn two_getters_share_two_items() {
        check(|| {
            let queue = fifo(9);
            let getters = [go(&queue, |queue| queue.get()), go(&queue, |queue| queue.get())];
            queue.put(1).unwrap();
            queue.put(2).unwrap();
            let mut got = getters.map(|getter| getter.join().unwrap().unwrap());
            got.sort();
            assert_eq!(got, [1, 2]);
        });
    }

    /// One getter gives up while an item arrives; the other must have it.
    #[test]
    fn an_abandoned_get_passes_its_permission_on() {
        check(|| {
            let queue = fifo(9);
            let quitter = go(&queue, |queue| {
                let mut wait = Wait::new(Get::new(Caller::new(1, true)));
                match wait.attempt(queue, || 1, |since| Waiter::thread(1, since)) {
                    Attempt::Done(got) => Some(got.unwrap()),
                    Attempt::Pending(_) => {
                        wait.abandon(queue);
                        None
                    }
                }
            });
            let getter = go(&queue, |queue| queue.get());
            queue.put(1).unwrap();
            if quitter.join().unwrap().is_some() {
                queue.put(1).unwrap();
            }
            assert_eq!(getter.join().unwrap(), Ok(1));
        });
    }

    /// A put that times out is in the queue or has its item, never both or neither.
    #[test]
    fn an_expired_put_is_in_or_out() {
        check(|| {
            let queue = fifo(1);
            queue.put(1).unwrap();
            let putter = go(&queue, |queue| {
                let mut wait = Wait::new(Put::new(2, Caller::new(1, true)));
                match wait.attempt(queue, || 1, |since| Waiter::thread(1, since)) {
                    Attempt::Done(put) => put.verdict.is_ok(),
                    Attempt::Pending(_) => {
                        let put = wait.expire(queue, || 1).is_some();
                        assert_eq!(put, wait.source.end(Ok(())).item.is_none());
                        put
                    }
                }
            });
            assert_eq!(queue.get(), Ok(1));
            let put = putter.join().unwrap();
            assert_eq!(queue.try_get(), if put { Ok(2) } else { Err(Denied::Empty) });
        });
    }

    #[test]
    fn shutting_down_wakes_getter_and_putter() {
        check(|| {
            let queue = fifo(1);
            let getter = go(&queue, |queue| (queue.get(), queue.get()));
            let putter = go(&queue, |queue| (queue.put(1), queue.put(2)));
            drop(queue.act(|state, wakes| state.shut_down(false, wakes)));
            let (puts, gets) = (putter.join().unwrap(), getter.join().unwrap());
            assert_eq!([puts.0.is_ok(), puts.1.is_ok()], [gets.0.is_ok(), gets.1.is_ok()]);
        });
    }

    #[test]
    fn a_joiner_hears_of_the_last_task() {
        check(|| {
            let queue = fifo(9);
            queue.put(1).unwrap();
            queue.put(2).unwrap();
            let done = |queue: &Locked<Numbers>| {
                queue.get().unwrap();
                assert!(queue.act(|state, wakes| state.task_done(wakes)));
            };
            let workers = [go(&queue, done), go(&queue, done)];
            assert_eq!(queue.run(Join::default()), Ok(()));
            assert_eq!(queue.with(|state| state.len()), 0);
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        });
    }

    /// While one compares outside, another one's get waits for the store, and a permission that
    /// is given up in that time is not lost.
    #[test]
    fn nobody_misses_a_store_that_comes_back() {
        check(|| {
            let queue = Locked::new(Priority::<i32>::default(), None, Overflow::Block);
            queue.put(5).unwrap();
            let busy = queue.clone();
            let putter = spawn(move || {
                let ended = busy.run(Put::new(0.into(), Caller::new(7, true)));
                if ended.verdict == Ok(()) {
                    return;
                }
                let mut store = busy.with(|state| state.check_out());
                let item = ended.item.unwrap();
                assert!(store.push_by(item, |a, b| Ok::<_, ()>(a < b)).is_ok());
                let change = Change { put: 1, ..Change::default() };
                assert!(busy.act(|state, wakes| state.check_in(store, change, wakes)).is_none());
            });
            let got = queue.get().map(|ranked| ranked.item);
            putter.join().unwrap();
            let left = queue.try_get().map(|ranked| ranked.item);
            assert!([(Ok(0), Ok(5)), (Ok(5), Ok(0))].contains(&(got, left)));
        });
    }

    #[test]
    fn those_who_wait_are_sent_to_where_the_items_went() {
        check(|| {
            let queue = fifo(9);
            let getter = go(&queue, |queue| queue.get());
            let (store, _) = queue.run(Emigrate::new()).unwrap();
            assert_eq!((getter.join().unwrap(), store.len()), (Err(Denied::Foreign), 0));
        });
    }
}
