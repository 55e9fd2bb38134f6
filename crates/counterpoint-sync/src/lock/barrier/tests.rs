use super::*;
use crate::testing::{Guarded, Party, Task};
use crate::wait::Deadline;

type Shared = Guarded<BarrierState<Task>>;

fn barrier(parties: usize, acts: bool) -> Shared {
    Guarded::new(BarrierState::new(parties, acts))
}

fn party(number: usize) -> Party<Pass<Task>> {
    Party::thread(number, number as u64, Pass::default())
}

fn waiting(barrier: &Shared) -> usize {
    barrier.change(|state, _| state.waiting())
}

fn is_broken(barrier: &Shared) -> bool {
    barrier.change(|state, _| state.is_broken())
}

#[test]
fn the_last_to_arrive_releases_all_and_the_next_generation_fills_at_once() {
    let barrier = barrier(3, false);
    let (mut first, mut second) = (party(1).queue(&barrier), party(2).queue(&barrier));
    assert_eq!(waiting(&barrier), 2);
    assert_eq!(party(3).done(&barrier), Ok(Passage::Go(2)));
    // Nobody of the first generation has left yet, and the second fills already.
    let mut fourth = party(4).queue(&barrier);
    assert_eq!(waiting(&barrier), 1);
    assert_eq!(first.done(&barrier), Ok(Passage::Go(0)));
    assert_eq!(second.done(&barrier), Ok(Passage::Go(1)));
    assert!(fourth.waits(&barrier) && !is_broken(&barrier));
}

#[test]
fn one_party_never_waits() {
    let barrier = barrier(1, false);
    assert_eq!(party(1).done(&barrier), Ok(Passage::Go(0)));
    assert_eq!(party(2).done(&barrier), Ok(Passage::Go(0)));
}

#[test]
fn nobody_passes_before_the_action_has_ended() {
    let barrier = barrier(2, true);
    let mut first = party(1).queue(&barrier);
    assert_eq!(party(2).done(&barrier), Ok(Passage::Act(1)));
    assert!(first.waits(&barrier));
    assert_eq!(waiting(&barrier), 2);
    let mut late = party(3).queue(&barrier);
    barrier.change(|state, wakes| state.finish(true, wakes)).unwrap();
    assert_eq!(first.done(&barrier), Ok(Passage::Go(0)));
    // The one at the door arrives only now.
    assert!(late.waits(&barrier));
    assert_eq!(waiting(&barrier), 1);
    assert_eq!(party(4).done(&barrier), Ok(Passage::Act(1)));
}

#[test]
fn an_action_that_fails_breaks_the_barrier() {
    let barrier = barrier(2, true);
    let mut first = party(1).queue(&barrier);
    assert_eq!(party(2).done(&barrier), Ok(Passage::Act(1)));
    let mut late = party(3).queue(&barrier);
    assert_eq!(barrier.change(|state, wakes| state.finish(false, wakes)), Err(Broken));
    assert_eq!(first.done(&barrier), Err(Broken));
    assert_eq!(late.done(&barrier), Err(Broken));
    assert!(is_broken(&barrier));
    barrier.change(|state, wakes| state.reset(wakes));
    assert!(party(4).queue(&barrier).waits(&barrier) && !is_broken(&barrier));
}

#[test]
fn no_timeout_ends_a_wait_while_the_action_runs() {
    let barrier = barrier(2, true);
    let mut first = party(1).queue(&barrier);
    assert_eq!(party(2).done(&barrier), Ok(Passage::Act(1)));
    let mut late = party(3).queue(&barrier);
    for waiter in [&mut first, &mut late] {
        assert!(waiter.expire(&barrier).is_none() && waiter.wait.is_queued());
    }
    barrier.change(|state, wakes| state.finish(true, wakes)).unwrap();
    assert_eq!(first.done(&barrier), Ok(Passage::Go(0)));
    assert!(late.waits(&barrier) && !is_broken(&barrier));
}

#[test]
fn the_time_of_one_at_the_door_begins_when_it_arrives() {
    let barrier = barrier(2, true);
    let _first = party(1).queue(&barrier);
    assert_eq!(party(2).done(&barrier), Ok(Passage::Act(1)));
    let mut late = party(3).queue(&barrier);
    let mut deadline = Deadline::new(Some(100));
    assert_eq!(deadline.of(&late.wait, || 40), None);
    assert_eq!(deadline.of(&late.wait, || 200), None);
    barrier.change(|state, wakes| state.finish(true, wakes)).unwrap();
    assert!(late.waits(&barrier));
    assert_eq!(deadline.of(&late.wait, || 500), Some(560));
    assert_eq!(deadline.of(&late.wait, || 510), Some(560));
    assert!(late.expire(&barrier).is_none() && !late.wait.is_queued());
    assert!(is_broken(&barrier));
}

