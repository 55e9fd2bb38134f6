//! Real threads, real futexes: what the models explore a few steps of, a hundred thousand times.
//!
//! No test asks for a schedule; each asks for an outcome that every schedule must have, and a
//! watchdog ends a process that hangs.
#![cfg(not(loom))]

mod kit;

use counterpoint_sync::clock::{deadline_in, now};
use counterpoint_sync::lock::Who;
use counterpoint_sync::lock::barrier::{BarrierState, Pass, Passage};
use counterpoint_sync::lock::condition::{AwaitSignal, SignalState};
use counterpoint_sync::lock::limiter::{Borrow, LimiterState};
use counterpoint_sync::lock::mutex::{Acquire, LockState};
use counterpoint_sync::lock::reentrant::{AcquireReentrant, ReentrantState};
use counterpoint_sync::lock::rwlock::{AcquireRead, AcquireWrite, Mode, RwLockState};
use counterpoint_sync::lock::semaphore::{AcquirePermit, SemaphoreState};
use counterpoint_sync::wait::{Attempt, Wait};
use counterpoint_sync::waiter::Waiter;
use kit::{Chance, Guarded, NoTask, Patience, Racy, THREADS, crowd, finish, wait};
use std::sync::atomic::{AtomicUsize, Ordering};

/// How often each thread tries, in each test.
const ROUNDS: usize = 20_000;

/// One of three: waits for ever, gives up at a deadline, is interrupted.
fn patience(chance: &mut Chance) -> Patience {
    match chance.below(8) {
        0 => Patience::Interrupted,
        1 | 2 => Patience::Until(deadline_in(chance.below(300) as f64 * 1e-6)),
        _ => Patience::Endless,
    }
}

#[test]
fn a_lock_lets_one_in() {
    let (lock, work) = (Guarded::new(LockState::default()), Racy::new(0));
    let entered = AtomicUsize::new(0);
    crowd(|owner, chance| {
        for _ in 0..ROUNDS {
            if wait(&lock, owner, Acquire(Who::thread(owner)), patience(chance)).is_none() {
                continue;
            }
            // SAFETY: the lock lets this thread in alone; ThreadSanitizer checks that.
            unsafe { work.update(|work| work + 1) };
            entered.fetch_add(1, Ordering::Relaxed);
            lock.change(|lock, wakes| {
                assert_eq!(lock.owner(), owner);
                lock.release(now, wakes);
            });
        }
    });
    assert_eq!(work.into_inner(), entered.into_inner());
    lock.change(|lock, _| assert_eq!((lock.owner(), lock.waiters()), (0, 0)));
}

#[test]
fn a_reentrant_lock_lets_one_in_and_in_again() {
    let (lock, work) = (Guarded::new(ReentrantState::default()), Racy::new(0));
    crowd(|owner, chance| {
        for _ in 0..ROUNDS {
            let source = AcquireReentrant(Acquire(Who::thread(owner)));
            if wait(&lock, owner, source, patience(chance)).is_none() {
                continue;
            }
            lock.change(|lock, _| assert!(lock.try_acquire(owner)));
            // SAFETY: the lock lets this thread in alone; ThreadSanitizer checks that.
            unsafe { work.update(|work| work + 1) };
            for count in [2, 1] {
                lock.change(|lock, wakes| {
                    assert_eq!(lock.count_of(owner), count);
                    lock.release(now, wakes);
                });
            }
        }
    });
    lock.change(|lock, _| assert_eq!((lock.count(), lock.lock.waiters()), (0, 0)));
}

#[test]
fn a_semaphore_never_lends_more_than_it_has_and_loses_none() {
    const PERMITS: usize = 3;
    let (semaphore, inside) = (Guarded::new(SemaphoreState::new(PERMITS)), AtomicUsize::new(0));
    crowd(|owner, chance| {
        for _ in 0..ROUNDS {
            if wait(&semaphore, owner, AcquirePermit::default(), patience(chance)).is_some() {
                assert!(inside.fetch_add(1, Ordering::Relaxed) < PERMITS);
                inside.fetch_sub(1, Ordering::Relaxed);
                semaphore.change(|state, wakes| state.release(1, now, wakes));
            }
        }
    });
    semaphore.change(|state, _| assert_eq!((state.value(), state.waiters.len()), (PERMITS, 0)));
}

