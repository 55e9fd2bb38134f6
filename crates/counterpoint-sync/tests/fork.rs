//! What is left of a line after a fork. In a file, and so a process, of its own: the generation
//! is the process's.
#![cfg(not(loom))]

mod kit;

use counterpoint_sync::lock::Who;
use counterpoint_sync::lock::condition::{AwaitSignal, SignalState};
use counterpoint_sync::lock::mutex::{Acquire, LockState};
use counterpoint_sync::lock::rwlock::{AcquireRead, AcquireWrite, Mode, RwLockState};
use counterpoint_sync::wait::{Attempt, Source, State, Wait};
use counterpoint_sync::waiter::{Notify, Waiter, fork};
use kit::{Guarded, NoTask};
use std::thread;

fn attempt<O>(wait: &mut Wait<O>, shared: &Guarded<O::State>, owner: usize) -> Option<O::Output>
where
    O: Source,
    O::State: State<Notify = NoTask>,
{
    match wait.attempt(shared, || owner as u64, |since| Waiter::thread(owner, since)) {
        Attempt::Done(output) => Some(output),
        Attempt::Pending(_) => None,
    }
}

#[test]
fn the_gone_are_passed_over_and_the_one_who_forked_inside_its_wait_is_not() {
    let condition = Guarded::new(SignalState::default());
    let mut gone = Wait::new(AwaitSignal::default());
    let mut forking = Wait::new(AwaitSignal::default());
    assert!(attempt(&mut gone, &condition, 1).is_none());
    assert!(attempt(&mut forking, &condition, 2).is_none());

    let lock = Guarded::new(RwLockState::new(Mode::Fair));
    let mut reader = Wait::new(AcquireRead(Who::thread(3)));
    assert_eq!(attempt(&mut reader, &lock, 3), Some(Ok(())));
    let mut writer = Wait::new(AcquireWrite(Who::thread(4)));
    assert!(attempt(&mut writer, &lock, 4).is_none());

    fork::forked();

    // A signal handler forked; in the child the interrupted wait is attempted again.
    assert!(attempt(&mut forking, &condition, 2).is_none());
    assert_eq!(condition.change(|state, wakes| state.notify(1, wakes)), 1);
    assert_eq!(attempt(&mut forking, &condition, 2), Some(()));

    // A writer that no longer exists keeps nobody out.
    let mut child = Wait::new(AcquireRead(Who::thread(5)));
    assert_eq!(attempt(&mut child, &lock, 5), Some(Ok(())));

    a_task_is_where_its_event_loop_is();
}

/// Tells a task whose event loop runs here.
struct Told;

impl Notify for Told {
    fn notify(&self) -> bool {
        true
    }
}

fn attempt_as_task(wait: &mut Wait<Acquire<Told>>, lock: &Guarded<LockState<Told>>, owner: usize) {
    let make = |since| Waiter::task(owner, since, Told);
    assert!(matches!(wait.attempt(lock, || owner as u64, make), Attempt::Pending(_)));
}

fn a_task_is_where_its_event_loop_is() {
    let lock = Guarded::new(LockState::default());
    assert!(lock.change(|state, _| state.try_acquire(1)));
    let task = |owner| Wait::new(Acquire::<Told>(Who::thread(owner)));
    let (mut gone, mut own) = (task(2), task(3));
    thread::scope(|scope| {
        scope.spawn(|| attempt_as_task(&mut gone, &lock, 2));
    });
    attempt_as_task(&mut own, &lock, 3);

    // Twice: a child's child knows nothing of it either.
    fork::forked();
    fork::forked();

    lock.change(|state, wakes| state.release(|| u64::MAX, wakes));
    assert_eq!(lock.change(|state, _| (state.owner(), state.waiters())), (3, 0));
    // Collected later.
    gone.abandon(&lock, || 3);
    assert_eq!(lock.change(|state, _| state.owner()), 3);
}
