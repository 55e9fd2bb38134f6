//! When a lock is handed over instead of freed: at [`HAND_OFF_AFTER`] to the nanosecond, for each
//! lock that lets others overtake.

use super::Who;
use super::mutex::{Acquire, LockState, NOBODY};
use super::rwlock::{AcquireWrite, Mode, RwLockState};
use super::semaphore::{AcquirePermit, SemaphoreState};
use crate::clock::HAND_OFF_AFTER;
use crate::testing::{Guarded, Party, Task};

/// When the one who waits came.
const SINCE: u64 = 7;
const EARLY: u64 = SINCE + HAND_OFF_AFTER - 1;
const DUE: u64 = SINCE + HAND_OFF_AFTER;

#[test]
fn it_is_a_millisecond() {
    assert_eq!(HAND_OFF_AFTER, 1_000_000);
}

#[test]
fn a_mutex() {
    let at = |now| {
        let lock = Guarded::new(LockState::<Task>::default());
        let party = |owner| Party::thread(owner, SINCE, Acquire(Who::thread(owner)));
        party(1).done(&lock);
        let mut waiting = party(2).queue(&lock);
        lock.change(|state, wakes| state.release(|| now, wakes));
        let owner = lock.change(|state, _| state.owner());
        let overtaken = party(3).attempt(&lock).is_ok();
        (owner, overtaken, !waiting.waits(&lock))
    };
    assert_eq!(at(EARLY), (NOBODY, true, false));
    assert_eq!(at(DUE), (2, false, true));
}

#[test]
fn a_semaphore() {
    let at = |now| {
        let semaphore = Guarded::new(SemaphoreState::<Task>::new(0));
        let party = |owner| Party::thread(owner, SINCE, AcquirePermit::default());
        let mut waiting = party(2).queue(&semaphore);
        semaphore.change(|state, wakes| state.release(1, || now, wakes));
        let free = semaphore.change(|state, _| state.value());
        let overtaken = party(3).attempt(&semaphore).is_ok();
        (free, overtaken, !waiting.waits(&semaphore))
    };
    assert_eq!(at(EARLY), (1, true, false));
    assert_eq!(at(DUE), (0, false, true));
}

#[test]
fn a_writer() {
    let at = |now| {
        let lock = Guarded::new(RwLockState::<Task>::new(Mode::Writer));
        let party = |owner| Party::thread(owner, SINCE, AcquireWrite(Who::thread(owner)));
        assert_eq!(party(1).done(&lock), Ok(()));
        let mut waiting = party(2).queue(&lock);
        assert_eq!(lock.change(|state, wakes| state.release_write(1, || now, wakes)), Ok(()));
        let writer = lock.change(|state, _| state.writer());
        let overtaken = party(3).attempt(&lock).is_ok();
        (writer, overtaken, !waiting.waits(&lock))
    };
    assert_eq!(at(EARLY), (NOBODY, true, false));
    assert_eq!(at(DUE), (2, false, true));
}
