//! The queue: every item that went in comes out once, and nobody sleeps on.

use super::{Guarded, Kind, Party, Tell, check};
use crate::queue::{Caller, Denied, Fifo, Get, Join, Overflow, Put, QueueState, blocks::Blocks};
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

type Object = Arc<Guarded<QueueState<Tell, Fifo<u32>>>>;

const IMPATIENT: [Kind; 4] = [Kind::Expiring, Kind::Interrupted, Kind::Collected, Kind::Forgotten];

fn queue(limit: Option<usize>) -> Object {
    Guarded::new(QueueState::new(Fifo(Blocks::default()), limit, Overflow::Block))
}

fn put(queue: &Object, kind: Kind, owner: usize, item: u32) -> Option<Result<(), Denied>> {
    let source = Put::new(item, Caller::new(owner, true));
    Some(Party::new(kind, owner, queue, source).finish()?.verdict)
}

fn get(queue: &Object, kind: Kind, owner: usize) -> Option<Result<u32, Denied>> {
    Party::new(kind, owner, queue, Get::new(Caller::new(owner, true))).finish()
}

fn beside<R: 'static>(queue: &Object, body: impl FnOnce(&Object) -> R + 'static) -> JoinHandle<R> {
    let queue = queue.clone();
    thread::spawn(move || body(&queue))
}

/// Two items through one place, to one who may give up and to one who does not.
#[test]
fn a_getter_that_gives_up_loses_no_item() {
    for kind in IMPATIENT.into_iter().chain([Kind::Thread, Kind::Task, Kind::Signalled]) {
        check(move || {
            let queue = queue(Some(1));
            let putter = beside(&queue, |queue| {
                for item in [1, 2] {
                    assert_eq!(put(queue, Kind::Thread, 2, item), Some(Ok(())));
                }
            });
            let other = beside(&queue, move |queue| get(queue, kind, 3));
            let mut got = vec![get(&queue, Kind::Thread, 1).unwrap().unwrap()];
            got.push(match other.join().unwrap() {
                Some(item) => item.unwrap(),
                None => get(&queue, Kind::Thread, 1).unwrap().unwrap(),
            });
            putter.join().unwrap();
            got.sort_unstable();
            assert_eq!(got, [1, 2]);
            assert!(queue.change(|queue, _| queue.is_empty()));
        });
    }
}

/// Two who put into one place, one of whom may give up.
#[test]
fn a_putter_that_gives_up_keeps_nobody_out() {
    for kind in IMPATIENT {
        check(move || {
            let queue = queue(Some(1));
            assert_eq!(put(&queue, Kind::Thread, 1, 1), Some(Ok(())));
            let other = beside(&queue, move |queue| put(queue, kind, 2, 2).is_some());
            let patient = beside(&queue, |queue| put(queue, Kind::Thread, 3, 3));
            let mut got = vec![get(&queue, Kind::Thread, 1).unwrap().unwrap()];
            if other.join().unwrap() {
                got.push(get(&queue, Kind::Thread, 1).unwrap().unwrap());
            }
            got.push(get(&queue, Kind::Thread, 1).unwrap().unwrap());
            assert_eq!(patient.join().unwrap(), Some(Ok(())));
            assert!(got[0] == 1 && got.contains(&3));
            assert!(queue.change(|queue, _| queue.is_empty()));
        });
    }
}

#[test]
fn a_shutdown_reaches_all_who_wait() {
    check(|| {
        let queue = queue(Some(1));
        let getters = [2, 3]
            .map(|owner| beside(&queue, move |queue| get(queue, Kind::Thread, owner).unwrap()));
        assert_eq!(put(&queue, Kind::Thread, 1, 1), Some(Ok(())));
        drop(queue.change(|queue, wakes| queue.shut_down(false, wakes)));
        let got = getters.map(|getter| getter.join().unwrap());
        assert!(got.contains(&Ok(1)) && got.contains(&Err(Denied::ShutDown)));
    });
}

#[test]
fn a_joiner_hears_of_the_last_item() {
    for kind in [Kind::Thread, Kind::Task, Kind::Signalled] {
        check(move || {
            let queue = queue(None);
            assert_eq!(put(&queue, Kind::Thread, 1, 1), Some(Ok(())));
            let joiner =
                beside(&queue, move |queue| Party::new(kind, 2, queue, Join::default()).finish());
            let other = beside(&queue, |queue| {
                Party::new(Kind::Thread, 3, queue, Join::default()).finish()
            });
            assert_eq!(get(&queue, Kind::Thread, 1), Some(Ok(1)));
            assert!(queue.change(|queue, wakes| queue.task_done(wakes)));
            assert!(joiner.join().unwrap().is_some() && other.join().unwrap().is_some());
        });
    }
}
