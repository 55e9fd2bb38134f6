//! Channels and locks between real processes, which are killed at any moment.
#![cfg(not(any(loom, miri)))]

mod kit;

use counterpoint_shm::channel::{Channel, INLINE, Inbox, Parcel, Refusal, Run, UNBOUNDED};
use counterpoint_shm::clock;
use counterpoint_shm::memory::Segment;
use counterpoint_shm::sync::{Locked, Mutex, Owner, Patience, Placed, Semaphore, Waiters};
use kit::{Chance, fork, kill, limit, reap};
use std::collections::HashMap;
use std::sync::Arc;

/// Tries until it is not refused, sleeping as the binding does.
fn wait<T>(
    mut attempt: impl FnMut(bool) -> Result<T, Refusal>,
    sleep: impl Fn(Refusal, Option<u64>),
) -> T {
    let (mut patience, mut insist) = (Patience::default(), false);
    loop {
        match attempt(insist) {
            Ok(done) => return done,
            Err(refusal) => {
                let until = patience.until(None, u64::MAX);
                sleep(refusal, until);
                insist = until.is_some_and(|until| clock::now() >= until);
                if insist {
                    patience.lengthen();
                }
            }
        }
    }
}

fn put(channel: &Arc<Channel>, content: &[u8]) {
    let held = (content.len() > INLINE).then(|| {
        let held = channel.alloc(content.len()).unwrap();
        // SAFETY: the run is ours, and of that length.
        unsafe { held.as_ptr().copy_from_nonoverlapping(content.as_ptr(), content.len()) };
        held
    });
    let runs: Vec<Run> = held.iter().map(|held| held.run()).collect();
    let content = if held.is_some() { &[] } else { content };
    let parcel = Parcel { runs: &runs, content, apart: held.is_some() };
    let put = |insist| channel.try_put(Owner::me(), insist, std::iter::once(parcel));
    wait(put, |refusal, until| {
        let _ = channel.sleep_to_put(refusal, until);
    });
    held.into_iter().for_each(|held| held.sent());
}

/// Takes as many as there are.
fn take(channel: &Arc<Channel>, most: usize) -> Vec<Vec<u8>> {
    let mut inbox = Inbox::default();
    let take = |insist| channel.try_take(Owner::me(), insist, most, &mut inbox);
    wait(take, |refusal, until| {
        assert!(matches!(refusal, Refusal::Busy | Refusal::Empty), "{refusal:?}");
        let _ = channel.sleep_to_take(refusal, until);
    });
    let content = |at| {
        let (content, runs, apart) = inbox.get(at);
        let held: Vec<_> = runs.iter().map(|run| channel.held(*run)).collect();
        if !apart {
            return content.to_vec();
        }
        let held = held.last().unwrap();
        // SAFETY: the run is ours, and of that length.
        unsafe { std::slice::from_raw_parts(held.as_ptr(), held.len()) }.to_vec()
    };
    (0..inbox.len()).map(content).collect()
}

/// A record that proves itself: producer, number, and bytes that follow from both.
fn record(producer: u32, number: u32, len: usize) -> Vec<u8> {
    let mut bytes = producer.to_le_bytes().to_vec();
    bytes.extend(number.to_le_bytes());
    bytes.extend((0..len).map(|at| (number as usize + at) as u8));
    bytes
}

fn read(bytes: &[u8]) -> (u32, u32) {
    let word = |at| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let (producer, number) = (word(0), word(4));
    assert_eq!(bytes, record(producer, number, bytes.len() - 8), "a damaged record");
    (producer, number)
}

fn produce(channel: &Arc<Channel>, producer: u32, numbers: std::ops::Range<u32>, longest: u64) {
    let mut chance = Chance::new(u64::from(producer) + 1);
    for number in numbers {
        put(channel, &record(producer, number, chance.below(longest) as usize));
    }
}

fn everything_arrives(limit: u64, longest: u64, each: u32) {
    kit::limit(100);
    let channel = Channel::create(limit).unwrap();
    let producers = [0, 1, 2].map(|producer| {
        let channel = channel.clone();
        fork(move || produce(&channel, producer, 0..each, longest))
    });
    let mut next = [0; 3];
    while next != [each; 3] {
        for bytes in take(&channel, 7) {
            let (producer, number) = read(&bytes);
            assert_eq!(number, next[producer as usize]);
            next[producer as usize] += 1;
        }
    }
    producers.into_iter().for_each(|pid| assert!(reap(pid)));
    assert!(channel.is_empty());
}

#[test]
fn short_records_of_three_arrive_in_each_ones_order() {
    everything_arrives(UNBOUNDED, 100, 40_000);
}

