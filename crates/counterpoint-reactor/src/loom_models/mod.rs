//! The models that loom runs: every interleaving, within a bound on preemptions, of a loop that
//! parks and threads that queue callbacks; in the files beside this, of what else threads share.
//!
//! A wake-up that is lost leaves the loop asleep, which loom reports as a deadlock.

mod beat;
mod phase;

use crate::ready::Ready;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// The alarm, as the kernel's counter behaves: a ring that comes before the sleep ends it at once.
#[derive(Default)]
struct Alarm {
    rung: Mutex<bool>,
    changed: Condvar,
}

impl Alarm {
    fn ring(&self) {
        *self.rung.lock().unwrap() = true;
        self.changed.notify_one();
    }

    fn sleep(&self) {
        let mut rung = self.rung.lock().unwrap();
        while !*rung {
            rung = self.changed.wait(rung).unwrap();
        }
        *rung = false;
    }
}

#[derive(Default)]
struct Shared {
    ready: Mutex<Ready<u32>>,
    alarm: Alarm,
}

impl Shared {
    fn queue(&self, callback: u32) {
        let ring = self.ready.lock().unwrap().push(callback);
        if ring {
            self.alarm.ring();
        }
    }

    /// Runs callbacks until `count` have run, as a loop does.
    fn run(&self, count: usize) -> Vec<u32> {
        let mut ran = Vec::new();
        while ran.len() < count {
            if self.ready.lock().unwrap().park() {
                self.alarm.sleep();
                self.ready.lock().unwrap().unpark();
            }
            while let Some(callback) = { self.ready.lock().unwrap().pop() } {
                ran.push(callback);
            }
        }
        ran
    }
}

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}

#[test]
fn a_callback_from_another_thread_wakes_the_loop() {
    check(|| {
        let shared = Arc::new(Shared::default());
        let theirs = shared.clone();
        let other = thread::spawn(move || {
            theirs.queue(1);
            theirs.queue(2);
        });
        assert_eq!(shared.run(2), [1, 2], "a thread's order is kept");
        other.join().unwrap();
    });
}

#[test]
fn callbacks_from_two_threads_all_run() {
    check(|| {
        let shared = Arc::new(Shared::default());
        let others = [1, 2].map(|callback| {
            let theirs = shared.clone();
            thread::spawn(move || theirs.queue(callback))
        });
        let mut ran = shared.run(2);
        ran.sort_unstable();
        assert_eq!(ran, [1, 2]);
        others.into_iter().for_each(|other| other.join().unwrap());
    });
}
