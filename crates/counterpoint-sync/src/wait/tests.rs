use crate::lock::Who;
use crate::lock::condition::{AwaitSignal, SignalState};
use crate::lock::mutex::{Acquire, LockState, NOBODY};
use crate::lock::reentrant::{AcquireReentrant, ReentrantState};
use crate::lock::semaphore::{AcquirePermit, SemaphoreState};
use crate::testing::{Guarded, Party, Task};
use counterpoint_trace::Summary;

/// A moment at which everyone who waits is due for a hand-off.
const LATE: u64 = u64::MAX;

fn permit(number: usize) -> Party<AcquirePermit<Task>> {
    Party::thread(number, number as u64, AcquirePermit::default())
}

fn told(number: usize) -> Party<AwaitSignal<Task>> {
    Party::thread(number, number as u64, AwaitSignal::default())
}

fn owner(number: usize) -> Party<Acquire<Task>> {
    Party::thread(number, number as u64, Acquire(Who::thread(number)))
}

fn lock() -> Guarded<LockState<Task>> {
    let lock = Guarded::new(LockState::default());
    owner(1).done(&lock);
    lock
}

#[test]
fn what_a_dead_task_was_given_is_passed_on_once() {
    for now in [0, LATE] {
        let semaphore = Guarded::new(SemaphoreState::new(0));
        let mut dead = Party::task(1, 1, AcquirePermit::default(), Task::Dead).queue(&semaphore);
        semaphore.change(|state, wakes| state.release(1, || now, wakes));
        // The event loop is closed; later its task is collected, which cancels its wait.
        dead.abandon(&semaphore);
        assert_eq!(semaphore.change(|state, _| state.value()), 1);
    }
}

#[test]
fn a_dead_task_does_not_free_the_lock_of_another() {
    let lock = lock();
    let mut dead = Party::task(2, 2, Acquire(Who::thread(2)), Task::Dead).queue(&lock);
    lock.change(|state, wakes| state.release(|| LATE, wakes));
    owner(3).done(&lock);
    dead.abandon(&lock);
    assert_eq!(lock.change(|state, _| state.owner()), 3);
}

#[test]
fn a_grant_that_somebody_released_is_not_released_again() {
    let lock = lock();
    let mut second = owner(2).queue(&lock);
    let release = || lock.change(|state, wakes| state.release(|| LATE, wakes));
    // Handed over, and then released by a third, as anybody may do.
    (0..2).for_each(|_| release());
    owner(4).done(&lock);
    let mut fifth = owner(5).queue(&lock);
    second.abandon(&lock);
    assert_eq!(lock.change(|state, _| state.owner()), 4);
    assert!(fifth.waits(&lock));
    release();
    fifth.done(&lock);
}

#[test]
fn a_task_thought_dead_that_runs_after_all_queues_anew() {
    let lock = lock();
    let mut dead = Party::task(2, 2, Acquire(Who::thread(2)), Task::Dead).queue(&lock);
    lock.change(|state, wakes| state.release(|| LATE, wakes));
    owner(3).done(&lock);
    assert!(dead.waits(&lock));
    assert_eq!(lock.change(|state, _| (state.owner(), state.waiters())), (3, 1));
}

#[test]
fn an_event_set_for_some_tells_nobody_who_comes_later() {
    let event = Guarded::new(SignalState::default());
    let mut first = told(1).queue(&event);
    event.change(|state, wakes| state.set(wakes));
    event.change(|state, _| state.clear());
    let mut later = told(2).queue(&event);
    first.abandon(&event);
    assert!(later.waits(&event));
}

#[test]
fn an_event_set_and_cleared_has_told_those_who_waited() {
    let event = Guarded::new(SignalState::default());
    let (mut first, mut second) = (told(1).queue(&event), told(2).queue(&event));
    event.change(|state, wakes| state.set(wakes));
    event.change(|state, _| state.clear());
    first.done(&event);
    assert!(second.expire(&event).is_some());
}

#[test]
fn a_notification_that_is_not_used_goes_to_the_next() {
    let condition = Guarded::new(SignalState::default());
    let (mut first, mut second) = (told(1).queue(&condition), told(2).queue(&condition));
    assert_eq!(condition.change(|state, wakes| state.notify(1, wakes)), 1);
    first.abandon(&condition);
    second.done(&condition);
}

#[test]
fn a_handed_over_lock_survives_its_owners_signal_handler() {
    let lock = Guarded::new(ReentrantState::default());
    let party = |number| {
        let source = AcquireReentrant(Acquire(Who::thread(number)));
        Party::<AcquireReentrant<Task>>::thread(number, number as u64, source)
    };
    party(1).done(&lock);
    let mut second = party(2).queue(&lock);
    lock.change(|state, wakes| state.release(|| LATE, wakes));
    // Before the second thread gets to run, a signal handler in it uses the same lock.
    party(2).done(&lock);
    lock.change(|state, wakes| state.release(|| 0, wakes));
    second.done(&lock);
    assert_eq!(lock.change(|state, _| state.count_of(2)), 1);
    lock.change(|state, wakes| state.release(|| 0, wakes));
    assert_eq!(lock.change(|state, _| (state.count(), state.lock.owner())), (0, NOBODY));
}

