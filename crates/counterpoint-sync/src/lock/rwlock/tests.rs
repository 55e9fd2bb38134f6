use super::*;
use crate::testing::{Guarded, Party, Task};

type Shared = Guarded<RwLockState<Task>>;

fn lock(mode: Mode) -> Shared {
    Guarded::new(RwLockState::new(mode))
}

fn reader(number: usize) -> Party<AcquireRead<Task>> {
    Party::thread(number, number as u64, AcquireRead(Who::thread(number)))
}

fn writer(number: usize) -> Party<AcquireWrite<Task>> {
    Party::thread(number, number as u64, AcquireWrite(Who::thread(number)))
}

fn end_read(lock: &Shared, owner: usize) -> Result<(), Misuse> {
    lock.change(|state, wakes| state.release_read(owner, || 0, wakes))
}

fn end_write(lock: &Shared, owner: usize) -> Result<(), Misuse> {
    lock.change(|state, wakes| state.release_write(owner, || 0, wakes))
}

const BOTH: [Mode; 2] = [Mode::Writer, Mode::Fair];

#[test]
fn readers_share_and_a_writer_is_alone() {
    for mode in BOTH {
        let lock = lock(mode);
        assert_eq!((reader(1).done(&lock), reader(2).done(&lock)), (Ok(()), Ok(())));
        let mut third = writer(3).queue(&lock);
        assert_eq!(end_read(&lock, 1), Ok(()));
        assert!(third.waits(&lock));
        assert_eq!(end_read(&lock, 2), Ok(()));
        assert_eq!(third.done(&lock), Ok(()));
        let (mut fourth, mut fifth) = (writer(4).queue(&lock), reader(5).queue(&lock));
        assert!(fourth.waits(&lock) && fifth.waits(&lock));
    }
}

#[test]
fn a_waiting_writer_keeps_new_readers_out_but_not_a_reader_that_is_in() {
    for mode in BOTH {
        let lock = lock(mode);
        assert_eq!(reader(1).done(&lock), Ok(()));
        let mut second = writer(2).queue(&lock);
        let mut third = reader(3).queue(&lock);
        assert_eq!(reader(1).done(&lock), Ok(()));
        assert_eq!((end_read(&lock, 1), second.waits(&lock)), (Ok(()), true));
        assert_eq!(end_read(&lock, 1), Ok(()));
        assert_eq!((second.done(&lock), third.waits(&lock)), (Ok(()), true));
        assert_eq!(end_write(&lock, 2), Ok(()));
        assert_eq!(third.done(&lock), Ok(()));
    }
}

#[test]
fn what_could_only_wait_for_itself_is_refused() {
    for mode in BOTH {
        let lock = lock(mode);
        assert_eq!(reader(1).done(&lock), Ok(()));
        assert_eq!(writer(1).done(&lock), Err(Misuse::Upgrade));
        assert_eq!(end_write(&lock, 1), Err(Misuse::NotHeld));
        assert_eq!((end_read(&lock, 2), end_read(&lock, 1)), (Err(Misuse::NotHeld), Ok(())));
        assert_eq!(writer(1).done(&lock), Ok(()));
        assert_eq!(writer(1).done(&lock), Err(Misuse::WriteAgain));
        assert_eq!(reader(1).done(&lock), Err(Misuse::ReadWhileWriting));
        assert_eq!(end_read(&lock, 1), Err(Misuse::NotHeld));
        assert_eq!((end_write(&lock, 2), end_write(&lock, 1)), (Err(Misuse::NotHeld), Ok(())));
        assert_eq!(end_write(&lock, 1), Err(Misuse::NotHeld));
    }
}

#[test]
fn writers_first_or_first_come_first() {
    for (mode, reader_first) in [(Mode::Writer, false), (Mode::Fair, true)] {
        let lock = lock(mode);
        assert_eq!(writer(1).done(&lock), Ok(()));
        let (mut second, mut third) = (reader(2).queue(&lock), writer(3).queue(&lock));
        assert_eq!(end_write(&lock, 1), Ok(()));
        assert_eq!((second.waits(&lock), third.waits(&lock)), (!reader_first, reader_first));
    }
}

#[test]
fn readers_that_stand_together_enter_together() {
    for (mode, together) in [(Mode::Writer, 3), (Mode::Fair, 2)] {
        let lock = lock(mode);
        assert_eq!(writer(1).done(&lock), Ok(()));
        let mut readers = [reader(2).queue(&lock), reader(3).queue(&lock)].map(Some);
        let mut fourth = writer(4).queue(&lock);
        let mut fifth = reader(5).queue(&lock);
        assert_eq!(end_write(&lock, 1), Ok(()));
        if mode == Mode::Writer {
            assert_eq!((fourth.done(&lock), end_write(&lock, 4)), (Ok(()), Ok(())));
        }
        for reader in readers.iter_mut().flatten() {
            assert_eq!(reader.done(&lock), Ok(()));
        }
        assert_eq!(lock.change(|state, _| state.reader_count()), together);
        assert_eq!(fifth.waits(&lock), mode == Mode::Fair);
    }
}

