//! Semaphores whose holders are killed, at any moment and after each instruction.
#![cfg(not(any(loom, miri)))]

mod kit;

use counterpoint_shm::sync::{HOLDERS, Locked, Owner, Placed, Semaphore};
use kit::{Chance, fork, kill, limit, reap};
use std::sync::Arc;
use std::time::{Duration, Instant};

type Permits = Arc<Placed<Semaphore>>;

fn semaphore(value: u32, limit: u32) -> Permits {
    let permits = Placed::<Semaphore>::create(c"test").unwrap();
    permits.set_up(value, limit);
    Arc::new(permits)
}

fn acquire(permits: &Permits) {
    while permits.try_acquire(Owner::me()).is_none() {
        std::thread::yield_now();
    }
}

/// Takes all permits that are there or held by the dead, and returns them. How many.
fn count(permits: &Permits) -> u32 {
    let taken = std::iter::from_fn(|| permits.take(Owner::me())).count();
    (0..taken).for_each(|_| assert!(permits.release(Owner::me())));
    taken as u32
}

fn pause() -> ! {
    loop {
        // SAFETY: a plain system call.
        unsafe { libc::pause() };
    }
}

/// A process that holds so many permits; returns when it does.
fn holder(permits: &Permits, held: u32) -> i32 {
    let (before, theirs) = (permits.value(), permits.clone());
    let child = fork(move || {
        (0..held).for_each(|_| acquire(&theirs));
        pause();
    });
    while permits.value() > before - held {
        std::thread::yield_now();
    }
    child
}

#[test]
fn the_permits_of_a_killed_holder_are_got_and_the_first_is_told() {
    limit(100);
    let permits = semaphore(3, 3);
    for round in 1..=20 {
        let child = holder(&permits, 3);
        assert_eq!(permits.take(Owner::me()), None);
        kill(child);
        // Not reaped yet: a zombie is dead enough.
        while permits.value() == 0 {
            match permits.take(Owner::me()) {
                Some(Locked::FromDead(dead)) => assert_eq!(dead.pid() as i32, child),
                other => assert_eq!(other, None),
            }
        }
        assert_eq!(permits.take(Owner::me()), Some(Locked::Free));
        assert!(permits.release(Owner::me()) && permits.release(Owner::me()));
        assert!(!permits.release(Owner::me()));
        assert_eq!((permits.value(), permits.deaths()), (3, round));
        reap(child);
    }
    assert!(!permits.is_counter());
}

#[test]
fn a_permit_that_another_process_released_does_not_come_back_with_the_death() {
    limit(100);
    let permits = semaphore(2, 2);
    let child = holder(&permits, 2);
    assert!(permits.release(Owner::me()));
    assert!(permits.is_counter());
    kill(child);
    reap(child);
    assert_eq!(count(&permits), 1);
    assert_eq!(permits.deaths(), 0);
    // From now on it has no holders at all.
    let child = holder(&permits, 1);
    kill(child);
    reap(child);
    assert_eq!(count(&permits), 0);
}

#[test]
fn a_refused_release_changes_nothing() {
    let permits = semaphore(1, 1);
    assert!(!permits.release(Owner::me()));
    assert!(!permits.is_counter());
    assert_eq!(permits.try_acquire(Owner::me()), Some(Locked::Free));
    let other = permits.clone();
    // Another thread of the holder is the holder.
    std::thread::spawn(move || assert!(other.release(Owner::me()))).join().unwrap();
    assert!(!permits.is_counter());
}

#[test]
fn a_forked_child_holds_nothing() {
    limit(100);
    let permits = semaphore(2, 2);
    acquire(&permits);
    let theirs = permits.clone();
    assert!(reap(fork(move || {
        acquire(&theirs);
        assert!(theirs.release(Owner::me()));
        assert!(!theirs.is_counter());
        assert!(theirs.release(Owner::me()));
        assert!(theirs.is_counter());
    })));
}

#[test]
fn many_permits_of_one_process_come_back() {
    limit(100);
    for many in [1, 3, 4, 5, 1000, (1 << 20) - 1] {
        let permits = semaphore(many, many);
        let theirs = permits.clone();
        assert!(reap(fork(move || (0..many).for_each(|_| acquire(&theirs)))));
        assert_eq!((permits.value(), count(&permits), permits.deaths()), (0, many, 1));
    }
    let permits = semaphore(1 << 20, 1 << 20);
    assert!(permits.is_counter());
    acquire(&permits);
    assert!(permits.release(Owner::me()));
}

#[test]
fn the_places_of_the_dead_are_used_again_and_the_living_may_be_too_many() {
    limit(100);
    let permits = semaphore(3 * HOLDERS as u32, 3 * HOLDERS as u32);
    for number in 0..HOLDERS + 50 {
        let theirs = permits.clone();
        assert!(reap(fork(move || {
            acquire(&theirs);
            // Some die as holders.
            assert!(number % 3 == 0 || theirs.release(Owner::me()));
        })));
    }
    assert!(!permits.is_counter());
    assert_eq!(count(&permits), 3 * HOLDERS as u32);
    let living: Vec<i32> = (1..HOLDERS).map(|_| holder(&permits, 1)).collect();
    assert!(!permits.is_counter());
    let last = holder(&permits, 1);
    assert!(permits.is_counter());
    living.into_iter().chain([last]).for_each(|child| {
        kill(child);
        reap(child);
    });
    assert_eq!(count(&permits), 2 * HOLDERS as u32);
}

