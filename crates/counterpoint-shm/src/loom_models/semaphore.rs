//! Semaphores: nobody sleeps for ever, and permits are neither lost nor doubled, whoever dies, and
//! between whichever two of his steps.

use super::{check, check_with};
use crate::sync::{Locked, Owner, Semaphore};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// One who never dies.
const LIVING: u64 = 9;

/// More than a process takes to get and return a permit.
const STEPS: u32 = 8;

fn semaphore(value: u32) -> Arc<Semaphore> {
    let semaphore = Semaphore::default();
    semaphore.set_up(value, 9);
    Arc::new(semaphore)
}

/// One that has no holders, and no permits.
fn counter() -> Arc<Semaphore> {
    let (permits, me) = (semaphore(0), Owner::numbered(1));
    assert!(permits.release(me) && permits.is_counter());
    assert_eq!(permits.try_acquire(me), Some(Locked::Free));
    permits
}

fn acquire(permits: &Semaphore, me: Owner) {
    while permits.try_acquire(me).is_none() {
        let _ = permits.sleep(None);
    }
}

fn spawn<T: 'static>(
    permits: &Arc<Semaphore>,
    number: u64,
    work: impl FnOnce(&Semaphore, Owner) -> T + 'static,
) -> thread::JoinHandle<T> {
    let permits = permits.clone();
    thread::spawn(move || work(&permits, Owner::numbered(number)))
}

/// How many permits can be got, those of the dead included.
fn drain(permits: &Semaphore) -> usize {
    std::iter::from_fn(|| permits.take(Owner::numbered(LIVING))).count()
}

#[test]
fn a_permit_wakes_one_of_two_and_two_wake_both() {
    check(|| {
        let permits = counter();
        let takers = [2, 3].map(|number| spawn(&permits, number, acquire));
        let me = Owner::numbered(1);
        assert!(permits.release(me) && permits.release(me));
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(permits.value(), 0);
    });
}

