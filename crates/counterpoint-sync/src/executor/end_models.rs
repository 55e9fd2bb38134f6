//! Every interleaving of those who set timers and the thread that serves them, and of those who
//! end a future and those who wait for it.

use super::future::{Cancel, Done, FutureState, Phase, Start};
use super::timers::{Alarm, Tick, TimerState};
use crate::door::Mutex;
use crate::loom_models::{Guarded, Kind, Party, Tell, check};
use crate::waiter::Waiter;
use loom::thread::{self, JoinHandle};
use std::sync::Arc;

/// A moment that does not come.
const NEVER: u64 = u64::MAX;

/// A moment that comes when somebody sleeps until it.
const LATER: u64 = 10;

/// Timers, what was served, and the threads that serve.
#[derive(Default)]
struct Timers {
    state: Mutex<TimerState<u32, Tell>>,
    served: Mutex<Vec<u32>>,
    servers: Mutex<Vec<JoinHandle<()>>>,
}

impl Timers {
    fn add(self: &Arc<Self>, at: u64, item: u32) {
        let alarm = self.state.lock().unwrap().add(at, item);
        self.carry_out(alarm);
    }

    fn sweep(self: &Arc<Self>, keep: impl Fn(&u32) -> bool) -> Vec<u32> {
        let (gone, alarm) = self.state.lock().unwrap().sweep(keep);
        self.carry_out(alarm);
        gone
    }

    fn carry_out(self: &Arc<Self>, alarm: Alarm<Tell>) {
        match alarm {
            Alarm::Nothing => {}
            Alarm::Wake(waiter) => assert!(waiter.wake()),
            Alarm::Start => {
                let timers = self.clone();
                let server = thread::spawn(move || timers.serve());
                self.servers.lock().unwrap().push(server);
            }
        }
    }

    fn serve(&self) {
        let mut now = 0;
        loop {
            let waiter = Waiter::thread(1, 0);
            let tick = self.state.lock().unwrap().tick(now, &waiter);
            match tick {
                Tick::Due(item) => self.served.lock().unwrap().push(item),
                Tick::Sleep(NEVER) => drop(waiter.park(None)),
                Tick::Sleep(at) => now = at,
                Tick::Leave => return,
            }
        }
    }

    /// Sees the servers off; what they served, sorted.
    fn end(&self) -> Vec<u32> {
        while let Some(server) = { self.servers.lock().unwrap().pop() } {
            server.join().unwrap();
        }
        assert!(self.state.lock().unwrap().is_empty());
        let mut served = std::mem::take(&mut *self.served.lock().unwrap());
        served.sort_unstable();
        served
    }
}

/// One sleeps until a moment that does not come; what is due sooner wakes it.
#[test]
fn a_timer_that_is_due_sooner_wakes_the_one_who_serves() {
    for at in [0, LATER] {
        check(move || {
            let timers = Arc::new(Timers::default());
            timers.add(NEVER, 1);
            timers.add(at, 2);
            // Nothing wakes it for the first.
            while timers.served.lock().unwrap().is_empty() {
                thread::yield_now();
            }
            assert_eq!(timers.sweep(|_| false), [1]);
            assert_eq!(timers.end(), [2]);
        });
    }
}

/// The last timer is swept away while one is added: it is served, and everybody leaves.
#[test]
fn a_sweep_lets_the_one_who_serves_leave_and_loses_no_timer() {
    for at in [0, LATER] {
        check(move || {
            let timers = Arc::new(Timers::default());
            timers.add(NEVER, 1);
            let theirs = timers.clone();
            let adder = thread::spawn(move || theirs.add(at, 2));
            assert_eq!(timers.sweep(|item| *item != 1), [1]);
            adder.join().unwrap();
            assert_eq!(timers.end(), [2]);
        });
    }
}

type Future = loom::sync::Arc<Guarded<FutureState<Tell>>>;

fn beside<R: 'static>(future: &Future, f: impl FnOnce(&Future) -> R + 'static) -> JoinHandle<R> {
    let future = future.clone();
    thread::spawn(move || f(&future))
}

fn wait(future: &Future, kind: Kind, owner: usize) -> Option<()> {
    let outcome = Party::new(kind, owner, future, Done::default()).finish();
    drop(future.change(|state, _| state.tidy()));
    outcome
}

/// Its worker starts it, wants another attempt, and starts it again; whether it was the one who
/// ended it.
fn work_twice(future: &Future) -> bool {
    let start = || future.change(|state, _| state.start());
    let mut started = start();
    if started == Start::Run && future.change(|state, _| state.retry()) {
        started = start();
    }
    started == Start::Run && future.change(FutureState::finish).is_ok()
}

/// Either it is cancelled, which its worker hears of, or it ends; and once only.
#[test]
fn a_retry_meets_a_cancellation() {
    check(|| {
        let future: Future = Guarded::new(FutureState::default());
        let worker = beside(&future, work_twice);
        let canceller = beside(&future, |future| future.change(FutureState::cancel));
        assert_eq!(wait(&future, Kind::Thread, 1), Some(()));
        let (finished, cancelled) = (worker.join().unwrap(), canceller.join().unwrap());
        assert_ne!(finished, cancelled == Cancel::Now);
        let phase = if finished { Phase::Finished } else { Phase::Notified };
        assert_eq!(future.change(|state, _| state.phase()), phase);
    });
}

/// Somebody else gives it a result meanwhile.
#[test]
fn a_retry_meets_the_end() {
    check(|| {
        let future: Future = Guarded::new(FutureState::default());
        let worker = beside(&future, work_twice);
        let other = beside(&future, |future| future.change(FutureState::finish).is_ok());
        assert_eq!(wait(&future, Kind::Thread, 1), Some(()));
        assert_ne!(worker.join().unwrap(), other.join().unwrap());
        assert_eq!(future.change(|state, _| state.phase()), Phase::Finished);
    });
}

/// One whose time is up gives the list back while another comes to wait, and the end comes.
#[test]
fn a_list_that_is_given_back_takes_nobody_with_it() {
    for kind in [Kind::Expiring, Kind::Interrupted, Kind::Signalled] {
        check(move || {
            let future: Future = Guarded::new(FutureState::default());
            let impatient = beside(&future, move |future| wait(future, kind, 2));
            let patient = beside(&future, |future| wait(future, Kind::Thread, 3));
            assert_eq!(future.change(|state, _| state.start()), Start::Run);
            assert!(future.change(FutureState::finish).is_ok());
            assert_eq!(patient.join().unwrap(), Some(()));
            let outcome = impatient.join().unwrap();
            assert!(outcome.is_some() || kind != Kind::Signalled);
        });
    }
}
