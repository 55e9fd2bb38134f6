//! Lanes between real processes, which are killed at any moment.
#![cfg(not(any(loom, miri)))]

mod kit;

use counterpoint_shm::lane::ENTRIES;
use kit::{Chance, STOP, TASK, Worker, limit, number, payload};
use std::collections::{HashMap, VecDeque};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Waiting,
    Done,
    Lost,
}

/// A pool of one worker, which is replaced when it dies.
struct Pool {
    worker: Worker,
    queue: VecDeque<u64>,
    /// Which task an entry is.
    sent: HashMap<u16, u64>,
    fates: Vec<Fate>,
    chance: Chance,
    deaths: usize,
}

impl Pool {
    fn new(tasks: u64, seed: u64) -> Self {
        Self {
            worker: Worker::start(),
            queue: (0..tasks).collect(),
            sent: HashMap::new(),
            fates: vec![Fate::Waiting; tasks as usize],
            chance: Chance::new(seed),
            deaths: 0,
        }
    }

    fn refill(&mut self, longest: u64, at_once: usize) {
        while let Some(number) = self.queue.front()
            && self.sent.len() < at_once
        {
            let bytes = payload(*number, self.chance.below(longest) as usize);
            let Some(entry) = self.worker.lane.send(TASK, 0, &[&bytes[..5], &bytes[5..]]) else {
                break;
            };
            assert_eq!(self.sent.insert(entry, *number), None);
            self.queue.pop_front();
            if self.chance.below(4) == 0 {
                self.worker.lane.ring();
            }
        }
        self.worker.lane.ring();
    }

    /// Takes one back that may have been started, and queues it again if it was not.
    fn recall_one(&mut self) {
        let entry = self.chance.below(ENTRIES as u64) as u16;
        if self.worker.lane.recall(entry) {
            self.queue.push_back(self.sent.remove(&entry).unwrap());
        }
    }

    fn receive(&mut self) {
        let Self { worker, sent, fates, .. } = self;
        let received = worker.lane.receive(|record| {
            let number = sent.remove(&record.entry.unwrap()).unwrap();
            assert_eq!(kit::number(record.bytes), number);
            let fate = std::mem::replace(&mut fates[number as usize], Fate::Done);
            assert_eq!(fate, Fate::Waiting);
        });
        received.unwrap();
        assert_eq!(worker.lane.in_flight(), sent.len());
    }

    fn bury(&mut self) {
        assert_eq!(self.worker.reap(), -libc::SIGKILL);
        self.receive();
        let left = self.worker.lane.leftover();
        assert!(left.started.len() <= 1, "{left:?}");
        for entry in left.started {
            let number = self.sent.remove(&entry).unwrap();
            let fate = std::mem::replace(&mut self.fates[number as usize], Fate::Lost);
            assert_eq!(fate, Fate::Waiting);
        }
        for entry in left.unstarted.into_iter().rev() {
            self.queue.push_front(self.sent.remove(&entry).unwrap());
        }
        assert!(self.sent.is_empty());
        self.worker = Worker::start();
        self.deaths += 1;
    }

    fn lost(&self) -> usize {
        self.fates.iter().filter(|fate| **fate == Fate::Lost).count()
    }

    fn is_over(&self) -> bool {
        self.queue.is_empty() && self.sent.is_empty()
    }

    fn stop(mut self) {
        assert!(!self.fates.contains(&Fate::Waiting));
        assert!(self.worker.lane.post(STOP, &[]));
        self.worker.lane.ring();
        assert_eq!(self.worker.reap(), 0);
    }
}

#[test]
fn every_task_comes_back_once() {
    limit(100);
    let mut pool = Pool::new(100_000, 1);
    while !pool.is_over() {
        pool.refill(200, ENTRIES);
        assert!(pool.worker.doze());
        pool.receive();
    }
    assert_eq!(pool.lost(), 0);
    pool.stop();
}

#[test]
fn long_payloads_wait_for_room_on_both_sides() {
    limit(100);
    let mut pool = Pool::new(2_000, 2);
    while !pool.is_over() {
        pool.refill(100_000, ENTRIES);
        pool.recall_one();
        assert!(pool.worker.doze());
        pool.receive();
    }
    pool.stop();
}

#[test]
fn one_at_a_time_both_sides_sleep_each_time() {
    limit(100);
    let mut worker = Worker::start();
    for round in 0..20_000 {
        let entry = worker.lane.send(TASK, 0, &[&payload(round, 10)]).unwrap();
        worker.lane.ring();
        let mut answered = false;
        while !answered {
            assert!(worker.doze());
            worker
                .lane
                .receive(|record| {
                    assert_eq!((record.entry, number(record.bytes)), (Some(entry), round));
                    answered = true;
                })
                .unwrap();
        }
    }
    worker.kill();
    assert_eq!(worker.reap(), -libc::SIGKILL);
}

/// The storm: whatever was running is lost, at most one task a death, and nothing else.
fn storm(seed: u64, tasks: u64, longest: u64) {
    limit(100);
    let mut pool = Pool::new(tasks, seed);
    while !pool.is_over() {
        pool.refill(longest, 50);
        // A few hundred looks at a clock: the worker is anywhere in its loop by then.
        for _ in 0..pool.chance.below(400) {
            counterpoint_shm::clock::now();
        }
        match pool.chance.below(6) {
            0 => pool.worker.kill(),
            1 => pool.recall_one(),
            _ => {}
        }
        if !pool.worker.doze() {
            pool.bury();
        }
        pool.receive();
    }
    assert!(pool.deaths > 20 && pool.lost() <= pool.deaths);
    println!("{} deaths, {} tasks lost", pool.deaths, pool.lost());
    // It may have been killed after the last result.
    if pool.worker.lane.in_flight() == 0 {
        pool.worker.kill();
        pool.bury();
    }
    pool.stop();
}

#[test]
fn a_death_costs_what_was_running_short_tasks() {
    storm(3, 30_000, 100);
}

#[test]
fn a_death_costs_what_was_running_long_tasks() {
    storm(4, 5_000, 30_000);
}
