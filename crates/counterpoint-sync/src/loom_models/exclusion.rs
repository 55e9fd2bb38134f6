//! Whatever lets one in at a time: lock, reentrant lock, semaphore, limiter, write lock.
//!
//! Each object meets each company of three, with and without hand-off. Whoever gets in works on
//! an unprotected cell and leaves; at the end the object must be free, whatever the impatient did.

use super::{CLOCKS, Guarded, Kind, Party, Racy, Tell, check};
use crate::lock::Who;
use crate::lock::limiter::{Borrow, LimiterState};
use crate::lock::mutex::{Acquire, LockState, NOBODY};
use crate::lock::reentrant::{AcquireReentrant, ReentrantState};
use crate::lock::rwlock::{AcquireWrite, Mode, RwLockState};
use crate::lock::semaphore::{AcquirePermit, SemaphoreState};
use crate::wait::{Source, State};
use crate::waiter::Wakes;
use loom::sync::Arc;
use loom::thread;

/// An object that lets one in at a time.
trait Exclusive: State<Notify = Tell> + Sized + Send + 'static {
    type Enter: Source<State = Self>;

    fn free() -> Self;
    fn enter(owner: usize) -> Self::Enter;
    fn leave(&mut self, owner: usize, now: u64, wakes: &mut Wakes<Tell>);
    fn is_free(&self) -> bool;
}

const COMPANIES: [[Kind; 3]; 7] = [
    [Kind::Thread, Kind::Thread, Kind::Thread],
    [Kind::Thread, Kind::Task, Kind::Task],
    [Kind::Thread, Kind::Expiring, Kind::Task],
    [Kind::Thread, Kind::Interrupted, Kind::Thread],
    [Kind::Task, Kind::Signalled, Kind::Thread],
    [Kind::Thread, Kind::Forgotten, Kind::Thread],
    [Kind::Thread, Kind::Collected, Kind::Thread],
];

struct Place<S> {
    object: Arc<Guarded<S>>,
    work: Racy,
}

impl<S: Exclusive> Place<S> {
    fn visit(&self, kind: Kind, owner: usize, now: u64) {
        if Party::new(kind, owner, &self.object, S::enter(owner)).finish().is_some() {
            self.work.increment();
            self.object.change(|state, wakes| state.leave(owner, now, wakes));
        }
    }
}

fn every_company<S: Exclusive>() {
    for company in COMPANIES {
        for now in CLOCKS {
            check(move || meet::<S>(company, now));
        }
    }
}

fn meet<S: Exclusive>(company: [Kind; 3], now: u64) {
    let place = Arc::new(Place { object: Guarded::new(S::free()), work: Racy::default() });
    let visitors: Vec<_> = (2..4)
        .map(|owner| {
            let place = place.clone();
            thread::spawn(move || place.visit(company[owner - 1], owner, now))
        })
        .collect();
    place.visit(company[0], 1, now);
    visitors.into_iter().for_each(|visitor| visitor.join().unwrap());
    assert!(place.object.change(|state, _| state.is_free()));
}

impl Exclusive for LockState<Tell> {
    type Enter = Acquire<Tell>;

    fn free() -> Self {
        Self::default()
    }

    fn enter(owner: usize) -> Acquire<Tell> {
        Acquire(Who::thread(owner))
    }

    fn leave(&mut self, owner: usize, now: u64, wakes: &mut Wakes<Tell>) {
        assert_eq!(self.owner(), owner);
        if !self.try_release() {
            self.release(|| now, wakes);
        }
    }

    fn is_free(&self) -> bool {
        self.owner() == NOBODY
    }
}

impl Exclusive for ReentrantState<Tell> {
    type Enter = AcquireReentrant<Tell>;

    fn free() -> Self {
        Self::default()
    }

    fn enter(owner: usize) -> AcquireReentrant<Tell> {
        AcquireReentrant(Acquire(Who::thread(owner)))
    }

    fn leave(&mut self, owner: usize, now: u64, wakes: &mut Wakes<Tell>) {
        assert_eq!(self.count_of(owner), 1);
        assert!(self.try_acquire(owner) && self.count_of(owner) == 2);
        self.release(|| now, wakes);
        self.release(|| now, wakes);
    }

    fn is_free(&self) -> bool {
        self.count() == 0 && self.lock.owner() == NOBODY
    }
}

impl Exclusive for SemaphoreState<Tell> {
    type Enter = AcquirePermit<Tell>;

    fn free() -> Self {
        Self::new(1)
    }

    fn enter(_: usize) -> AcquirePermit<Tell> {
        AcquirePermit::default()
    }

    fn leave(&mut self, _: usize, now: u64, wakes: &mut Wakes<Tell>) {
        self.release(1, || now, wakes);
    }

