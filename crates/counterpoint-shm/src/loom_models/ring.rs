//! Records: whole, in order, and not overwritten while they are read.

use super::{RESULT, between};

/// Three make the ring wrap.
const LONG: [&[u8]; 3] = [&[1; 20], &[2; 12], &[3; 20]];

#[test]
fn records_arrive_whole_and_in_order_across_the_end() {
    between(
        |mut parent| {
            let mut sent = 0;
            // The ring may be full: what is refused is not sent, and that is all.
            for part in LONG {
                sent += usize::from(parent.post(RESULT, &[&part[..4], &part[4..]]));
            }
            assert!(sent >= 2);
        },
        |mut worker| {
            let mut expected = LONG.iter();
            for _ in 0..3 {
                if let Some(task) = worker.next().unwrap() {
                    assert_eq!(task.bytes, *expected.next().unwrap());
                }
            }
        },
    );
}

#[test]
fn a_result_frees_its_entry_and_no_other() {
    between(
        |mut parent| {
            let entries = [0, 1].map(|n| parent.send(RESULT, 0, &[&[n]]).unwrap());
            assert_eq!(parent.send(RESULT, 0, &[&[9]]), None);
            parent.receive(|record| assert_eq!(record.entry, Some(entries[0]))).unwrap();
            assert_eq!(
                parent.in_flight() == 1,
                !parent.is_started(entries[0]) && {
                    parent.send(RESULT, 0, &[]) == Some(entries[0])
                }
            );
        },
        |mut worker| {
            if let Some(task) = worker.next().unwrap() {
                let entry = task.entry;
                assert!(worker.publish(RESULT, entry, &[]));
            }
        },
    );
}
