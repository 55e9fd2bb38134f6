//! The queue: several items at once, what a full one does instead of waiting, and a bound that
//! changes.

use super::{Guarded, Kind, Party, Tell, check};
use crate::queue::blocks::Blocks;
use crate::queue::{Caller, Denied, Fifo, Get, GetMany, Overflow, Peek, Put, QueueState};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

type Object = Arc<Guarded<QueueState<Tell, Fifo<u32>>>>;

fn queue(limit: Option<usize>, overflow: Overflow) -> Object {
    Guarded::new(QueueState::new(Fifo(Blocks::default()), limit, overflow))
}

/// Puts them in order; what was not put, and what was thrown away for it.
fn put_many<const N: usize>(
    queue: &Object,
    kind: Kind,
    owner: usize,
    items: [u32; N],
) -> Option<Vec<u32>> {
    let mut blocks = Blocks::default();
    items.into_iter().for_each(|item| blocks.push_back(item));
    let source = Put::many(blocks, Caller::new(owner, true));
    let ended = Party::new(kind, owner, queue, source).finish()?;
    assert_eq!((ended.verdict, ended.items.len()), (Ok(()), 0));
    Some(ended.dropped.iter().copied().collect())
}

fn get_many(queue: &Object, kind: Kind, owner: usize, most: usize) -> Option<Vec<u32>> {
    let source = GetMany::new(most, Caller::new(owner, true));
    Party::new(kind, owner, queue, source).finish().map(|got| got.unwrap().items)
}

fn get(queue: &Object, kind: Kind, owner: usize) -> Option<Result<u32, Denied>> {
    Party::new(kind, owner, queue, Get::new(Caller::new(owner, true))).finish()
}

fn left(queue: &Object) -> usize {
    queue.change(|queue, _| queue.len())
}

fn beside<R: 'static>(queue: &Object, body: impl FnOnce(&Object) -> R + 'static) -> JoinHandle<R> {
    let queue = queue.clone();
    thread::spawn(move || body(&queue))
}

/// Three items through one place, to one who takes what there is.
#[test]
fn many_pass_in_order() {
    for kind in [Kind::Thread, Kind::Task, Kind::Signalled] {
        check(move || {
            let queue = queue(Some(1), Overflow::Block);
            let putter = beside(&queue, move |queue| put_many(queue, kind, 2, [1, 2, 3]));
            let mut got = Vec::new();
            while got.len() < 3 {
                got.extend(get_many(&queue, Kind::Thread, 1, 9).unwrap());
            }
            assert_eq!((got, putter.join().unwrap()), (vec![1, 2, 3], Some(vec![])));
            assert_eq!(left(&queue), 0);
        });
    }
}

/// Each of two items put at once reaches one of two who wait, one of whom may give up.
#[test]
fn many_at_once_reach_all_who_wait() {
    for kind in [Kind::Thread, Kind::Expiring, Kind::Interrupted, Kind::Forgotten] {
        check(move || {
            let queue = queue(None, Overflow::Block);
            let some = beside(&queue, move |queue| get_many(queue, kind, 2, 1));
            let one = beside(&queue, |queue| get(queue, Kind::Thread, 3));
            assert_eq!(put_many(&queue, Kind::Thread, 1, [1, 2]), Some(vec![]));
            let got = some.join().unwrap().map_or(0, |items| items.len());
            assert!(matches!(one.join().unwrap(), Some(Ok(1 | 2))));
            assert_eq!(left(&queue), 1 - got);
        });
    }
}

/// Nobody waits for room, and what is not thrown away can be got.
#[test]
fn what_drops_waits_for_nobody_and_loses_only_what_it_says() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        check(move || {
            let queue = queue(Some(1), overflow);
            let getter = beside(&queue, |queue| get(queue, Kind::Thread, 3).unwrap().unwrap());
            let other = beside(&queue, |queue| put_many(queue, Kind::Thread, 2, [1]).unwrap());
            let mut all = put_many(&queue, Kind::Thread, 1, [2, 3]).unwrap();
            all.extend(other.join().unwrap());
            all.push(getter.join().unwrap());
            while left(&queue) > 0 {
                all.push(get(&queue, Kind::Thread, 1).unwrap().unwrap());
            }
            all.sort_unstable();
            assert_eq!(all, [1, 2, 3]);
            let counters = queue.change(|queue, _| queue.counters());
            assert_eq!(counters.gets, counters.unfinished);
        });
    }
}

/// Two wait for room, one of whom may give up, when the bound is raised, for one or for both.
#[test]
fn a_bound_that_is_raised_lets_in_who_waits() {
    for kind in [Kind::Thread, Kind::Task, Kind::Expiring, Kind::Interrupted, Kind::Collected] {
        for limit in [Some(3), None] {
            check(move || {
                let queue = queue(Some(1), Overflow::Block);
                assert_eq!(put_many(&queue, Kind::Thread, 1, [1]), Some(vec![]));
                let other = beside(&queue, move |queue| put_many(queue, kind, 2, [2]).is_some());
                let patient = beside(&queue, |queue| put_many(queue, Kind::Thread, 3, [3]));
                queue.change(|queue, wakes| queue.set_limit(limit, wakes));
                assert_eq!(patient.join().unwrap(), Some(vec![]));
                let others = usize::from(other.join().unwrap());
                assert_eq!(left(&queue), 2 + others);
            });
        }
    }
}

/// Who only looks takes nothing, and no permission of one who waits.
#[test]
fn a_look_takes_nothing_from_those_who_wait() {
    check(|| {
        let queue = queue(None, Overflow::Block);
        let getter = beside(&queue, |queue| get(queue, Kind::Thread, 2));
        let looker =
            beside(&queue, |queue| Party::new(Kind::Thread, 3, queue, Peek::new(3)).finish());
        assert_eq!(put_many(&queue, Kind::Thread, 1, [1]), Some(vec![]));
        assert_eq!(getter.join().unwrap(), Some(Ok(1)));
        assert!(matches!(looker.join().unwrap(), Some(Ok(1) | Err(Denied::Empty))));
    });
}
