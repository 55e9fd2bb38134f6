use super::*;
use crate::clock;
use std::os::fd::BorrowedFd;

/// The two ends, each with its own mapping.
fn lane() -> (ParentEnd, WorkerEnd) {
    let parent = ParentEnd::create().unwrap();
    let dup = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
    let worker = WorkerEnd::adopt(dup(parent.fd()), dup(parent.event_fd())).unwrap();
    (parent, worker)
}

fn received(parent: &mut ParentEnd) -> Vec<(u8, Option<u16>, Vec<u8>)> {
    let mut records = Vec::new();
    parent
        .receive(|record| records.push((record.kind, record.entry, record.bytes.to_vec())))
        .unwrap();
    records
}

#[test]
fn a_task_goes_there_and_its_result_comes_back() {
    let (mut parent, mut worker) = lane();
    assert!(parent.post(9, &[b"define"]));
    let entry = parent.send(1, 0x80, &[b"do ", b"this"]).unwrap();
    assert_eq!((parent.in_flight(), parent.state(entry)), (1, Phase::Sent));
    let task = worker.next().unwrap().unwrap();
    assert_eq!(task, Task { kind: 9, flags: 0, entry: None, bytes: b"define" });
    let task = worker.next().unwrap().unwrap();
    assert_eq!(task, Task { kind: 1, flags: 0x80, entry: Some(entry), bytes: b"do this" });
    worker.begin(1000);
    assert!(parent.is_started(entry) && parent.started_at() == 1000);
    assert!(worker.publish(2, Some(entry), &[b"done"]));
    worker.end(1500);
    worker.count_beside(1000, 2000);
    assert_eq!(received(&mut parent), [(2, Some(entry), b"done".to_vec())]);
    assert_eq!((parent.in_flight(), parent.state(entry)), (0, Phase::Free));
    assert_eq!(parent.started_at(), 0);
    let counters = Counters { tasks: 1, busy_ns: 500, bytes_in: 1013, bytes_out: 2004 };
    assert_eq!(parent.counters(), counters);
}

#[test]
fn a_recalled_task_is_skipped() {
    let (mut parent, mut worker) = lane();
    let entries = [0, 1, 2].map(|n| parent.send(1, 0, &[&[n]]).unwrap());
    assert!(parent.recall(entries[1]) && !parent.recall(entries[1]));
    assert_eq!(worker.next().unwrap().unwrap().bytes, [0]);
    assert!(!parent.recall(entries[0]) && !parent.recall(511) && !parent.recall(512));
    assert_eq!(worker.next().unwrap().unwrap().bytes, [2]);
    assert_eq!(worker.next(), Ok(None));
    assert_eq!(parent.state(entries[1]), Phase::Skipped);
    assert_eq!(parent.in_flight(), 2);
}

#[test]
fn entries_run_out_and_come_back() {
    let (mut parent, mut worker) = lane();
    let entries: Vec<_> = (0..ENTRIES).map(|_| parent.send(1, 0, &[]).unwrap()).collect();
    assert_eq!((parent.send(1, 0, &[]), parent.free_space()), (None, 0));
    assert!(parent.post(1, &[]) && parent.recall(entries[0]));
    assert_eq!(parent.send(1, 0, &[]), None);
    worker.next().unwrap().unwrap();
    assert!(parent.pending());
    assert_eq!(parent.send(1, 0, &[]), Some(entries[0]));
    assert_eq!(parent.in_flight(), ENTRIES);
}

#[test]
fn what_is_too_long_is_refused_and_the_longest_is_not() {
    let (mut parent, mut worker) = lane();
    let long = vec![7; MAX_PAYLOAD + 1];
    assert_eq!(parent.send(1, 0, &[&long]), None);
    assert!(!parent.pending());
    assert!(parent.free_space() >= MAX_PAYLOAD);
    let entry = parent.send(1, 0, &[&long[1..]]);
    assert!(entry.is_some());
    assert_eq!(worker.next().unwrap().unwrap().bytes, &long[1..]);
    assert!(!worker.publish(2, entry, &[&long]));
    assert!(worker.publish(2, entry, &[&long[1..]]));
    assert_eq!(received(&mut parent), [(2, entry, long[1..].to_vec())]);
}

