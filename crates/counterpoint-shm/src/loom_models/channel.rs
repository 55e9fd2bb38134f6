//! Channels: records are taken once each, in each producer's order, whoever dies meanwhile.

use super::{check, check_with};
use crate::channel::{Channel, Inbox, Parcel, Refusal};
use crate::sync::Owner;
use loom::sync::Arc;
use loom::thread;

fn parcel(content: &[u8]) -> Parcel<'_> {
    Parcel { runs: &[], content, apart: false }
}

/// Puts records of one byte each.
fn put(channel: &Channel, me: Owner, numbers: &[u8]) {
    for number in numbers {
        while let Err(refusal) =
            channel.try_put(me, true, std::iter::once(parcel(std::slice::from_ref(number))))
        {
            let _ = channel.sleep_to_put(refusal, None);
        }
    }
}

fn try_take(channel: &Channel, me: Owner) -> Result<u8, Refusal> {
    let mut inbox = Inbox::default();
    channel.try_take(me, true, 1, &mut inbox)?;
    let (content, runs, apart) = inbox.get(0);
    assert!(content.len() == 1 && runs.is_empty() && !apart);
    Ok(content[0])
}

fn take(channel: &Channel, me: Owner) -> u8 {
    loop {
        match try_take(channel, me) {
            Ok(number) => return number,
            Err(refusal) => {
                let _ = channel.sleep_to_take(refusal, None);
            }
        }
    }
}

#[test]
fn records_arrive_in_order_across_segments() {
    check(|| {
        let channel = Arc::new(Channel::modelled(2));
        let producer = {
            let channel = channel.clone();
            thread::spawn(move || put(&channel, Owner::numbered(1), &[1, 2, 3]))
        };
        for expected in 1..=3 {
            assert_eq!(take(&channel, Owner::numbered(2)), expected);
        }
        producer.join().unwrap();
        assert!(channel.is_empty());
    });
}

#[test]
fn two_producers_wait_for_room_and_lose_nothing() {
    check_with(2, || {
        let channel = Arc::new(Channel::modelled(1));
        let producers = [1, 2].map(|number| {
            let channel = channel.clone();
            thread::spawn(move || put(&channel, Owner::numbered(u64::from(number)), &[number]))
        });
        let sum = take(&channel, Owner::numbered(3)) + take(&channel, Owner::numbered(3));
        assert_eq!(sum, 3);
        producers.into_iter().for_each(|producer| producer.join().unwrap());
    });
}

#[test]
fn two_consumers_get_one_record_each() {
    check_with(2, || {
        let channel = Arc::new(Channel::modelled(9));
        let consumers = [1, 2].map(|number| {
            let channel = channel.clone();
            thread::spawn(move || take(&channel, Owner::numbered(number)))
        });
        put(&channel, Owner::numbered(3), &[5, 6]);
        let sum: u8 = consumers.map(|consumer| consumer.join().unwrap()).iter().sum();
        assert_eq!(sum, 11);
    });
}

#[test]
fn a_half_written_record_is_none() {
    check(|| {
        let channel = Arc::new(Channel::modelled(9));
        let consumer = {
            let channel = channel.clone();
            thread::spawn(move || try_take(&channel, Owner::numbered(3)))
        };
        channel.die_in_put(Owner::numbered(1), &parcel(&[9, 9]));
        let me = Owner::numbered(2);
        put(&channel, me, &[1]);
        let first = consumer.join().unwrap();
        let second = try_take(&channel, me);
        let both = [first, second].map(|taken| taken.unwrap_or(0));
        assert!(both == [1, 0] || both == [0, 1], "{first:?} {second:?}");
    });
}

#[test]
fn a_record_whose_producer_told_nobody_is_there() {
    check(|| {
        let channel = Channel::modelled(9);
        channel.die_after_put(Owner::numbered(1), parcel(&[7]));
        let me = Owner::numbered(2);
        put(&channel, me, &[8]);
        assert_eq!([take(&channel, me), take(&channel, me)], [7, 8]);
    });
}

#[test]
fn a_record_whose_consumer_died_is_taken_by_another() {
    check(|| {
        let channel = Arc::new(Channel::modelled(9));
        put(&channel, Owner::numbered(3), &[4]);
        let dead = {
            let channel = channel.clone();
            thread::spawn(move || channel.die_in_take(Owner::numbered(1)))
        };
        let me = Owner::numbered(2);
        dead.join().unwrap();
        assert_eq!(try_take(&channel, me), Ok(4));
        assert_eq!(try_take(&channel, me), Err(Refusal::Empty));
    });
}

#[test]
fn who_is_asleep_hears_that_it_was_shut() {
    check(|| {
        let channel = Arc::new(Channel::modelled(9));
        let consumer = {
            let channel = channel.clone();
            thread::spawn(move || {
                loop {
                    match try_take(&channel, Owner::numbered(1)) {
                        Err(Refusal::Shut) => return,
                        Err(refusal) => {
                            let _ = channel.sleep_to_take(refusal, None);
                        }
                        Ok(_) => unreachable!(),
                    }
                }
            })
        };
        channel.shut();
        consumer.join().unwrap();
    });
}

#[test]
fn who_joins_hears_that_all_is_finished() {
    check(|| {
        let channel = Arc::new(Channel::modelled(9));
        put(&channel, Owner::numbered(3), &[1, 2]);
        let other = {
            let channel = channel.clone();
            thread::spawn(move || assert!(channel.finish(1)))
        };
        assert!(channel.finish(1));
        while channel.unfinished() > 0 {
            let _ = channel.sleep_to_join(None);
        }
        other.join().unwrap();
        assert!(!channel.finish(1));
    });
}