#[test]
fn the_time_of_one_who_is_passing_stands_still() {
    let barrier = barrier(2, true);
    let mut first = party(1).queue(&barrier);
    let mut deadline = Deadline::new(Some(100));
    assert_eq!(deadline.of(&first.wait, || 0), Some(100));
    assert_eq!(party(2).done(&barrier), Ok(Passage::Act(1)));
    assert!(first.expire(&barrier).is_none());
    assert!(first.waits(&barrier));
    assert_eq!(deadline.of(&first.wait, || 101), None);
}

#[test]
fn an_abort_during_the_action_reaches_the_one_who_acts() {
    let barrier = barrier(2, true);
    let mut first = party(1).queue(&barrier);
    assert_eq!(party(2).done(&barrier), Ok(Passage::Act(1)));
    let mut late = party(3).queue(&barrier);
    barrier.change(|state, wakes| state.abort(wakes));
    barrier.change(|state, wakes| state.reset(wakes));
    assert_eq!((first.done(&barrier), late.done(&barrier)), (Err(Broken), Err(Broken)));
    // Whole again, but still acting: the door is closed.
    let mut later = party(4).queue(&barrier);
    assert_eq!(waiting(&barrier), 0);
    assert_eq!(barrier.change(|state, wakes| state.finish(true, wakes)), Err(Broken));
    assert!(later.waits(&barrier));
    assert_eq!(waiting(&barrier), 1);
}

#[test]
fn a_timeout_breaks_it_for_all() {
    let barrier = barrier(3, false);
    let (mut first, mut second) = (party(1).queue(&barrier), party(2).queue(&barrier));
    assert_eq!(first.expire(&barrier), None);
    assert!(is_broken(&barrier));
    assert_eq!(second.done(&barrier), Err(Broken));
    assert_eq!(party(3).done(&barrier), Err(Broken));
    assert_eq!(waiting(&barrier), 0);
}

#[test]
fn a_timeout_that_comes_after_the_release_is_a_release() {
    let barrier = barrier(2, false);
    let mut first = party(1).queue(&barrier);
    assert_eq!(party(2).done(&barrier), Ok(Passage::Go(1)));
    assert_eq!(first.expire(&barrier), Some(Ok(Passage::Go(0))));
    assert!(!is_broken(&barrier));
}

#[test]
fn a_cancelled_party_is_no_longer_counted() {
    let barrier = barrier(2, false);
    let mut gone = party(1).queue(&barrier);
    gone.abandon(&barrier);
    assert_eq!((waiting(&barrier), is_broken(&barrier)), (0, false));
    let mut first = party(2).queue(&barrier);
    assert_eq!(party(3).done(&barrier), Ok(Passage::Go(1)));
    // Cancelled with its passage granted: the next generation does not notice.
    let mut fourth = party(4).queue(&barrier);
    first.abandon(&barrier);
    assert_eq!(waiting(&barrier), 1);
    assert!(fourth.waits(&barrier));
}

#[test]
fn a_reset_sends_away_those_who_wait_and_nobody_else() {
    let barrier = barrier(2, false);
    let mut first = party(1).queue(&barrier);
    barrier.change(|state, wakes| state.reset(wakes));
    let mut second = party(2).queue(&barrier);
    assert_eq!(first.done(&barrier), Err(Broken));
    assert_eq!(party(3).done(&barrier), Ok(Passage::Go(1)));
    assert_eq!(second.done(&barrier), Ok(Passage::Go(0)));
}

#[test]
fn sent_away_and_cancelled_at_once_takes_nothing_from_the_next_generation() {
    let barrier = barrier(2, false);
    let mut first = party(1).queue(&barrier);
    barrier.change(|state, wakes| state.reset(wakes));
    let _second = party(2).queue(&barrier);
    first.abandon(&barrier);
    assert_eq!(waiting(&barrier), 1);
}

#[test]
fn after_a_fork_nobody_is_left() {
    let barrier = barrier(2, false);
    let mut gone = party(1).queue(&barrier);
    drop(barrier.change(|state, _| state.forget()));
    assert_eq!(waiting(&barrier), 0);
    assert_eq!(gone.done(&barrier), Err(Broken));
}
