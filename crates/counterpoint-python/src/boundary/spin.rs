//! [`await_claim`]: looking at a waiter's word for a moment before sleeping on it.
//!
//! To sleep and be woken costs a thread two passes through the kernel and, on another CPU, an
//! interrupt: tens of microseconds, where what is waited for is often a few instructions of another
//! thread away. So a thread that is about to park, detached already, first looks at its waiter for
//! as long as a sleep would cost it anyway. This never takes part in the protocol: the claim is the
//! same whether it is seen here or after a sleep, and a thread that saw nothing parks as ever.
//!
//! # When not to
//!
//! A thread that waits for something far away would burn its CPU for nothing. Each thread keeps
//! count: each look that saw nothing doubles the number of waits that follow without one, up to
//! [`MOST_SKIPPED`]; one that saw its claim starts anew. So one that is always in vain costs a
//! thread less than a microsecond a wait. With a single CPU nobody looks: the claimer could not run.
//!
//! # With a GIL
//!
//! The claimer is attached, and goes on to be: a waiter that attached at once would fall asleep
//! on the interpreter's own lock. Mostly the claimer parks soon itself, as two threads that take
//! turns do. So whoever parks ends a [`turn`], and who was claimed waits for the end of the turn in
//! which it was, before it attaches; not for long, since the claimer may have better to do.

use counterpoint_sync::Arc;
use counterpoint_sync::clock;
use counterpoint_sync::waiter::Waiter;
use counterpoint_sync::waiter::turn;
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How long to look, in nanoseconds: about what a sleep and a wake-up cost both threads.
const LOOK: u64 = 30_000;

/// For how long the claimer may go on before one who waits asks for the interpreter. Not long: it may
/// have let go of it in a way that ends no turn, as an event loop does.
pub const COURTESY: u64 = 10_000;

/// The same between a worker and who submits: the one submits a batch, the other runs it.
pub const PATIENCE: u64 = 60_000;

/// The most waits without a look after one in vain.
const MOST_SKIPPED: u32 = 64;

/// Looks at the word between two looks at the clock.
const PAUSES: u32 = 16;

thread_local! {
    static HABIT: Cell<Habit> = const { Cell::new(Habit { skip: 0, next: 1 }) };
}

/// What a thread has learnt about its waits.
#[derive(Clone, Copy)]
struct Habit {
    /// So many waits still go without a look.
    skip: u32,
    /// How many will after the next look in vain.
    next: u32,
}

impl Habit {
    fn looks(&mut self) -> bool {
        let looks = self.skip == 0;
        self.skip = self.skip.saturating_sub(1);
        looks
    }

    fn learn(&mut self, seen: bool) {
        if seen {
            *self = Self { skip: 0, next: 1 };
        } else {
            self.skip = self.next;
            self.next = (self.next * 2).min(MOST_SKIPPED);
        }
    }
}

/// To be called by every thread that parks, once it is detached.
#[inline(always)]
pub fn detached() {
    #[cfg(not(Py_GIL_DISABLED))]
    turn::end();
}

/// Looks for a claim on this thread's waiter, detached; whether there is one. Its claimer has
/// `patience`, in nanoseconds, to let go of the interpreter. What `look_out` returns is done between
/// looks.
pub fn await_claim<N, L: FnMut()>(
    waiter: &Arc<Waiter<N>>,
    deadline: Option<u64>,
    patience: u64,
    look_out: impl FnOnce() -> Option<L>,
) -> bool {
    let seen = look_for(deadline, || {
        let mut look_out = turn::outside(look_out);
        move || {
            if let Some(look) = &mut look_out {
                turn::outside(look);
            }
            !waiter.is_waiting()
        }
    });
    if seen {
        await_interpreter(waiter, patience);
    }
    seen
}

/// Between two looks.
pub fn nothing_else() -> Option<fn()> {
    None
}

/// Looks, detached, until what `prepare` returns says that it has seen it, but not for long, and
/// not at all where that was mostly in vain.
pub fn look_for<L: FnMut() -> bool>(deadline: Option<u64>, prepare: impl FnOnce() -> L) -> bool {
    let mut habit = HABIT.get();
    let looks = several_cpus() && habit.looks();
    let seen = looks && look(deadline, prepare());
    if looks {
        habit.learn(seen);
    }
    HABIT.set(habit);
    seen
}

fn look(deadline: Option<u64>, mut seen: impl FnMut() -> bool) -> bool {
    let start = clock::now();
    let end = deadline.map_or(start + LOOK, |deadline| deadline.min(start + LOOK));
    loop {
        for _ in 0..PAUSES {
            if seen() {
                return true;
            }
            std::hint::spin_loop();
        }
        if clock::now() >= end {
            return false;
        }
        // Where more threads want to run than there are CPUs, the claimer may stand behind this one.
        std::thread::yield_now();
    }
}

/// To be called, detached, by one that was claimed while others may go on for a while: who submits a
/// batch and then waits for it lets go of the interpreter when the batch is complete. To sleep on
/// the interpreter's lock until then costs both a pass through the kernel, so this looks for the
/// moment, and lets go of the CPU at each look.
#[cfg(not(Py_GIL_DISABLED))]
pub fn await_interpreter<N>(waiter: &Waiter<N>, patience: u64) {
    if turn::current() != waiter.turn() {
        return;
    }
    if !several_cpus() {
        return std::thread::yield_now();
    }
    let end = clock::now() + patience;
    loop {
        for _ in 0..PAUSES {
            if turn::current() != waiter.turn() {
                return;
            }
            std::hint::spin_loop();
        }
        if clock::now() >= end {
            return;
        }
        std::thread::yield_now();
    }
}

/// Without a GIL it is always free.
#[cfg(Py_GIL_DISABLED)]
pub fn await_interpreter<N>(_: &Waiter<N>, _: u64) {}

/// Whether this process may use more than one CPU; asked once.
fn several_cpus() -> bool {
    static CPUS: AtomicUsize = AtomicUsize::new(0);
    let known = CPUS.load(Ordering::Relaxed);
    if known != 0 {
        return known > 1;
    }
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get());
    CPUS.store(cpus, Ordering::Relaxed);
    cpus > 1
}