#[test]
fn readers_starve_no_longer_than_their_patience() {
    let lock = lock(Mode::Writer);
    assert_eq!(writer(1).done(&lock), Ok(()));
    let mut reader = reader(2).queue(&lock);
    for number in 0..PATIENCE as usize {
        let mut next = writer(number + 10).queue(&lock);
        assert_eq!(end_write(&lock, if number == 0 { 1 } else { number + 9 }), Ok(()));
        assert_eq!((next.done(&lock), reader.waits(&lock)), (Ok(()), true));
    }
    let mut next = writer(99).queue(&lock);
    assert_eq!(end_write(&lock, PATIENCE as usize + 9), Ok(()));
    assert_eq!((reader.done(&lock), next.waits(&lock)), (Ok(()), true));
    assert_eq!((end_read(&lock, 2), next.done(&lock)), (Ok(()), Ok(())));
}

#[test]
fn a_writer_that_gives_up_lets_in_the_readers_behind_it() {
    for mode in BOTH {
        for expires in [true, false] {
            let lock = lock(mode);
            assert_eq!(reader(1).done(&lock), Ok(()));
            let (mut second, mut third) = (writer(2).queue(&lock), reader(3).queue(&lock));
            if expires {
                assert_eq!(second.expire(&lock), None);
            } else {
                second.abandon(&lock);
            }
            assert_eq!(third.done(&lock), Ok(()));
        }
    }
}

#[test]
fn what_is_given_to_one_who_gives_up_goes_to_the_next() {
    for mode in BOTH {
        let lock = lock(mode);
        assert_eq!(writer(1).done(&lock), Ok(()));
        let (mut second, mut third) = (writer(2).queue(&lock), writer(3).queue(&lock));
        let mut fourth = reader(4).queue(&lock);
        assert_eq!(end_write(&lock, 1), Ok(()));
        second.abandon(&lock);
        third.abandon(&lock);
        assert_eq!(fourth.done(&lock), Ok(()));
        assert_eq!(lock.change(|state, _| (state.writer(), state.waiters())), (NOBODY, 0));
    }
}

#[test]
fn a_dead_task_gets_nothing_for_good() {
    for mode in BOTH {
        let lock = lock(mode);
        assert_eq!(writer(1).done(&lock), Ok(()));
        let dead = || AcquireRead(Who::thread(2));
        let mut dead = Party::task(2, 2, dead(), Task::Dead).queue(&lock);
        let source = AcquireWrite(Who::thread(3));
        let mut dead_too = Party::task(3, 3, source, Task::Dead).queue(&lock);
        let mut fourth = writer(4).queue(&lock);
        assert_eq!(end_write(&lock, 1), Ok(()));
        dead.abandon(&lock);
        dead_too.abandon(&lock);
        assert_eq!(fourth.done(&lock), Ok(()));
        assert_eq!(lock.change(|state, _| (state.writer(), state.reader_count())), (4, 0));
    }
}

#[test]
fn a_writer_that_waited_long_is_handed_the_lock() {
    let lock = lock(Mode::Writer);
    assert_eq!(writer(1).done(&lock), Ok(()));
    let mut second = writer(2).queue(&lock);
    let late = || HAND_OFF_AFTER + 2;
    assert_eq!(lock.change(|state, wakes| state.release_write(1, late, wakes)), Ok(()));
    assert_eq!(lock.change(|state, _| state.writer()), 2);
    let mut third = writer(3).queue(&lock);
    assert_eq!((second.done(&lock), third.waits(&lock)), (Ok(()), true));
}

#[test]
fn a_downgrade_lets_readers_in_and_no_writer() {
    for mode in BOTH {
        let lock = lock(mode);
        assert_eq!(writer(1).done(&lock), Ok(()));
        let mut second = reader(2).queue(&lock);
        let downgrade = || lock.change(|state, wakes| state.downgrade(1, wakes));
        assert_eq!((downgrade(), downgrade()), (Ok(()), Err(Misuse::NotHeld)));
        let mut third = writer(3).queue(&lock);
        assert_eq!((second.done(&lock), third.waits(&lock)), (Ok(()), true));
        assert_eq!((end_read(&lock, 1), end_read(&lock, 2)), (Ok(()), Ok(())));
        assert_eq!(third.done(&lock), Ok(()));
    }
}

#[test]
fn a_task_that_holds_it_can_be_named() {
    let lock = lock(Mode::Fair);
    let who = |owner| Who::task_of(Waiter::task(owner, 0, Task::Alive));
    let mut task = Party::task(7, 7, AcquireWrite(who(7)), Task::Alive);
    assert_eq!(task.done(&lock), Ok(()));
    assert!(lock.change(|state, _| state.writer_task().is_some()));
    let mut reading = Party::task(9, 9, AcquireRead(who(9)), Task::Alive).queue(&lock);
    assert_eq!(end_write(&lock, 7), Ok(()));
    assert!(lock.change(|state, _| state.writer_task().is_none()));
    assert_eq!(reading.done(&lock), Ok(()));
    assert!(lock.change(|state, _| state.readers().all(|(_, _, task)| task.is_some())));
}

#[test]
fn a_writer_that_steps_aside_lets_nobody_in_unless_it_gives_up() {
    for mode in BOTH {
        let lock = lock(mode);
        assert_eq!(reader(1).done(&lock), Ok(()));
        let (mut second, mut third) = (writer(2).queue(&lock), reader(3).queue(&lock));
        second.wait.step_aside(&lock);
        assert!(third.waits(&lock) && second.waits(&lock));
        second.wait.step_aside(&lock);
        second.abandon(&lock);
        assert_eq!(third.done(&lock), Ok(()));
    }
}
