//! The barrier: all or nobody, generation after generation.

use super::{Guarded, Kind, Party, Racy, Tell, check};
use crate::lock::barrier::{BarrierState, Broken, Pass, Passage};
use crate::wait::Attempt;
use crate::waiter::Claim;
use loom::sync::Arc;
use loom::thread::{self, JoinHandle};

type Object = Arc<Guarded<BarrierState<Tell>>>;

fn barrier(parties: usize, acts: bool) -> Object {
    Guarded::new(BarrierState::new(parties, acts))
}

/// Passes once; the one who is to act does so, successfully or not.
fn pass(
    object: &Object,
    kind: Kind,
    owner: usize,
    succeeds: bool,
) -> Option<Result<usize, Broken>> {
    Some(match Party::new(kind, owner, object, Pass::default()).finish()? {
        Ok(Passage::Go(index)) => Ok(index),
        Ok(Passage::Act(index)) => {
            object.change(|state, wakes| state.finish(succeeds, wakes)).map(|()| index)
        }
        Err(Broken) => Err(Broken),
    })
}

fn passing<R: 'static>(
    object: &Object,
    passing: impl FnOnce(&Object) -> R + 'static,
) -> JoinHandle<R> {
    let object = object.clone();
    thread::spawn(move || passing(&object))
}

#[test]
fn all_pass_with_an_index_each() {
    for (acts, kind) in [(false, Kind::Thread), (true, Kind::Thread), (false, Kind::Task)] {
        check(move || {
            let object = barrier(3, acts);
            let others =
                [2, 3].map(|owner| passing(&object, move |object| pass(object, kind, owner, true)));
            let mine = pass(&object, Kind::Thread, 1, true);
            let mut indices = others.map(|other| other.join().unwrap()).to_vec();
            indices.push(mine);
            indices.sort_by_key(|index| index.and_then(Result::ok));
            assert_eq!(indices, [0, 1, 2].map(|index| Some(Ok(index))));
        });
    }
}

#[test]
fn generation_follows_generation() {
    for acts in [false, true] {
        check(move || {
            let object = barrier(2, acts);
            let twice = |object: &Object, owner| {
                [0, 1].map(|_| pass(object, Kind::Thread, owner, true).unwrap().unwrap())
            };
            let other = passing(&object, move |object| twice(object, 2));
            let mine = twice(&object, 1);
            let theirs = other.join().unwrap();
            assert!(mine[0] != theirs[0] && mine[1] != theirs[1]);
        });
    }
}

/// A timeout meets the last arrival: both pass, or both find it broken.
#[test]
fn a_timeout_breaks_it_for_all_or_for_nobody() {
    for (acts, succeeds) in [(false, true), (true, true), (true, false)] {
        check(move || {
            let object = barrier(2, acts);
            let other = passing(&object, move |object| pass(object, Kind::Expiring, 2, succeeds));
            let mine = pass(&object, Kind::Thread, 1, succeeds).unwrap();
            let theirs = other.join().unwrap().unwrap_or(Err(Broken));
            assert_eq!(mine.is_ok(), theirs.is_ok());
            assert!(succeeds || mine.is_err());
            assert_eq!(object.change(|state, _| state.is_broken()), mine.is_err());
        });
    }
}

/// One is interrupted while another arrives: it is not counted, or it had passed.
#[test]
fn an_interrupted_party_is_counted_or_not_but_not_by_halves() {
    check(|| {
        let object = barrier(2, false);
        let other = passing(&object, |object| {
            let mut party = Party::new(Kind::Thread, 2, object, Pass::default());
            match party.attempt() {
                Attempt::Done(_) => true,
                Attempt::Pending(waiter) => {
                    party.interrupt();
                    waiter.claimed() == Claim::Granted
                }
            }
        });
        let mine = passing(&object, |object| pass(object, Kind::Thread, 3, true));
        // Whoever is left alone meets this one.
        if !other.join().unwrap() {
            assert!(matches!(pass(&object, Kind::Thread, 1, true), Some(Ok(_))));
        }
        assert!(matches!(mine.join().unwrap(), Some(Ok(_))));
        assert_eq!(object.change(|state, _| state.waiting()), 0);
    });
}