#[test]
fn a_parent_that_sleeps_is_rung_once_and_then_again_after_a_hold() {
    let (mut parent, mut worker) = lane();
    let publish = |worker: &mut WorkerEnd| assert!(worker.publish(2, None, &[]));
    publish(&mut worker);
    assert!(!worker.flush(clock::now(), true), "the parent is awake");
    assert_eq!(received(&mut parent).len(), 1);

    assert_eq!(parent.prepare_sleep(), None);
    assert!(!parent.pending());
    publish(&mut worker);
    let first = clock::now();
    assert!(worker.flush(first, false));
    publish(&mut worker);
    assert!(!worker.flush(first + HOLD, true), "it was rung already");
    parent.awake();
    assert_eq!(received(&mut parent).len(), 2);

    // What is held back now must be looked for by the parent itself.
    assert!(parent.prepare_sleep().is_some_and(|at| at >= first + HOLD));
    publish(&mut worker);
    assert!(!worker.flush(first + HOLD - 1, false));
    assert!(worker.flush(first + HOLD, false));
    parent.awake();
    assert_eq!(received(&mut parent).len(), 1);
}

#[test]
fn a_full_result_ring_is_rung_for_at_once() {
    let (mut parent, mut worker) = lane();
    let chunk = vec![0; RESULT_RING / 8];
    let now = clock::now();
    let _ = parent.prepare_sleep();
    assert!(worker.publish(2, None, &[&chunk]) && worker.flush(now, false));
    parent.awake();
    let _ = parent.prepare_sleep();
    for _ in 0..2 {
        assert!(worker.publish(2, None, &[&chunk]));
        assert!(!worker.flush(now, false));
    }
    assert!(worker.publish(2, None, &[&chunk]) && worker.flush(now, false));
    while worker.publish(2, None, &[&chunk]) {}
    assert_eq!(worker.room_sleep(chunk.len(), Some(now)), Slept::TimedOut);
    parent.awake();
    assert_eq!(received(&mut parent).len(), 7);
    assert_eq!(worker.room_sleep(chunk.len(), None), Slept::Woken);
}

#[test]
fn a_worker_sleeps_to_its_deadline_or_until_it_is_rung() {
    let (mut parent, mut worker) = lane();
    let until = clock::now() + 1_000_000;
    assert_eq!(worker.sleep(Some(until)), Slept::TimedOut);
    assert!(clock::now() >= until);
    assert!(!parent.ring());
    std::thread::scope(|scope| {
        scope.spawn(|| while worker.sleep(None) != Slept::Woken || !worker.has_next() {});
        assert!(parent.post(1, &[]));
        parent.ring();
    });
}

#[test]
fn the_dead_leave_what_was_started_and_what_was_not() {
    let (mut parent, mut worker) = lane();
    let entries: Vec<_> = (0..5).map(|n| parent.send(1, 0, &[&[n]]).unwrap()).collect();
    assert!(parent.recall(entries[3]));
    worker.next().unwrap().unwrap();
    assert!(worker.publish(2, Some(entries[0]), &[]));
    worker.next().unwrap().unwrap();
    drop(worker);
    assert_eq!(received(&mut parent).len(), 1);
    let left = Leftover { started: vec![entries[1]], unstarted: vec![entries[2], entries[4]] };
    assert_eq!(parent.leftover(), left);
    assert_eq!((parent.in_flight(), parent.send(1, 0, &[])), (0, None));
    assert_eq!(parent.leftover(), Leftover::default());
}

#[test]
fn a_result_that_nobody_asked_for_is_corrupt() {
    for entry in [0, 1, 600, u16::MAX - 1] {
        let (mut parent, mut worker) = lane();
        assert_eq!(parent.send(1, 0, &[]), Some(0));
        assert!(worker.publish(2, Some(entry), &[]));
        assert_eq!(parent.receive(|_| panic!("nothing to see")), Err(Corrupt));
        assert!(parent.pending());
        assert_eq!(parent.receive(|_| panic!("nothing to see")), Err(Corrupt));
        assert_eq!(parent.leftover().unstarted, [0]);
    }
}

#[test]
fn what_is_no_lane_is_refused() {
    let parent = ParentEnd::create().unwrap();
    let event = || parent.event_fd().try_clone_to_owned().unwrap();
    let other = crate::memory::Segment::create(c"other", 4096).unwrap();
    assert!(WorkerEnd::adopt(other.fd().try_clone_to_owned().unwrap(), event()).is_err());
    assert!(WorkerEnd::adopt(event(), event()).is_err());
}