#[test]
fn producers_wait_for_room() {
    everything_arrives(3, 100, 4_000);
}

#[test]
fn long_records_go_through_runs() {
    everything_arrives(20, 300_000, 1_000);
}

#[test]
fn a_backlog_of_many_segments_is_kept_and_its_memory_used_again() {
    kit::limit(100);
    let channel = Channel::create(UNBOUNDED).unwrap();
    for _ in 0..3 {
        produce(&channel, 1, 0..40_000, 4_000);
        assert_eq!(channel.len(), 40_000);
        let mut number = 0;
        while number < 40_000 {
            for bytes in take(&channel, 100) {
                assert_eq!(read(&bytes), (1, number));
                number += 1;
            }
        }
    }
}

/// Producers and consumers are killed at any moment and replaced; what arrives is whole, in each
/// producer's order, once.
fn storm(seed: u64, longest: u64) {
    if std::env::var_os("TSAN_OPTIONS").is_some() {
        // It sees one process at a time, so nothing of this, and makes it many times slower.
        return;
    }
    limit(100);
    let (channel, echo) = (Channel::create(50).unwrap(), Channel::create(UNBOUNDED).unwrap());
    let start = |role: u32| {
        let (channel, echo) = (channel.clone(), echo.clone());
        if role.is_multiple_of(2) {
            fork(move || produce(&channel, role, 0..u32::MAX, longest))
        } else {
            fork(move || {
                loop {
                    take(&channel, 3).iter().for_each(|bytes| put(&echo, bytes));
                }
            })
        }
    };
    let mut chance = Chance::new(seed);
    let mut running: Vec<i32> = (0..4).map(start).collect();
    let (mut seen, mut arrived) = (HashMap::new(), 0);
    for role in 4..154 {
        let at = (role % 4) as usize;
        // What it is in the middle of by then is anything.
        for _ in 0..chance.below(20) {
            for bytes in take(&echo, 20) {
                let (producer, number) = read(&bytes);
                assert!(seen.insert((producer, number), ()).is_none(), "a record came twice");
                arrived += 1;
            }
        }
        kill(running[at]);
        assert!(!reap(running[at]));
        running[at] = start(role);
    }
    for pid in running {
        kill(pid);
        assert!(!reap(pid));
    }
    assert!(arrived > 1_000, "{arrived}");
    // Whoever comes later finds both usable.
    while !channel.is_empty() {
        for bytes in take(&channel, 50) {
            read(&bytes);
        }
    }
    put(&channel, &record(9, 9, 9));
    assert_eq!(read(&take(&channel, 1)[0]), (9, 9));
    println!("{arrived} records");
}

#[test]
fn a_storm_of_deaths_with_short_records() {
    storm(1, 100);
}

#[test]
fn a_storm_of_deaths_with_long_records() {
    storm(2, 50_000);
}

#[test]
fn what_the_dead_held_is_used_again() {
    limit(100);
    let channel = Channel::create(UNBOUNDED).unwrap();
    let child = {
        let channel = channel.clone();
        fork(move || {
            // Never freed: the process ends with it.
            std::mem::forget(channel.alloc(3 << 20));
        })
    };
    assert!(reap(child));
    // The child's was the first that there ever was.
    let (lowest, next) = (channel.alloc(3 << 20).unwrap(), channel.alloc(3 << 20).unwrap());
    assert!(format!("{:?}", lowest.run()).contains("segment: 1,"), "{:?}", lowest.run());
    assert_ne!(lowest.run(), next.run());
}

#[test]
fn a_fork_does_not_free_what_its_parent_holds() {
    limit(100);
    let channel = Channel::create(UNBOUNDED).unwrap();
    let held = channel.alloc(1 << 20).unwrap();
    let run = held.run();
    assert!(reap(fork(|| drop(channel.held(run)))));
    assert_ne!(channel.alloc(1 << 20).unwrap().run(), run);
    drop(held);
}

#[test]
fn a_lock_is_taken_from_a_killed_holder_who_is_told_of() {
    limit(100);
    let mutex = Arc::new(Placed::<Mutex>::create(c"test").unwrap());
    let held = Arc::new(Placed::<Semaphore>::create(c"test").unwrap());
    held.set_up(0, 1);
    for _ in 0..20 {
        let (theirs, news) = (mutex.clone(), held.clone());
        let child = fork(move || {
            let _ = theirs.lock(Owner::me());
            news.release(Owner::me());
            loop {
                // SAFETY: a plain system call.
                unsafe { libc::pause() };
            }
        });
        while held.try_acquire(Owner::me()).is_none() {
            let _ = held.sleep(None);
        }
        kill(child);
        // Not reaped yet: a zombie is dead enough.
        let Locked::FromDead(dead) = mutex.lock(Owner::me()) else { panic!() };
        assert_eq!(dead.pid() as i32, child);
        assert!(mutex.unlock());
        reap(child);
    }
    assert_eq!(mutex.deaths(), 20);
}