    fn is_free(&self) -> bool {
        self.value() == 1
    }
}

impl Exclusive for LimiterState<Tell> {
    type Enter = Borrow<Tell>;

    fn free() -> Self {
        Self::new(1)
    }

    fn enter(owner: usize) -> Borrow<Tell> {
        Borrow(Who::thread(owner))
    }

    fn leave(&mut self, owner: usize, _: u64, wakes: &mut Wakes<Tell>) {
        assert_eq!(self.give_back(owner, wakes), Ok(()));
    }

    fn is_free(&self) -> bool {
        self.borrowed() == 0
    }
}

impl Exclusive for RwLockState<Tell> {
    type Enter = AcquireWrite<Tell>;

    fn free() -> Self {
        Self::new(Mode::Writer)
    }

    fn enter(owner: usize) -> AcquireWrite<Tell> {
        AcquireWrite(Who::thread(owner))
    }

    fn leave(&mut self, owner: usize, now: u64, wakes: &mut Wakes<Tell>) {
        assert_eq!(self.release_write(owner, || now, wakes), Ok(()));
    }

    fn is_free(&self) -> bool {
        self.writer() == NOBODY && self.reader_count() == 0
    }
}

#[test]
fn lock() {
    every_company::<LockState<Tell>>();
}

#[test]
fn reentrant() {
    every_company::<ReentrantState<Tell>>();
}

#[test]
fn semaphore() {
    every_company::<SemaphoreState<Tell>>();
}

#[test]
fn limiter() {
    every_company::<LimiterState<Tell>>();
}

#[test]
fn write_lock() {
    every_company::<RwLockState<Tell>>();
}

/// Two permits at once, or one after the other.
#[test]
fn a_release_of_two_reaches_two() {
    for (now, at_once) in CLOCKS.into_iter().zip([2, 1]).chain([(0, 1), (u64::MAX, 2)]) {
        check(move || {
            let object = Guarded::new(SemaphoreState::new(0));
            let parties = [2, 3].map(|owner| {
                let party = Party::new(Kind::Thread, owner, &object, SemaphoreState::enter(owner));
                thread::spawn(move || party.finish().unwrap())
            });
            for _ in 0..2 / at_once {
                object.change(|state, wakes| state.release(at_once, || now, wakes));
            }
            parties.into_iter().for_each(|party| party.join().unwrap());
            assert_eq!(object.change(|state, _| state.value()), 0);
        });
    }
}

/// A limiter that grows while two wait for it, one of whom may give up.
#[test]
fn a_limiter_that_grows_reaches_those_who_wait() {
    for kind in [Kind::Thread, Kind::Expiring, Kind::Interrupted, Kind::Collected] {
        check(move || {
            let object = Guarded::new(LimiterState::new(0));
            let parties = [(2, kind), (3, Kind::Task)].map(|(owner, kind)| {
                let party = Party::new(kind, owner, &object, Borrow(Who::thread(owner)));
                thread::spawn(move || usize::from(party.finish().is_some()))
            });
            for total in [1, 2] {
                object.change(|state, wakes| state.set_total(total, wakes));
            }
            let lent: usize = parties.into_iter().map(|party| party.join().unwrap()).sum();
            assert_eq!(object.change(|state, _| state.borrowed()), lent);
        });
    }
}

/// What one was handed is released by a third, as anybody may release a lock, and taken by a
/// fourth; then the first gives it up: the fourth still has it.
#[test]
fn a_grant_that_is_given_up_frees_nothing_of_others() {
    for kind in [Kind::Interrupted, Kind::Signalled, Kind::Thread, Kind::Collected] {
        check(move || {
            let lock = Guarded::new(LockState::<Tell>::default());
            assert!(lock.change(|state, _| state.try_acquire(1)));
            let theirs = lock.clone();
            let second = thread::spawn(move || {
                let entered = Party::new(kind, 2, &theirs, Acquire(Who::thread(2))).finish();
                if entered.is_some() {
                    theirs.change(|state, wakes| {
                        // Unless that was done on its behalf.
                        if state.owner() == 2 {
                            state.release(|| u64::MAX, wakes);
                        }
                    });
                }
            });
            lock.change(|state, wakes| state.release(|| u64::MAX, wakes));
            lock.change(|state, wakes| {
                if state.owner() == 2 {
                    state.release(|| u64::MAX, wakes);
                }
            });
            Party::new(Kind::Thread, 4, &lock, Acquire(Who::thread(4))).finish();
            assert_eq!(lock.change(|state, _| state.owner()), 4);
            lock.change(|state, wakes| state.release(|| u64::MAX, wakes));
            second.join().unwrap();
            assert_eq!(lock.change(|state, _| state.owner()), NOBODY);
        });
    }
}
