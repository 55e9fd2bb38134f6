//! The models that loom runs: every interleaving, within a bound on preemptions, of a parent and
//! its worker, as two threads over one lane.
//!
//! A wake-up that is lost leaves a party asleep, which loom reports as a deadlock. A record that
//! is read before it is there, or overwritten before it was read, is a race on the ring's cells,
//! which loom reports too. What must not be lost or doubled is counted.

mod bells;
mod channel;
mod ledger;
mod ring;
mod semaphore;
mod sync;

use crate::lane::{ParentEnd, WorkerEnd, pair};
use loom::thread;

/// The kinds of record of the models.
const TASK: u8 = 1;
const RESULT: u8 = 2;
const STOP: u8 = 3;

/// Runs `model` in every interleaving, with three preemptions unless `LOOM_MAX_PREEMPTIONS` says
/// otherwise: every bug that a mutation of the protocol showed needs three at most.
fn check(model: impl Fn() + Send + Sync + 'static) {
    check_with(3, model);
}

/// The same with another bound, for models of three threads that do much.
fn check_with(preemptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

/// Runs a parent against a worker in every interleaving. Returns after both ended, each time.
fn between(parent: fn(ParentEnd), worker: fn(WorkerEnd)) {
    check(move || {
        let (ours, theirs) = pair();
        let running = thread::spawn(move || worker(theirs));
        parent(ours);
        running.join().unwrap();
    });
}

/// Sleeps as a dispatcher does, unless there is something to do.
fn doze(parent: &mut ParentEnd) {
    let until = parent.prepare_sleep();
    if !parent.pending() {
        parent.sleep(until);
    }
    parent.awake();
}

/// Receives until `count` records are there; their first bytes.
fn receive(parent: &mut ParentEnd, count: usize) -> Vec<u8> {
    let mut received = Vec::new();
    loop {
        parent.receive(|record| received.push(record.bytes[0])).unwrap();
        if received.len() >= count {
            return received;
        }
        doze(parent);
    }
}

/// Sends, waiting for room as long as it takes.
fn send(parent: &mut ParentEnd, payload: &[u8]) -> u16 {
    loop {
        if let Some(entry) = parent.send(TASK, 0, &[payload]) {
            parent.ring();
            return entry;
        }
        doze(parent);
        parent.receive(|_| {}).unwrap();
    }
}

/// Works until it is told to stop; returns the first bytes of the tasks, whose results it
/// publishes if `answer`.
fn work(worker: &mut WorkerEnd, answer: bool) -> Vec<u8> {
    let mut done = Vec::new();
    loop {
        match worker.next().unwrap() {
            None => assert_eq!(worker.sleep(None), crate::lane::Slept::Woken),
            Some(task) if task.kind == STOP => return done,
            Some(task) => {
                let (entry, byte) = (task.entry, task.bytes[0]);
                done.push(byte);
                while answer && !worker.publish(RESULT, entry, &[&[byte]]) {
                    let _ = worker.room_sleep(1, None);
                }
            }
        }
    }
}

/// Lets the worker end.
fn stop(parent: &mut ParentEnd) {
    while !parent.post(STOP, &[]) {
        doze(parent);
        parent.receive(|_| {}).unwrap();
    }
    parent.ring();
}