#[test]
fn counting_under_a_lock_of_killed_counters_stays_whole() {
    limit(100);
    let mutex = Arc::new(Placed::<Mutex>::create(c"test").unwrap());
    let counter = Arc::new(Placed::<Semaphore>::create(c"test").unwrap());
    counter.set_up(0, u32::MAX >> 1);
    let start = || {
        let (mutex, counter) = (mutex.clone(), counter.clone());
        fork(move || {
            loop {
                let _ = mutex.lock(Owner::me());
                counter.release(Owner::me());
                mutex.unlock();
            }
        })
    };
    let mut chance = Chance::new(3);
    let mut running = [start(), start()];
    for round in 0..100 {
        let before = counter.value();
        // The other one goes on, whoever of them held the lock when the first was killed.
        while counter.value() < before + 50 + chance.below(300) as u32 {
            std::thread::yield_now();
        }
        let at = round % 2;
        kill(running[at]);
        reap(running[at]);
        running[at] = start();
    }
    for pid in running {
        kill(pid);
        reap(pid);
    }
}

#[test]
fn a_dead_waiters_notification_goes_to_another() {
    limit(100);
    let waiters = Arc::new(Placed::<Waiters>::create(c"test").unwrap());
    let child = {
        let waiters = waiters.clone();
        fork(move || {
            let slot = waiters.enter(Owner::me()).unwrap();
            let _ = waiters.sleep(slot, None);
            loop {
                // SAFETY: a plain system call.
                unsafe { libc::pause() };
            }
        })
    };
    while waiters.waiting() == 0 {
        std::thread::yield_now();
    }
    let slot = waiters.enter(Owner::me()).unwrap();
    assert_eq!(waiters.notify(1), 1);
    assert!(!waiters.is_notified(slot), "the first come is the first notified");
    assert!(
        !waiters.inherit(),
        "it lives: {:?}",
        std::fs::read_to_string(format!("/proc/{child}/stat"))
    );
    kill(child);
    while !waiters.inherit() {
        std::thread::yield_now();
    }
    assert!(!waiters.leave(slot));
    reap(child);
}

/// Damages so many words of a channel's memory, most of them among the control words, the first
/// records and the table of segments.
fn damage(memory: &Segment, chance: &mut Chance, words: u64) {
    for _ in 0..words {
        let within = [1_500, 1_500, 20_000, 1_000_000][chance.below(4) as usize];
        let after = [0, 0, 1_052_672][chance.below(3) as usize];
        let at = (after + chance.below(within)) as usize / 8 * 8;
        let value = match chance.below(3) {
            0 => chance.next(),
            1 => chance.below(100_000),
            _ => 1 << chance.below(64),
        };
        let word: *mut u64 = memory.base().wrapping_add(at).cast();
        // SAFETY: within the mapping; nobody else runs.
        unsafe { word.write_volatile(value) };
    }
}

#[test]
fn damaged_memory_is_refused_or_garbage_and_nothing_worse() {
    limit(100);
    let mut chance = Chance::new(4);
    let mut corrupt = 0;
    for round in 0..400 {
        let channel = Channel::create(UNBOUNDED).unwrap();
        let memory = Segment::adopt(channel.fd().try_clone_to_owned().unwrap()).unwrap();
        for number in 0..20 {
            put(&channel, &record(1, number, chance.below(100_000) as usize));
        }
        damage(&memory, &mut chance, 1 + round / 20);
        for _ in 0..30 {
            let mut inbox = Inbox::default();
            if channel.try_take(Owner::me(), true, 3, &mut inbox) == Err(Refusal::Corrupt) {
                corrupt += 1;
            }
            for at in 0..inbox.len() {
                let (_, runs, _) = inbox.get(at);
                let held: Vec<_> = runs.iter().map(|run| channel.held(*run)).collect();
                let touched = |held: &counterpoint_shm::channel::Held| {
                    // SAFETY: it was checked that the run is in the memory.
                    unsafe { held.as_ptr().wrapping_add(held.len() - 1).read_volatile() }
                };
                held.iter().for_each(|held| assert!(u16::from(touched(held)) < 256));
            }
            let parcel = Parcel { runs: &[], content: &[1; 1000], apart: false };
            let _ = channel.try_put(Owner::me(), true, std::iter::once(parcel));
            drop(channel.alloc(300_000));
        }
    }
    assert!(corrupt > 100, "{corrupt}");
}