#[test]
fn a_handed_over_reentrant_lock_that_is_not_wanted_is_free() {
    let lock = Guarded::new(ReentrantState::default());
    let mut first =
        Party::<AcquireReentrant<Task>>::thread(1, 1, AcquireReentrant(Acquire(Who::thread(1))));
    first.done(&lock);
    let mut second =
        Party::<AcquireReentrant<Task>>::thread(2, 2, AcquireReentrant(Acquire(Who::thread(2))))
            .queue(&lock);
    lock.change(|state, wakes| state.release_all(|| LATE, wakes));
    second.abandon(&lock);
    assert_eq!(lock.change(|state, _| (state.count(), state.lock.owner())), (0, NOBODY));
}

#[test]
fn one_who_steps_aside_lets_its_signal_handler_wait_for_the_same_thing() {
    let semaphore = Guarded::new(SemaphoreState::new(0));
    let mut outer = permit(1).queue(&semaphore);
    semaphore.change(|state, wakes| state.release(1, || 0, wakes));
    outer.wait.step_aside(&semaphore);
    let mut handler = permit(2);
    handler.done(&semaphore);
    let mut later = permit(3).queue(&semaphore);
    assert!(outer.waits(&semaphore));
    // Back in its old place.
    semaphore.change(|state, wakes| state.release(1, || 0, wakes));
    outer.done(&semaphore);
    assert!(later.waits(&semaphore));
}

#[test]
fn news_finds_its_receiver_while_that_runs_a_signal_handler() {
    let condition = Guarded::new(SignalState::default());
    let mut outer = told(1).queue(&condition);
    outer.wait.step_aside(&condition);
    assert_eq!(condition.change(|state, wakes| state.notify(1, wakes)), 1);
    outer.done(&condition);
}

#[test]
fn an_overtaken_waiter_keeps_its_place_until_it_is_handed_the_lock() {
    let lock = lock();
    let (mut second, mut third) = (owner(2).queue(&lock), owner(3).queue(&lock));
    lock.change(|state, wakes| state.release(|| 3, wakes));
    owner(4).done(&lock);
    assert!(second.waits(&lock) && third.waits(&lock));
    lock.change(|state, wakes| state.release(|| LATE, wakes));
    assert_eq!(lock.change(|state, _| state.owner()), 2);
    second.done(&lock);
    assert!(third.waits(&lock));
}

#[test]
fn only_a_wait_counts_as_one() {
    let lock = Guarded::new(LockState::default());
    owner(1).done(&lock);
    assert!(lock.change(|state, _| state.contended().is_none()));
    let mut second = owner(2).queue(&lock);
    lock.change(|state, wakes| state.release(|| 0, wakes));
    second.done(&lock);
    assert_eq!(waits(&lock).count, 1);
}

fn waits(lock: &Guarded<LockState<Task>>) -> Summary {
    lock.change(|state, _| state.contended().map(|more| more.waits.summary()).unwrap_or_default())
}

#[test]
fn a_wait_that_was_given_up_counts_once() {
    let lock = lock();
    let mut second = owner(2);
    assert!(second.attempt(&lock).is_err());
    second.wait.abandon(&lock, || 10);
    second.wait.abandon(&lock, || 20);
    let seen = waits(&lock);
    assert_eq!((seen.count, seen.total), (1, 8));
}

#[test]
fn one_who_steps_aside_and_gives_up_counts_once() {
    let lock = lock();
    let mut second = owner(2).queue(&lock);
    second.wait.step_aside(&lock);
    assert_eq!(waits(&lock).count, 0);
    second.wait.abandon(&lock, || 10);
    let seen = waits(&lock);
    assert_eq!((seen.count, seen.total), (1, 8));
}

#[test]
fn one_who_gave_up_and_comes_again_waits_anew_in_its_old_place() {
    let lock = lock();
    let mut second = owner(2).queue(&lock);
    let mut third = owner(3).queue(&lock);
    second.wait.abandon(&lock, || 10);
    let mut again = second.at(20).queue(&lock);
    lock.change(|state, wakes| state.release(|| 0, wakes));
    again.done(&lock);
    assert!(third.waits(&lock));
    let seen = waits(&lock);
    assert_eq!((seen.count, seen.total), (2, 8));
}

#[test]
fn one_may_go_before_those_who_cannot_go_on_without_it() {
    let semaphore = Guarded::new(SemaphoreState::new(0));
    let mut first = permit(5).queue(&semaphore);
    let mut ahead = permit(6);
    ahead.wait.precede(5);
    let mut ahead = ahead.queue(&semaphore);
    semaphore.change(|state, wakes| state.release(1, || 0, wakes));
    ahead.done(&semaphore);
    assert!(first.waits(&semaphore));
}