#[test]
fn two_who_release_at_once_leave_nobody_asleep() {
    check(|| {
        let permits = counter();
        let releasing = spawn(&permits, 2, |permits, me| assert!(permits.release(me)));
        let others = [spawn(&permits, 3, acquire), releasing];
        let me = Owner::numbered(1);
        assert!(permits.release(me));
        acquire(&permits, me);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}

#[test]
fn a_bound_is_kept() {
    check(|| {
        let permits = Arc::new(Semaphore::default());
        permits.set_up(0, 1);
        let other = spawn(&permits, 2, |permits, me| permits.release(me));
        let both = permits.release(Owner::numbered(1)) & other.join().unwrap();
        assert!(!both && permits.value() == 1);
    });
}

/// A semaphore of one and what it guards.
struct Guarded(Semaphore, UnsafeCell<u32>);

// SAFETY: loom watches the cell.
unsafe impl Sync for Guarded {}
// SAFETY: as above.
unsafe impl Send for Guarded {}

impl Guarded {
    fn add(&self, me: Owner) {
        acquire(&self.0, me);
        // SAFETY: loom checks that the one permit excludes.
        self.1.with_mut(|number| unsafe { *number += 1 });
        assert!(self.0.release(me));
    }
}

#[test]
fn a_single_permit_excludes_and_leaves_nobody_asleep() {
    check(|| {
        let guarded = Arc::new(Guarded(Semaphore::default(), UnsafeCell::new(0)));
        guarded.0.set_up(1, 1);
        let other = {
            let guarded = guarded.clone();
            thread::spawn(move || (0..2).for_each(|_| guarded.add(Owner::numbered(1))))
        };
        guarded.add(Owner::numbered(2));
        other.join().unwrap();
        // SAFETY: nobody else is left.
        guarded.1.with(|number| assert_eq!(unsafe { *number }, 3));
        assert!(guarded.0.value() == 1 && !guarded.0.is_counter());
    });
}

#[test]
fn the_permits_of_the_dead_are_got_once_and_one_is_told() {
    for held in [1, 2] {
        check(move || {
            let permits = semaphore(held);
            let dead = Owner::numbered(1);
            (0..held).for_each(|_| assert!(permits.try_acquire(dead).is_some()));
            dead.die();
            let other = spawn(&permits, 2, |permits, me| permits.take(me));
            let here = permits.take(Owner::numbered(LIVING));
            let got = [here, other.join().unwrap()];
            let rest = std::iter::from_fn(|| permits.take(Owner::numbered(LIVING)));
            let got: Vec<Locked> = got.into_iter().flatten().chain(rest).collect();
            assert_eq!(got.len(), held as usize);
            let news = Locked::FromDead(dead.process());
            // Where there is one, who got it has the news; or it is on its way to the next.
            let told = got.iter().filter(|locked| **locked == news).count();
            assert!(told == 1 || held == 1 && told == 0);
            assert_eq!(permits.deaths(), 1);
        });
    }
}

#[test]
fn who_takes_from_the_dead_leaves_nobody_asleep() {
    check(|| {
        let permits = semaphore(1);
        let dead = Owner::numbered(1);
        assert!(permits.try_acquire(dead).is_some());
        dead.die();
        let other = spawn(&permits, 2, |permits, me| {
            if permits.take(me).is_some() {
                assert!(permits.release(me));
            }
        });
        // Does not look for the dead itself.
        acquire(&permits, Owner::numbered(LIVING));
        other.join().unwrap();
        assert_eq!(permits.value(), 0);
    });
}

/// Two permits, one of them process 1's. Process 2 gets one and returns it, or dies on the way, or
/// afterwards; meanwhile the others do something.
fn against_death(meanwhile: fn(&Arc<Semaphore>) -> usize) {
    for steps in 0..STEPS {
        check(move || {
            let permits = semaphore(2);
            assert!(permits.try_acquire(Owner::numbered(1)).is_some());
            let dying = spawn(&permits, 2, move |permits, me| {
                Owner::does(steps, || {
                    if permits.try_acquire(me).is_some() {
                        assert!(permits.release(me));
                    }
                });
                me.die();
            });
            let held = meanwhile(&permits);
            dying.join().unwrap();
            assert_eq!(drain(&permits) + held, 2);
            assert!(!permits.is_counter() && permits.deaths() <= 1);
        });
    }
}

#[test]
fn who_dies_between_any_two_steps_leaves_each_permit_once() {
    against_death(|permits| {
        let me = Owner::numbered(1);
        assert!(permits.release(me));
        usize::from(permits.try_acquire(me).is_some())
    });
}

#[test]
fn who_looks_for_the_dead_while_they_die_gets_each_permit_once() {
    against_death(|permits| {
        let me = Owner::numbered(LIVING);
        1 + usize::from(permits.take(me).is_some())
    });
}

/// Two permits, both a dead process's. Two others want them, one of whom dies on the way.
#[test]
fn who_dies_taking_from_the_dead_leaves_each_permit_once() {
    for steps in 0..STEPS {
        check_with(2, move || {
            let permits = semaphore(2);
            let dead = Owner::numbered(1);
            assert!(permits.try_acquire(dead).is_some() && permits.try_acquire(dead).is_some());
            dead.die();
            let dying = spawn(&permits, 2, move |permits, me| {
                Owner::does(steps, || {
                    let _ = permits.take(me);
                });
                me.die();
            });
            let me = Owner::numbered(LIVING);
            let held = usize::from(permits.try_acquire(me).is_some());
            dying.join().unwrap();
            assert_eq!(drain(&permits) + held, 2);
        });
    }
}

#[test]
fn a_permit_that_another_released_is_not_taken_back_from_the_dead() {
    check(|| {
        let permits = semaphore(1);
        let holder = Owner::numbered(1);
        assert!(permits.try_acquire(holder).is_some());
        let other = spawn(&permits, 2, move |permits, me| {
            assert!(permits.release(me));
            holder.die();
        });
        let taken = u32::from(permits.take(Owner::numbered(LIVING)).is_some());
        other.join().unwrap();
        assert!(permits.is_counter());
        assert_eq!(permits.value() + taken, 1);
    });
}

#[test]
fn the_places_of_the_dead_are_used_again() {
    check(|| {
        let permits = semaphore(4);
        for number in 1..4 {
            let dead = Owner::numbered(number);
            assert!(permits.try_acquire(dead).is_some());
            assert!(number == 1 || permits.release(dead));
            dead.die();
        }
        let others = [4, 5].map(|number| {
            spawn(&permits, number, |permits, me| {
                assert!(permits.try_acquire(me).is_some());
                me.die();
            })
        });
        others.into_iter().for_each(|other| other.join().unwrap());
        assert!(!permits.is_counter());
        // The places are full of dead again, who hold two of the four.
        assert_eq!(drain(&permits), 4);
    });
}
