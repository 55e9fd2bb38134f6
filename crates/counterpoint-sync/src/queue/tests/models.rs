//! Every interleaving of two or three who use a queue.

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
                    wait.abandon(queue, || 2);
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

type Compared = Locked<Priority<i32>>;

fn priority() -> Arc<Compared> {
    let queue = Locked::new(Priority::<i32>::default(), None, Overflow::Block);
    queue.put(5).unwrap();
    queue
}

fn aside<R: 'static>(
    queue: &Arc<Compared>,
    f: impl FnOnce(&Compared) -> R + 'static,
) -> JoinHandle<R> {
    let queue = queue.clone();
    spawn(move || f(&queue))
}

/// Puts 0, which is compared outside if there is anything to compare it with; whether it is in.
fn put_compared(queue: &Compared) -> bool {
    let ended = queue.run(Put::new(0.into(), Caller::new(7, true)));
    if ended.verdict != Err(Denied::Undecided) {
        return ended.verdict.is_ok();
    }
    let mut store = queue.with(|state| state.check_out());
    assert!(store.push_by(ended.item.unwrap(), |a, b| Ok::<_, ()>(a < b)).is_ok());
    let change = Change { put: 1, ..Change::default() };
    drop(queue.act(|state, wakes| state.check_in(store, change, wakes)));
    true
}

fn number(got: Result<Ranked<i32>, Denied>) -> Result<i32, Denied> {
    got.map(|ranked| ranked.item)
}

/// While one compares outside, another one's get waits for the store, and a permission that
/// is given up in that time is not lost.
#[test]
fn nobody_misses_a_store_that_comes_back() {
    check(|| {
        let queue = priority();
        let putter = aside(&queue, put_compared);
        let got = number(queue.get());
        assert!(putter.join().unwrap());
        let left = number(queue.try_get());
        assert!([(Ok(0), Ok(5)), (Ok(5), Ok(0))].contains(&(got, left)));
    });
}

/// Of those who wait for the store one may try, and lets the next one try: with an item for each,
/// and one who only looks, all come to an end.
#[test]
fn all_who_wait_for_the_store_get_it_in_turn() {
    check(|| {
        let queue = priority();
        let others = [(); 2].map(|()| aside(&queue, |queue| number(queue.get())));
        assert!(put_compared(&queue));
        let mut got = others.map(|other| other.join().unwrap().unwrap());
        got.sort_unstable();
        assert_eq!(got, [0, 5]);
    });
    check(|| {
        let queue = priority();
        let looker = aside(&queue, |queue| queue.run(Peek::new(1)));
        let getter = aside(&queue, |queue| number(queue.get()));
        assert!(put_compared(&queue));
        assert!(matches!(looker.join().unwrap(), Ok(0 | 5) | Err(Denied::Empty)));
        assert!(matches!(getter.join().unwrap(), Ok(0 | 5)));
    });
}

/// One who waits for the store gives up: the next one does not wait for ever.
#[test]
fn one_who_gives_up_on_the_store_lets_the_next_one_try() {
    for expires in [false, true] {
        check(move || {
            let queue = priority();
            let quitter = aside(&queue, move |queue| {
                let mut wait = Wait::new(Get::new(Caller::new(1, true)));
                match wait.attempt(queue, || 1, |since| Waiter::thread(1, since)) {
                    Attempt::Done(_) => true,
                    Attempt::Pending(_) if expires => wait.expire(queue, || 1).is_some(),
                    Attempt::Pending(_) => {
                        wait.abandon(queue, || 2);
                        false
                    }
                }
            });
            let getter = aside(&queue, |queue| number(queue.get()));
            assert!(put_compared(&queue));
            assert!(matches!(getter.join().unwrap(), Ok(0 | 5)));
            let got = usize::from(quitter.join().unwrap());
            assert_eq!(queue.with(|state| state.len()), 1 - got);
        });
    }
}

/// A shutdown while one compares: nobody waits on, and what was to be thrown away is.
#[test]
fn a_shutdown_reaches_those_who_wait_for_the_store() {
    for immediate in [false, true] {
        check(move || {
            let queue = priority();
            let getter = aside(&queue, |queue| number(queue.get()));
            let stopper = aside(&queue, move |queue| {
                drop(queue.act(|state, wakes| state.shut_down(immediate, wakes)));
            });
            let put = put_compared(&queue);
            stopper.join().unwrap();
            let got = getter.join().unwrap();
            assert!(matches!(got, Ok(0 | 5)) || immediate && got == Err(Denied::ShutDown));
            let (left, counters) = queue.with(|state| (state.len(), state.counters()));
            let (put, got) = (u64::from(put), u64::from(got.is_ok()));
            assert_eq!(left as u64, if immediate { 0 } else { 1 + put - got });
            assert_eq!((counters.puts, counters.gets), (1 + put, got));
            assert_eq!(counters.unfinished, left as u64 + got);
        });
    }
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
