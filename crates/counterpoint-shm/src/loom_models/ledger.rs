//! Tasks: each is started or taken back, and after a death it is known which.

use super::{TASK, between, check, receive, send, stop, work};
use crate::lane::{Phase, pair};
use loom::thread;

#[test]
fn a_task_is_started_or_recalled_never_both_and_never_neither() {
    check(|| {
        let (mut parent, mut worker) = pair();
        let entry = parent.send(TASK, 0, &[&[1]]).unwrap();
        let other = thread::spawn(move || worker.next().unwrap().is_some());
        let recalled = parent.recall(entry);
        assert_eq!(parent.in_flight() == 0, recalled);
        let started = other.join().unwrap();
        assert!(started != recalled);
        let phase = if started { Phase::Started } else { Phase::Skipped };
        assert_eq!((parent.state(entry), parent.is_started(entry)), (phase, started));
    });
}

#[test]
fn a_recalled_entry_serves_again_once_its_record_is_passed() {
    between(
        |mut parent| {
            let first = send(&mut parent, &[1]);
            let recalled = parent.recall(first);
            let second = send(&mut parent, &[2]);
            if let Some(third) = parent.send(TASK, 0, &[&[3]]) {
                // Only a result that was received would have freed the other.
                assert!(recalled && third == first && second != first);
            }
        },
        |mut worker| {
            let tasks = [1, 2, 3].map(|_| worker.next().unwrap().map_or(0, |task| task.bytes[0]));
            let done: Vec<u8> = tasks.into_iter().filter(|byte| *byte != 0).collect();
            assert!(done.is_sorted() && done.iter().all(|byte| *byte <= 3));
        },
    );
}

#[test]
fn who_sees_a_task_started_sees_no_earlier_start() {
    between(
        |mut parent| {
            send(&mut parent, &[1]);
            let second = send(&mut parent, &[2]);
            if parent.is_started(second) {
                assert!([0, 20].contains(&parent.started_at()));
            }
        },
        |mut worker| {
            for now in [10, 20] {
                if worker.next().unwrap().is_none() {
                    break;
                }
                worker.begin(now);
                worker.end(now + 1);
            }
        },
    );
}

#[test]
fn a_death_at_any_step_leaves_results_or_started_or_unstarted_tasks() {
    // The worker ends between any two of its steps, or never does a second thing.
    for steps in 0..5 {
        check(move || {
            let (mut parent, mut worker) = pair();
            let dying = thread::spawn(move || {
                for step in 0..steps {
                    match step % 2 {
                        0 if worker.next().unwrap().is_none() => break,
                        0 => {}
                        _ => assert!(worker.publish(TASK, Some(step / 2), &[&[7]])),
                    }
                }
                steps
            });
            for byte in 0..2 {
                parent.send(TASK, 0, &[&[byte]]).unwrap();
            }
            let mut results = parent.receive(|_| {}).unwrap();
            dying.join().unwrap();
            results += parent.receive(|_| {}).unwrap();
            let left = parent.leftover();
            assert_eq!(results + left.started.len() + left.unstarted.len(), 2);
            assert!(left.started.len() <= 1);
            assert_eq!(parent.in_flight(), 0);
        });
    }
}

#[test]
fn results_of_all_tasks_arrive_once() {
    between(
        |mut parent| {
            send(&mut parent, &[1]);
            send(&mut parent, &[2]);
            assert_eq!(receive(&mut parent, 2), [1, 2]);
            stop(&mut parent);
        },
        |mut worker| assert_eq!(work(&mut worker, true), [1, 2]),
    );
}