#[test]
fn a_limiter_that_grows_and_shrinks_loses_nobody() {
    let limiter = Guarded::new(LimiterState::new(2));
    crowd(|owner, chance| {
        for round in 0..ROUNDS {
            if round % 64 == 0 {
                let total = 1 + chance.below(THREADS as u64) as usize;
                limiter.change(|state, wakes| state.set_total(total, wakes));
            }
            match wait(&limiter, owner, Borrow(Who::thread(owner)), patience(chance)) {
                Some(Ok(())) => limiter.change(|state, wakes| state.give_back(owner, wakes)),
                Some(Err(_)) => unreachable!("this thread has no token"),
                None => Ok(()),
            }
            .unwrap();
        }
    });
    limiter.change(|state, _| assert_eq!((state.borrowed(), state.waiters.len()), (0, 0)));
}

#[test]
fn readers_share_and_a_writer_is_alone() {
    for mode in [Mode::Writer, Mode::Fair] {
        let (lock, page) = (Guarded::new(RwLockState::new(mode)), Racy::new(0));
        crowd(|owner, chance| {
            for _ in 0..ROUNDS / 2 {
                let patience = patience(chance);
                match chance.below(4) {
                    0 => write(&lock, &page, owner, patience, chance.below(4) == 0),
                    _ => read(&lock, &page, owner, patience),
                }
            }
        });
        lock.change(|lock, _| {
            assert_eq!((lock.writer(), lock.reader_count(), lock.waiters()), (0, 0, 0));
        });
    }
}

type RwLock = Guarded<RwLockState<NoTask>>;

fn read(lock: &RwLock, page: &Racy, owner: usize, patience: Patience) {
    if wait(lock, owner, AcquireRead(Who::thread(owner)), patience).is_some() {
        // SAFETY: this thread reads; ThreadSanitizer checks that nobody writes.
        unsafe { page.read() };
        lock.change(|lock, wakes| lock.release_read(owner, now, wakes)).unwrap();
    }
}

fn write(lock: &RwLock, page: &Racy, owner: usize, patience: Patience, downgrades: bool) {
    if wait(lock, owner, AcquireWrite(Who::thread(owner)), patience).is_none() {
        return;
    }
    // SAFETY: this thread writes; ThreadSanitizer checks that nobody else is there.
    unsafe { page.update(|page| page + 1) };
    if !downgrades {
        return lock.change(|lock, wakes| lock.release_write(owner, now, wakes)).unwrap();
    }
    lock.change(|lock, wakes| lock.downgrade(owner, wakes)).unwrap();
    // SAFETY: as in `read`.
    unsafe { page.read() };
    lock.change(|lock, wakes| lock.release_read(owner, now, wakes)).unwrap();
}

#[test]
fn a_barrier_keeps_everybody_in_step() {
    for acts in [false, true] {
        let barrier = Guarded::new(BarrierState::new(THREADS, acts));
        let step = Racy::new(0);
        crowd(|owner, _| {
            for round in 0..ROUNDS / 8 {
                let pass = wait(&barrier, owner, Pass::default(), Patience::Endless);
                if let Some(Ok(Passage::Act(_))) = pass {
                    // SAFETY: all others wait for the action; ThreadSanitizer checks that.
                    unsafe { step.update(|step| step + 1) };
                    barrier.change(|state, wakes| state.finish(true, wakes)).unwrap();
                }
                assert!(matches!(pass, Some(Ok(_))));
                if acts {
                    // SAFETY: the next action comes after this thread's next arrival.
                    assert_eq!(unsafe { step.read() }, round + 1);
                }
            }
        });
        barrier.change(|state, _| assert_eq!((state.waiting(), state.is_broken()), (0, false)));
    }
}