/// Gets and returns permits, several at times, until it is killed.
fn churn(permits: &Permits, seed: u64) -> ! {
    let mut chance = Chance::new(seed);
    loop {
        let most = 1 + chance.below(3);
        let held = (0..most).filter(|_| permits.take(Owner::me()).is_some()).count();
        if chance.below(8) == 0 {
            std::thread::yield_now();
        }
        (0..held).for_each(|_| assert!(permits.release(Owner::me())));
    }
}

#[test]
fn a_storm_of_deaths_leaves_each_permit_once() {
    limit(200);
    const PERMITS: u32 = 4;
    let permits = semaphore(PERMITS, PERMITS);
    let mut chance = Chance::new(11);
    let start = |seed| {
        let theirs = permits.clone();
        fork(move || churn(&theirs, seed))
    };
    let mut running: Vec<i32> = (0..3).map(start).collect();
    for round in 0..600 {
        let end = Instant::now() + Duration::from_micros(100 + chance.below(2000));
        while Instant::now() < end {
            if permits.take(Owner::me()).is_some() {
                assert!(permits.release(Owner::me()));
            }
            assert!(permits.value() <= PERMITS);
        }
        let at = chance.below(3) as usize;
        kill(running[at]);
        reap(running[at]);
        // Now and then nobody is left, and it has to add up.
        if round % 5 == 4 {
            running.iter().enumerate().filter(|(other, _)| *other != at).for_each(|(_, child)| {
                kill(*child);
                reap(*child);
            });
            assert_eq!(count(&permits), PERMITS);
            running = (0..3).map(|number| start(1000 * (round + 1) + number)).collect();
        } else {
            running[at] = start(1000 * (round + 1));
        }
    }
    running.into_iter().for_each(|child| {
        kill(child);
        reap(child);
    });
    assert_eq!(count(&permits), PERMITS);
    assert!(!permits.is_counter());
    assert!(permits.deaths() > 0);
}

/// The memory of a semaphore, while the one process that changes it is stopped.
#[cfg(target_arch = "x86_64")]
fn memory(permits: &Permits) -> &[u8] {
    let start: *const Semaphore = &***permits;
    // SAFETY: mapped for as long as `permits`, and nobody is changing it.
    unsafe { std::slice::from_raw_parts(start.cast(), size_of::<Semaphore>()) }
}

/// Has a process do some work one instruction after the other, and kills it after so many changes
/// of the memory. `false`: there were not so many.
#[cfg(target_arch = "x86_64")]
fn killed_after(changes: usize, permits: &Permits, work: fn(&Permits)) -> bool {
    let theirs = permits.clone();
    let child = fork(move || {
        // SAFETY: plain system calls; the parent steps us from the signal on.
        unsafe {
            assert_eq!(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0), 0);
            libc::raise(libc::SIGSTOP);
        }
        work(&theirs);
    });
    let (mut seen, mut went) = (memory(permits).to_vec(), 0);
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid and exclusive for the duration of the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        if !libc::WIFSTOPPED(status) {
            assert_eq!(status, 0);
            return false;
        }
        if memory(permits) != seen {
            seen = memory(permits).to_vec();
            went += 1;
        }
        if went == changes {
            kill(child);
            reap(child);
            return true;
        }
        // SAFETY: the child is stopped.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, child, 0, 0) }, 0);
    }
}

/// Has a process killed after each change that it makes to the memory: all that others could ever
/// find when it is killed at any instruction. Of two permits this process holds `mine`. Returns
/// how many changes there were.
#[cfg(target_arch = "x86_64")]
fn whenever_it_is_killed(mine: u32, before: fn(&Permits), work: fn(&Permits)) -> usize {
    limit(300);
    let mut changes = 0;
    loop {
        let permits = semaphore(2, 2);
        (0..mine).for_each(|_| acquire(&permits));
        before(&permits);
        let killed = killed_after(changes, &permits, work);
        assert_eq!(count(&permits) + mine, 2, "after {changes} changes");
        assert!(!permits.is_counter());
        if !killed {
            return changes;
        }
        changes += 1;
    }
}

#[cfg(target_arch = "x86_64")]
fn twice(permits: &Permits) {
    for _ in 0..2 {
        assert!(permits.try_acquire(Owner::me()).is_some());
        assert!(permits.release(Owner::me()));
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn who_is_killed_at_any_instruction_leaves_each_permit_once() {
    // Its place, and then one for each step.
    assert_eq!(whenever_it_is_killed(0, |_| (), twice), 1 + 4 + 1);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn who_is_killed_while_it_enters_anothers_change_leaves_each_permit_once() {
    // Two more: it closes the state and enters the change.
    assert_eq!(whenever_it_is_killed(1, |_| (), twice), 1 + 2 + 4 + 1);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn who_is_killed_while_it_takes_from_the_dead_leaves_each_permit_once() {
    fn dies(permits: &Permits) {
        // At one of the first places: without optimisation it takes long to step through them.
        while permits.value() > 0 {
            let theirs = permits.clone();
            let acquires = move || (0..2).for_each(|_| acquire(&theirs));
            let is_first = || Owner::me().pid() as usize % HOLDERS < 8;
            assert!(reap(fork(move || is_first().then(acquires).unwrap_or_default())));
        }
    }
    fn takes(permits: &Permits) {
        assert!(permits.take(Owner::me()).is_some());
    }
    // Closes, enters, takes back, leaves the news, counts; then its place, closes, enters, takes,
    // hears the news.
    assert_eq!(whenever_it_is_killed(0, dies, takes), 5 + 5 + 1);
}
