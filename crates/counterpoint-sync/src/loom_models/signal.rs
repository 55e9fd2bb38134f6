//! Condition and event: news reaches somebody who stays, once.

use super::{CLOCKS, Guarded, Kind, Party, Racy, Tell, check};
use crate::lock::Who;
use crate::lock::condition::{AwaitSignal, SignalState};
use crate::lock::mutex::{Acquire, LockState};
use crate::wait::{Shared, deliver};
use crate::waiter::Wakes;
use loom::sync::Arc;
use loom::thread;

type Object = Arc<Guarded<SignalState<Tell>>>;

fn party(object: &Object, kind: Kind, owner: usize) -> Party<AwaitSignal<Tell>> {
    Party::new(kind, owner, object, AwaitSignal::default())
}

/// The first in line gives up while it is notified: the second must hear of it.
#[test]
fn a_notification_reaches_one_who_stays() {
    for kind in [Kind::Expiring, Kind::Interrupted, Kind::Collected, Kind::Forgotten] {
        check(move || {
            let object = Guarded::new(SignalState::default());
            let parties =
                [(kind, 2), (Kind::Thread, 3)].map(|(kind, owner)| party(&object, kind, owner));
            let [first, second] = parties.map(Party::queued);
            let notifier = object.clone();
            let first = thread::spawn(move || {
                // One whose time was up when it was told has used the notification.
                if first.finish().is_some() {
                    notifier.change(|state, wakes| state.notify(1, wakes));
                }
            });
            let second = thread::spawn(move || second.finish().unwrap());
            assert_eq!(object.change(|state, wakes| state.notify(1, wakes)), 1);
            first.join().unwrap();
            second.join().unwrap();
        });
    }
}

#[test]
fn each_notification_reaches_another() {
    for kind in [Kind::Thread, Kind::Task, Kind::Signalled] {
        check(move || {
            let object = Guarded::new(SignalState::default());
            let parties = [(kind, 2), (Kind::Thread, 3)]
                .map(|(kind, owner)| party(&object, kind, owner).queued())
                .map(|party| thread::spawn(move || party.finish().unwrap()));
            for _ in 0..2 {
                assert_eq!(object.change(|state, wakes| state.notify(1, wakes)), 1);
            }
            parties.into_iter().for_each(|party| party.join().unwrap());
        });
    }
}

#[test]
fn an_event_reaches_everyone() {
    for kind in [Kind::Thread, Kind::Task, Kind::Expiring, Kind::Interrupted, Kind::Signalled] {
        check(move || {
            let object = Guarded::new(SignalState::default());
            let parties = [(kind, 2), (Kind::Task, 3)].map(|(kind, owner)| {
                let party = party(&object, kind, owner);
                thread::spawn(move || party.finish().is_some())
            });
            object.change(|state, wakes| state.set(wakes));
            let [first, second] = parties.map(|party| party.join().unwrap());
            assert!(second && (first || matches!(kind, Kind::Expiring | Kind::Interrupted)));
        });
    }
}

/// Whoever stood in line when the event was set is told, though it is cleared at once.
#[test]
fn a_pulse_reaches_those_who_stood_in_line() {
    for kind in [Kind::Thread, Kind::Task, Kind::Signalled] {
        check(move || {
            let object = Guarded::new(SignalState::default());
            let party = party(&object, kind, 2).queued();
            let party = thread::spawn(move || party.finish().unwrap());
            object.change(|state, wakes| state.set(wakes));
            object.change(|state, _| state.clear());
            party.join().unwrap();
        });
    }
}

/// A condition, its lock, and the predicate that the lock protects.
struct Guarding {
    lock: Arc<Guarded<LockState<Tell>>>,
    condition: Object,
    ready: Racy,
    now: u64,
}

impl Guarding {
    fn enter(&self, kind: Kind, owner: usize) {
        Party::new(kind, owner, &self.lock, Acquire(Who::thread(owner))).finish().unwrap();
    }

    fn leave(&self) {
        self.lock.change(|lock, wakes| {
            if !lock.try_release() {
                lock.release(|| self.now, wakes);
            }
        });
    }

    /// Waits until it is ready, or until an impatient party no longer wants to.
    fn wait(&self, kind: Kind, owner: usize) {
        let patient = if kind == Kind::Task { Kind::Task } else { Kind::Thread };
        self.enter(patient, owner);
        while self.ready.read() == 0 {
            let told = party(&self.condition, kind, owner).queued();
            self.leave();
            let told = told.finish();
            self.enter(patient, owner);
            if told.is_none() {
                break;
            }
        }
        self.leave();
    }

    /// As the binding does it: threads that are told are woken by the release of the lock.
    fn make_ready(&self, owner: usize) {
        self.enter(Kind::Thread, owner);
        self.ready.increment();
        let mut wakes = Wakes::default();
        self.condition.with(|state| state.notify(2, &mut wakes));
        let threads = wakes.take_threads();
        self.lock.with(|lock| lock.wake_on_release(threads, &mut wakes));
        deliver(&*self.condition, wakes);
        self.leave();
    }
}

/// The whole of a condition variable: whoever waits for the predicate learns that it holds.
#[test]
fn who_waits_with_a_lock_is_woken_by_its_release() {
    for kind in [Kind::Thread, Kind::Task, Kind::Expiring, Kind::Interrupted] {
        for now in CLOCKS {
            check(move || {
                let guarding = Arc::new(Guarding {
                    lock: Guarded::new(LockState::default()),
                    condition: Guarded::new(SignalState::default()),
                    ready: Racy::default(),
                    now,
                });
                let waiting = [(2, kind), (3, Kind::Thread)].map(|(owner, kind)| {
                    let guarding = guarding.clone();
                    thread::spawn(move || guarding.wait(kind, owner))
                });
                guarding.make_ready(1);
                waiting.into_iter().for_each(|waiting| waiting.join().unwrap());
            });
        }
    }
}
