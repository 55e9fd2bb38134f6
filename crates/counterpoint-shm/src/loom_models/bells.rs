//! Wake-ups: none is lost, in any of the four ways in which one side waits for the other.

use super::{RESULT, TASK, between, check, doze, receive, send, stop, work};
use crate::clock;
use crate::lane::{HOLD, Slept, pair};
use loom::thread::{spawn, yield_now};

#[test]
fn a_worker_that_goes_to_sleep_finds_or_hears_of_each_task() {
    between(
        |mut parent| {
            for byte in [1, 2] {
                parent.send(TASK, 0, &[&[byte]]).unwrap();
                parent.ring();
            }
            stop(&mut parent);
        },
        |mut worker| assert_eq!(work(&mut worker, false), [1, 2]),
    );
}

#[test]
fn a_worker_whose_time_is_up_keeps_the_ring_that_came_with_it() {
    between(
        |mut parent| {
            parent.send(TASK, 0, &[&[1]]).unwrap();
            parent.ring();
            stop(&mut parent);
        },
        |mut worker| {
            let early = worker.sleep(Some(0));
            assert_ne!(early, Slept::Interrupted);
            assert_eq!(work(&mut worker, false), [1]);
        },
    );
}

#[test]
fn a_worker_that_waits_for_room_hears_of_it() {
    between(
        |mut parent| assert_eq!(receive(&mut parent, 3), [1, 2, 3]),
        |mut worker| {
            for byte in 1..4 {
                // Two fill the ring.
                while !worker.publish(RESULT, None, &[&[byte; 24]]) {
                    assert_eq!(worker.room_sleep(24, None), Slept::Woken);
                }
            }
            worker.flush(clock::now(), true);
        },
    );
}

#[test]
fn a_parent_that_goes_to_sleep_finds_or_hears_of_each_result_of_an_idle_worker() {
    between(
        |mut parent| assert_eq!(receive(&mut parent, 2), [1, 2]),
        |mut worker| {
            for byte in [1, 2] {
                assert!(worker.publish(RESULT, None, &[&[byte]]));
                worker.flush(clock::now(), true);
            }
        },
    );
}

#[test]
fn a_result_that_is_held_back_is_found_though_the_worker_never_comes_back() {
    between(
        |mut parent| assert_eq!(receive(&mut parent, 3), [1, 2, 3]),
        |mut worker| {
            for byte in 1..4 {
                assert!(worker.publish(RESULT, None, &[&[byte]]));
                worker.flush(clock::now(), false);
            }
        },
    );
}

#[test]
fn a_result_that_is_held_back_is_found_though_time_passes_for_the_worker_too() {
    between(
        |mut parent| assert_eq!(receive(&mut parent, 2), [1, 2]),
        |mut worker| {
            assert!(worker.publish(RESULT, None, &[&[1]]));
            worker.flush(clock::now(), false);
            clock::pass(2 * HOLD - 1);
            assert!(worker.publish(RESULT, None, &[&[2]]));
            worker.flush(clock::now(), false);
        },
    );
}

#[test]
fn a_parent_without_room_hears_of_it_though_no_result_comes() {
    between(
        |mut parent| {
            // Two fill the ring.
            for byte in 0..3 {
                while !parent.post(TASK, &[&[byte; 24]]) {
                    doze(&mut parent);
                    assert_eq!(parent.receive(|_| {}), Ok(0));
                }
            }
        },
        |mut worker| {
            for _ in 0..2 {
                while worker.next().unwrap().is_none() {
                    yield_now();
                }
            }
            worker.flush(clock::now(), true);
        },
    );
}

#[test]
fn a_parent_without_entries_hears_that_the_recalled_are_passed() {
    check(|| {
        let (mut parent, mut worker) = pair();
        let entries = [1, 2].map(|byte| parent.send(TASK, 0, &[&[byte]]).unwrap());
        let running = spawn(move || {
            for _ in 0..2 {
                let _ = worker.next().unwrap();
            }
            worker.flush(clock::now(), true);
        });
        if entries.map(|entry| parent.recall(entry)).contains(&true) {
            send(&mut parent, &[3]);
        }
        running.join().unwrap();
    });
}

#[test]
fn a_parent_whose_dispatcher_sleeps_already_hears_of_room_too() {
    check(|| {
        let (mut parent, mut worker) = pair();
        // Two fill the ring.
        assert!(parent.post(TASK, &[&[1; 24]]) && parent.post(TASK, &[&[2; 24]]));
        let _ = parent.prepare_sleep();
        assert!(!parent.pending());
        let running = spawn(move || {
            for _ in 0..2 {
                let _ = worker.next().unwrap();
            }
            worker.flush(clock::now(), true);
        });
        // Another thread of the parent's submits; the dispatcher does not look again.
        if !parent.post(TASK, &[&[3; 24]]) {
            parent.sleep(None);
            parent.awake();
            assert!(parent.post(TASK, &[&[3; 24]]));
        }
        running.join().unwrap();
    });
}

/// While the dispatcher sleeps, a thread looks at the lane and takes in what it finds.
fn looked_at(idle: bool) {
    check(move || {
        let (mut parent, mut worker) = pair();
        let _ = parent.prepare_sleep();
        assert!(!parent.pending());
        let running = spawn(move || {
            for byte in [1, 2] {
                assert!(worker.publish(RESULT, None, &[&[byte]]));
                worker.flush(clock::now(), idle);
            }
        });
        let mut found = 0;
        parent.awake();
        found += parent.receive(|_| {}).unwrap();
        if parent.pending() {
            found += parent.receive(|_| {}).unwrap();
        }
        // Its end is a turn, as the dispatcher takes it.
        let mut until = parent.prepare_sleep();
        while parent.pending() {
            parent.awake();
            found += parent.receive(|_| {}).unwrap();
            until = parent.prepare_sleep();
        }
        if found < 2 {
            // The dispatcher, which was told of the time, or is rung.
            parent.sleep(until);
            parent.awake();
            receive(&mut parent, 2 - found);
        }
        running.join().unwrap();
    });
}

#[test]
fn who_looks_at_a_lane_leaves_no_result_that_the_dispatcher_is_not_rung_for() {
    looked_at(true);
}

#[test]
fn who_looks_at_a_lane_leaves_no_result_that_is_held_back_for_ever() {
    looked_at(false);
}