/// Passes; the one who acts writes, and the others read what it wrote.
fn pass_over(acted: &Racy, object: &Object, kind: Kind, owner: usize) {
    match Party::new(kind, owner, object, Pass::default()).finish() {
        Some(Ok(Passage::Act(_))) => {
            acted.increment();
            object.change(|state, wakes| state.finish(true, wakes)).unwrap();
        }
        Some(Ok(Passage::Go(_))) => assert_eq!(acted.read(), 1),
        None | Some(Err(Broken)) => {}
    }
}

/// `parties` pass a barrier for so many, one of them in the way of `kind`.
fn act(parties: usize, kind: Kind) {
    check(move || {
        let object = barrier(parties, true);
        let acted = Arc::new(Racy::default());
        let theirs = acted.clone();
        let other = passing(&object, move |object| pass_over(&theirs, object, kind, 2));
        pass_over(&acted, &object, Kind::Thread, 1);
        other.join().unwrap();
    });
}

/// Nobody goes on before the action has ended, and all see what it did.
#[test]
fn the_action_comes_before_all_passages() {
    act(2, Kind::Thread);
    act(2, Kind::Task);
    act(2, Kind::Expiring);
}

/// Whoever comes during an action waits at the door: of two actions one comes first.
#[test]
fn two_actions_never_meet() {
    act(1, Kind::Thread);
    act(1, Kind::Expiring);
    act(1, Kind::Signalled);
}

/// An abort meets the arrivals: nobody is left behind.
#[test]
fn an_abort_leaves_nobody_behind() {
    for acts in [false, true] {
        check(move || {
            let object = barrier(2, acts);
            let others = [2, 3].map(|owner| {
                passing(&object, move |object| pass(object, Kind::Thread, owner, true).unwrap())
            });
            object.change(|state, wakes| state.abort(wakes));
            let [first, second] = others.map(|other| other.join().unwrap());
            assert!(first.is_ok() == second.is_ok() || acts);
            assert!(object.change(|state, _| state.is_broken()));
        });
    }
}

/// A third comes while the action of two runs, or after it. Its time begins when it has arrived,
/// and then it breaks the barrier for those who come after, and for nobody else.
#[test]
fn the_time_of_one_who_comes_during_an_action_begins_afterwards() {
    for kind in [Kind::Expiring, Kind::Interrupted] {
        check(move || {
            let object = barrier(2, true);
            let first = Party::new(Kind::Thread, 1, &object, Pass::default()).queued();
            let second = Party::new(Kind::Thread, 2, &object, Pass::default());
            assert_eq!(second.finish(), Some(Ok(Passage::Act(1))));
            let late = passing(&object, move |object| pass(object, kind, 3, true));
            let first = passing(&object, |_| first.finish());
            object.change(|state, wakes| state.finish(true, wakes)).unwrap();
            assert_eq!(late.join().unwrap(), None);
            assert_eq!(first.join().unwrap(), Some(Ok(Passage::Go(0))));
            let broken = kind == Kind::Expiring;
            let end = object.change(|state, _| (state.is_broken(), state.waiting()));
            assert_eq!(end, (broken, 0));
        });
    }
}

/// A third comes while two pass with an action: it waits at the door, and its time is not up
/// there; then it finds a partner.
#[test]
fn one_at_the_door_gets_in() {
    check(|| {
        let object = barrier(1, true);
        let others = [2, 3]
            .map(|owner| passing(&object, move |object| pass(object, Kind::Expiring, owner, true)));
        for other in others {
            assert_eq!(other.join().unwrap(), Some(Ok(0)));
        }
    });
}
