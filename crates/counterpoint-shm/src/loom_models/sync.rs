//! The primitives between any number of processes: nobody sleeps for ever, nothing is got twice,
//! and what a dead holder had is got by one.

use super::check;
use crate::sync::{Event, Locked, Mutex, Owner, Reentrant, Waiters};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// A mutex and what it guards.
#[derive(Default)]
struct Guarded(Mutex, UnsafeCell<u32>);

// SAFETY: loom watches the cell.
unsafe impl Sync for Guarded {}
// SAFETY: as above.
unsafe impl Send for Guarded {}

impl Guarded {
    fn add(&self, me: Owner) {
        let _ = self.0.lock(me);
        // SAFETY: loom checks that the lock excludes.
        self.1.with_mut(|number| unsafe { *number += 1 });
        assert!(self.0.unlock());
    }
}

#[test]
fn a_mutex_excludes_and_leaves_nobody_asleep() {
    check(|| {
        let guarded = Arc::new(Guarded::default());
        let other = {
            let guarded = guarded.clone();
            thread::spawn(move || (0..2).for_each(|_| guarded.add(Owner::numbered(1))))
        };
        guarded.add(Owner::numbered(2));
        other.join().unwrap();
        // SAFETY: nobody else is left.
        guarded.1.with(|number| assert_eq!(unsafe { *number }, 3));
    });
}

fn take_from_the_dead(mutex: &Mutex, me: Owner) -> Locked {
    loop {
        match mutex.take(me) {
            Some(locked) => return locked,
            None => drop(mutex.sleep(None)),
        }
    }
}

#[test]
fn one_inherits_from_the_dead_and_the_other_from_him() {
    check(|| {
        let mutex = Arc::new(Mutex::default());
        let dead = Owner::numbered(1);
        assert!(mutex.try_lock(dead));
        dead.die();
        let others = [2, 3].map(|number| {
            let mutex = mutex.clone();
            thread::spawn(move || {
                let locked = take_from_the_dead(&mutex, Owner::numbered(number));
                assert!(mutex.unlock());
                locked
            })
        });
        let told = others.map(|other| other.join().unwrap());
        assert_eq!(told.iter().filter(|locked| **locked == Locked::FromDead(dead)).count(), 1);
        assert_eq!((mutex.deaths(), mutex.owner()), (1, None));
    });
}

#[test]
fn a_reentrant_lock_is_its_holders_own() {
    check(|| {
        let lock = Arc::new(Reentrant::default());
        let other = {
            let lock = lock.clone();
            thread::spawn(move || {
                let me = Owner::numbered(2);
                if lock.try_lock(me) {
                    assert!(lock.try_lock(me) && lock.unlock(me) && lock.is_held_by(me));
                    assert!(lock.unlock(me));
                }
                assert!(!lock.unlock(me));
            })
        };
        let me = Owner::numbered(1);
        while lock.take(me).is_none() {
            let _ = lock.sleep(None);
        }
        assert_eq!(lock.count(), 1);
        assert!(lock.unlock(me));
        other.join().unwrap();
    });
}

#[test]
fn an_event_that_is_cleared_at_once_was_still_set() {
    check(|| {
        let event = Arc::new(Event::default());
        let seen = event.see();
        let other = {
            let event = event.clone();
            thread::spawn(move || {
                event.set();
                event.clear();
            })
        };
        while !event.was_set(seen) {
            let _ = event.sleep(seen, None);
        }
        other.join().unwrap();
        assert!(!event.is_set());
    });
}

#[test]
fn a_notification_is_used_once_or_was_for_nobody() {
    check(|| {
        let waiters = Arc::new(Waiters::default());
        let slots = [1, 2].map(|number| waiters.enter(Owner::numbered(number)).unwrap());
        let others = slots.map(|slot| {
            let waiters = waiters.clone();
            thread::spawn(move || {
                if slot == 0 {
                    let _ = waiters.sleep(slot, None);
                }
                waiters.leave(slot)
            })
        });
        let notified = waiters.notify(2);
        let used = others.map(|other| other.join().unwrap());
        assert_eq!(used.iter().filter(|used| **used).count(), notified);
        assert!(used[0] && waiters.waiting() == 0);
    });
}

#[test]
fn the_notification_of_the_dead_is_inherited_once() {
    check(|| {
        let waiters = Arc::new(Waiters::default());
        let dead = Owner::numbered(1);
        let slot = waiters.enter(dead).unwrap();
        let heir = {
            let waiters = waiters.clone();
            thread::spawn(move || waiters.inherit())
        };
        assert_eq!(waiters.notify(1), 1);
        dead.die();
        let here = waiters.inherit();
        assert!(heir.join().unwrap() != here);
        assert!(!waiters.is_notified(slot));
    });
}