#[test]
fn a_barrier_that_breaks_and_is_reset_leaves_nobody_behind() {
    let barrier = Guarded::new(BarrierState::new(3, true));
    crowd(|owner, chance| {
        for _ in 0..ROUNDS / 4 {
            // Never endless: with any number of parties somebody may come last and alone.
            let patience = Patience::Until(deadline_in(chance.below(300) as f64 * 1e-6));
            match wait(&barrier, owner, Pass::default(), patience) {
                Some(Ok(Passage::Go(_))) => {}
                Some(Ok(Passage::Act(_))) => {
                    let succeeds = chance.below(16) != 0;
                    let _ = barrier.change(|state, wakes| state.finish(succeeds, wakes));
                }
                Some(Err(_)) | None => barrier.change(|state, wakes| state.reset(wakes)),
            }
        }
    });
    barrier.change(|state, _| assert_eq!(state.waiting(), 0));
}

/// A bounded buffer of one lock and two conditions: what condition variables are for.
struct Buffer {
    lock: Guarded<LockState<NoTask>>,
    room: Guarded<SignalState<NoTask>>,
    items: Guarded<SignalState<NoTask>>,
    size: Racy,
}

impl Buffer {
    const CAPACITY: usize = 2;

    fn enter(&self, owner: usize) {
        wait(&self.lock, owner, Acquire(Who::thread(owner)), Patience::Endless).unwrap();
    }

    fn leave(&self) {
        self.lock.change(|lock, wakes| lock.release(now, wakes));
    }

    /// Waits, with the lock, until the size is not `unless`; then changes it.
    fn step(&self, owner: usize, patience: Patience, (unless, put): (usize, bool)) -> bool {
        let (awaited, other) =
            if put { (&self.room, &self.items) } else { (&self.items, &self.room) };
        self.enter(owner);
        // SAFETY: with the lock; so below.
        while unsafe { self.size.read() } == unless {
            let mut told = Wait::new(AwaitSignal::default());
            // In line before the lock is free, so that no notification can be missed.
            let queued = told.attempt(awaited, now, |since| Waiter::thread(owner, since));
            assert!(matches!(queued, Attempt::Pending(_)));
            self.leave();
            let told = finish(awaited, owner, &mut told, patience);
            self.enter(owner);
            // SAFETY: as above.
            if told.is_none() && unsafe { self.size.read() } == unless {
                self.leave();
                return false;
            }
        }
        // SAFETY: as above.
        unsafe { self.size.update(|size| if put { size + 1 } else { size - 1 }) };
        other.change(|state, wakes| state.notify(1, wakes));
        self.leave();
        true
    }
}

#[test]
fn two_conditions_carry_every_item() {
    let buffer = Buffer {
        lock: Guarded::new(LockState::default()),
        room: Guarded::new(SignalState::default()),
        items: Guarded::new(SignalState::default()),
        size: Racy::new(0),
    };
    crowd(|owner, chance| {
        let puts = owner % 2 == 0;
        let unless = if puts { Buffer::CAPACITY } else { 0 };
        let mut left = ROUNDS / 2;
        while left > 0 {
            left -= usize::from(buffer.step(owner, patience(chance), (unless, puts)));
        }
    });
    assert_eq!(buffer.size.into_inner(), 0);
}

/// Everybody waits for the event, again and again; nobody misses a pulse that came while it
/// stood in line.
#[test]
fn an_event_reaches_the_whole_crowd() {
    let event = Guarded::new(SignalState::default());
    let done = AtomicUsize::new(0);
    crowd(|owner, chance| {
        if owner > 1 {
            for _ in 0..ROUNDS / 4 {
                let _ = wait(&event, owner, AwaitSignal::default(), patience(chance));
            }
            done.fetch_add(1, Ordering::Relaxed);
            return;
        }
        while done.load(Ordering::Relaxed) < THREADS - 1 {
            event.change(|state, wakes| state.set(wakes));
            event.change(|state, _| state.clear());
        }
    });
    event.change(|state, _| assert!(state.waiters.is_empty()));
}
