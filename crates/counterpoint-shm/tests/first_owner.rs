//! A fork while another thread asks for the first time who it is: a program of its own, in which
//! nobody has asked.
#![cfg(not(any(loom, miri)))]

mod kit;

use counterpoint_shm::sync::Owner;
use kit::{Chance, limit};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// More than there are CPUs, so that they are interrupted.
const THREADS: usize = 4;

/// A fork of this process, and whether it ended well.
fn fork(work: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child works on what it is given and leaves by `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        limit(10);
        let status = i32::from(!work());
        // SAFETY: ends the process.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: `status` is valid and exclusive for the duration of the call.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status == 0
}

fn asks_while_another_forks(delay: u64) -> bool {
    let start = Barrier::new(1 + THREADS);
    std::thread::scope(|scope| {
        let others = std::array::from_fn::<_, THREADS, _>(|_| {
            scope.spawn(|| {
                start.wait();
                Owner::me()
            })
        });
        start.wait();
        for _ in 0..delay {
            std::hint::spin_loop();
        }
        let good = fork(|| {
            let me = Owner::me();
            me.pid() == std::process::id() && !me.is_over()
        });
        let owners = others.map(|other| other.join().unwrap());
        good && owners.iter().all(|owner| owner.pid() == std::process::id())
    })
}

#[test]
fn a_fork_in_the_middle_of_it_does_not_wait_for_ever() {
    limit(100);
    let mut chance = Chance::new(7);
    for _ in 0..2000 {
        let delay = chance.below(3000);
        assert!(fork(|| asks_while_another_forks(delay)));
    }
}

/// The kernel counts the starts of processes in hundredths of a second.
fn let_a_tick_pass() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(11) {
        std::thread::yield_now();
    }
}

#[test]
fn a_fork_in_the_middle_of_it_is_not_taken_for_dead() {
    limit(100);
    let mut chance = Chance::new(8);
    for _ in 0..400 {
        let delay = chance.below(3000);
        assert!(fork(|| {
            let_a_tick_pass();
            asks_while_another_forks(delay)
        }));
    }
}
