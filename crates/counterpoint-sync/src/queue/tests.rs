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
    fn a_lowered_bound_is_kept_by_the_next_put_that_drops() {
        let queue = Locked::new(Fifo::default(), Some(5), Overflow::DropOldest);
        (0..5).for_each(|item| queue.put(item).unwrap());
        queue.act(|state, wakes| state.set_limit(Some(2), wakes));
        assert_eq!(try_put(&queue, 5), (Ok(()), vec![0, 1, 2, 3]));
        assert_eq!((items(&queue), queue.with(|state| state.unfinished())), (vec![4, 5], 2));
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

    /// Checks the store out for a put of 0 in thread 7.
    fn comparing(queue: &Locked<Priority<i32>>) -> (Priority<i32>, Ranked<i32>) {
        let ended = queue.run(Put::new(0.into(), Caller::new(7, true)));
        assert_eq!(ended.verdict, Err(Denied::Undecided));
        (queue.with(|state| state.check_out()), ended.item.unwrap())
    }

    fn check_in(queue: &Locked<Priority<i32>>, store: Priority<i32>, change: Change) {
        assert!(queue.act(|state, wakes| state.check_in(store, change, wakes)).is_none());
    }

    #[test]
    fn the_counters_are_those_before_while_somebody_compares() {
        let queue = Locked::new(Priority::<i32>::default(), None, Overflow::Block);
        (4..7).for_each(|item| queue.put(item).unwrap());
        assert!(queue.get().is_ok());
        let before = queue.with(|state| state.counters());
        assert_eq!((before.puts, before.gets, before.unfinished), (3, 1, 3));
        let (mut store, item) = comparing(&queue);
        for within in 8..10 {
            assert!(queue.with(|state| state.put_in_inbox(within.into())).is_ok());
            assert_eq!(queue.with(|state| state.counters()), before);
        }
        let mut put = 0;
        let mut next = Some(item);
        while let Some(item) = next {
            assert!(store.push_by(item, |a, b| Ok::<_, ()>(a < b)).is_ok());
            put += 1;
            next = queue.with(|state| state.next_in_inbox(&store));
            assert_eq!(queue.with(|state| state.counters()), before);
        }
        check_in(&queue, store, Change { put, ..Change::default() });
        let after = queue.with(|state| state.counters());
        assert_eq!((after.puts, after.gets, after.unfinished, after.longest), (6, 1, 6, 5));
    }

    #[test]
    fn an_item_that_is_being_put_takes_up_room() {
        let queue = Locked::new(Priority::<i32>::default(), Some(2), Overflow::Block);
        queue.put(5).unwrap();
        let _ = comparing(&queue);
        let refused = queue.with(|state| state.put_in_inbox(3.into()));
        assert!(matches!(refused, Err((Denied::Full, _))));
    }

    #[test]
    fn a_bound_that_is_lowered_meanwhile_throws_away_nothing_that_was_to_block() {
        for (overflow, drops) in [(Overflow::Block, false), (Overflow::DropOldest, true)] {
            let queue = Locked::new(Priority::<i32>::stable(), Some(9), overflow);
            (4..7).for_each(|item| queue.put(item).unwrap());
            let _ = comparing(&queue);
            queue.act(|state, wakes| state.set_limit(Some(2), wakes));
            assert_eq!(queue.with(|state| state.drops_oldest_of(4)), drops);
        }
    }

    #[test]
    fn one_who_waited_for_the_store_lets_the_next_one_try() {
        let queue = Locked::new(Priority::<i32>::default(), None, Overflow::Block);
        (4..7).for_each(|item| queue.put(item).unwrap());
        let (mut store, item) = comparing(&queue);
        let attempt = |wait: &mut Wait<Get<(), _>>| {
            wait.attempt(&*queue, || 1, |since| Waiter::thread(1, since))
        };
        let mut waits = [0; 3].map(|_| Wait::new(Get::new(Caller::new(1, true))));
        for wait in &mut waits {
            assert!(matches!(attempt(wait), Attempt::Pending(_)));
        }
        let waiting = || queue.with(|state| state.waiting().count());
        // At the end, where the next get meets it.
        assert!(store.push_by(item, |_, _| Ok::<_, ()>(false)).is_ok());
        check_in(&queue, store, Change { put: 1, ..Change::default() });
        assert_eq!(waiting(), 2);
        // The first gives up, the second compares again, and the third has to wait for that.
        let [first, second, _third] = &mut waits;
        first.abandon(&*queue, || 2);
        assert_eq!(waiting(), 1);
        assert!(matches!(attempt(second), Attempt::Done(Err(Denied::Undecided))));
        let store = queue.with(|state| state.check_out());
        assert_eq!(waiting(), 1);
        check_in(&queue, store, Change::default());
        assert_eq!(waiting(), 0);
    }

    /// Under an interpreter lock a producer cannot have run yet when a consumer has got all there
    /// is at once; that does not mean that the consumer came to wait for it.
    #[test]
    fn one_who_got_several_has_not_stalled() {
        let queue = fifo(2);
        queue.with(|state| state.let_doze());
        for _ in 0..9 {
            (0..2).for_each(|n| queue.put(n).unwrap());
            let mut put = Wait::new(Put::new(9, Caller::new(1, true)));
            assert!(matches!(
                put.attempt(&*queue, || 1, |since| Waiter::thread(1, since)),
                Attempt::Pending(_)
            ));
            let got = queue.run(GetMany::new(9, Caller::new(2, true)));
            assert_eq!(got.map(|got| got.items), Ok(vec![0, 1]));
            assert!(put.expire(&*queue, || 1).is_some());
            assert!(!queue.with(|state| state.rare_mut().put_doze.is_on()));
            assert_eq!(queue.get(), Ok(9));
        }
    }

    #[test]
    fn a_task_that_joins_needs_one_moment_and_a_thread_the_present() {
        let queue = fifo(9);
        queue.put(0).unwrap();
        let join = |source| {
            let mut wait = Wait::new(source);
            let attempt = wait.attempt(&*queue, || 1, |since| Waiter::thread(1, since));
            assert!(matches!(attempt, Attempt::Pending(_)));
            wait
        };
        let (mut task, mut thread) = (join(Join::of_task()), join(Join::default()));
        assert!(queue.act(|state, wakes| state.task_done(wakes)));
        queue.put(1).unwrap();
        assert_eq!(task.expire(&*queue, || 1), Some(Ok(())));
        assert_eq!(thread.expire(&*queue, || 1), None);
        // One that comes now has to wait.
        let _ = join(Join::of_task());
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
mod dozing;
#[cfg(loom)]
mod models;
