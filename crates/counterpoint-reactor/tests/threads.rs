//! What threads share of a loop, on real threads: the ready queue and its alarm, the beat, the phase of
//! a transport, and the timers behind the loop's lock. Run under ThreadSanitizer too.
//!
//! Nobody waits for time to pass. A wake-up that is lost ends a wait of [`LONG`], and is an error.
#![cfg(not(any(loom, miri)))]

use counterpoint_reactor::alarm::Alarm;
use counterpoint_reactor::beat::{Beat, News, Sight};
use counterpoint_reactor::phase::{Flag, Phase, Receiver as Reads};
use counterpoint_reactor::poller::{Events, Poller, READ};
use counterpoint_reactor::ready::Ready;
use counterpoint_reactor::timers::Timers;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

const THREADS: usize = 4;

/// So many callbacks are queued by each.
const EACH: usize = 20_000;

/// After so many a thread waits until the loop has run them: so the loop often has nothing to do.
const BATCH: usize = 10;

/// In nanoseconds: nothing here takes that long.
const LONG: u64 = 20_000_000_000;

/// Who has queued it, and which of theirs it is.
type Callback = (usize, usize);

/// What the threads share, as the binding has it.
struct Shared {
    ready: Mutex<Ready<Callback>>,
    alarm: Alarm,
    rings: AtomicUsize,
}

impl Shared {
    fn new() -> Self {
        Self { ready: Mutex::default(), alarm: Alarm::new().unwrap(), rings: AtomicUsize::new(0) }
    }

    fn queue(&self, callback: Callback) {
        let ring = self.ready.lock().unwrap().push(callback);
        if ring {
            self.rings.fetch_add(1, Ordering::Relaxed);
            self.alarm.ring();
        }
    }

    fn pop(&self) -> Option<Callback> {
        self.ready.lock().unwrap().pop()
    }
}

/// A loop of this thread.
struct Loop<'a> {
    shared: &'a Shared,
    poller: Poller,
    /// So many times it has said that it sleeps.
    parks: usize,
}

impl<'a> Loop<'a> {
    fn new(shared: &'a Shared) -> Self {
        let poller = Poller::new().unwrap();
        poller.watch(shared.alarm.as_fd().as_raw_fd(), 0, READ).unwrap();
        Self { shared, poller, parks: 0 }
    }

    /// Parks if there is nothing to run. One that wakes by itself, as for a timer, does not wait
    /// to be rung for; the ring then comes late.
    fn poll(&mut self, wakes_by_itself: bool) {
        if !self.shared.ready.lock().unwrap().park() {
            return;
        }
        self.parks += 1;
        let mut events = Events::new();
        let timeout = if wakes_by_itself { 0 } else { LONG };
        let rung = self.poller.wait(&mut events, Some(timeout)).unwrap().len();
        self.shared.ready.lock().unwrap().unpark();
        assert!(rung == 1 || wakes_by_itself, "a wake-up was lost");
        if rung == 1 {
            self.shared.alarm.silence();
        }
    }
}

/// Queues its callbacks, batch by batch, until somebody has no more use for them.
fn queue_all(shared: &Shared, number: usize, ran: &Receiver<()>) {
    for index in 0..EACH {
        shared.queue((number, index));
        if (index + 1) % BATCH == 0 && ran.recv().is_err() {
            return;
        }
    }
}

/// Runs what the threads queue; it is all of it, in each thread's order. If it is not, they are not
/// told of any more, and end.
fn run_all(
    shared: &Shared,
    told: Vec<Sender<()>>,
    wakes_by_itself: impl Fn(usize) -> bool,
) -> usize {
    let mut own = Loop::new(shared);
    let mut next = [0; THREADS];
    while next != [EACH; THREADS] {
        own.poll(wakes_by_itself(own.parks));
        while let Some((number, index)) = shared.pop() {
            assert_eq!(index, next[number], "of thread {number}");
            next[number] += 1;
            if next[number] % BATCH == 0 {
                let _is_done = told[number].send(());
            }
        }
    }
    own.parks
}

/// Four threads and a loop, which parks so often and is rung for so often.
fn parks_and_rings(wakes_by_itself: impl Fn(usize) -> bool) -> (usize, usize) {
    let shared = Shared::new();
    let (told, ran): (Vec<_>, Vec<_>) = (0..THREADS).map(|_| channel()).unzip();
    let parks = thread::scope(|scope| {
        for (number, ran) in ran.into_iter().enumerate() {
            let shared = &shared;
            scope.spawn(move || queue_all(shared, number, &ran));
        }
        run_all(&shared, told, wakes_by_itself)
    });
    assert!(shared.pop().is_none());
    (parks, shared.rings.into_inner())
}

#[test]
fn of_threads_that_end_a_connection_one_is_the_first() {
    for _ in 0..EACH / 20 {
        let (phase, start) = (Phase::default(), Barrier::new(THREADS));
        let firsts = AtomicUsize::new(0);
        thread::scope(|scope| {
            for number in 0..THREADS {
                let (phase, start, firsts) = (&phase, &start, &firsts);
                scope.spawn(move || {
                    start.wait();
                    phase.set(Flag::Paused, number % 2 == 0);
                    phase.hand_to([Reads::Buffered, Reads::Tls][number % 2]);
                    phase.set(Flag::Closing, true);
                    firsts.fetch_add(usize::from(phase.end()), Ordering::Relaxed);
                    assert!(!phase.may_read() && !phase.may_write());
                });
            }
        });
        assert_eq!(firsts.into_inner(), 1);
        assert!(phase.is(Flag::Closing) && phase.is_lost());
        assert_ne!(phase.receiver(), Reads::Plain);
    }
}

/// A timer as the binding has it: who cancels one does so in it, and the heap is told.
struct Timer {
    deadline: u64,
    number: usize,
    is_cancelled: AtomicBool,
}

#[test]
fn timers_that_threads_set_and_cancel_come_once_in_the_order_of_their_times() {
    let timers = Mutex::new(Timers::default());
    let add = |number: usize, index: usize| {
        let deadline = (index * 7_919 % 1_000) as u64;
        let timer = Arc::new(Timer { deadline, number, is_cancelled: AtomicBool::new(false) });
        timers.lock().unwrap().push(deadline, timer.clone());
        if index.is_multiple_of(3) {
            timer.is_cancelled.store(true, Ordering::Relaxed);
            let mut timers = timers.lock().unwrap();
            if timers.note_cancelled() {
                drop(timers.drop_cancelled(is_cancelled));
            }
        }
    };
    thread::scope(|scope| {
        for number in 0..THREADS {
            let add = &add;
            scope.spawn(move || (0..EACH / 10).for_each(|index| add(number, index)));
        }
    });
    let (mut timers, mut last, mut came) = (timers.into_inner().unwrap(), 0, [0; THREADS]);
    while let Some(timer) = timers.pop_due(1_000) {
        assert!(timer.deadline >= last);
        last = timer.deadline;
        came[timer.number] += usize::from(!is_cancelled(&timer));
    }
    assert_eq!(came, [EACH / 10 - (EACH / 10).div_ceil(3); THREADS]);
}

fn is_cancelled(timer: &Arc<Timer>) -> bool {
    timer.is_cancelled.load(Ordering::Relaxed)
}

#[test]
fn callbacks_of_four_threads_run_in_order_and_wake_the_loop() {
    let (parks, rings) = parks_and_rings(|_| false);
    assert_eq!(parks, rings, "one ring for each sleep");
}

#[test]
fn a_ring_that_comes_late_does_no_harm() {
    let (parks, rings) = parks_and_rings(|parks| parks % 2 == 0);
    assert!(rings <= parks, "{rings} rings for {parks} sleeps");
}

/// A loop runs what is queued, and another thread takes out what is queued, as one that closes the
/// loop: each callback is in one of both, and each has those of a thread in order.
#[test]
fn what_is_cleared_while_threads_queue_is_all_that_does_not_run() {
    let shared = Shared::new();
    let begin = Barrier::new(THREADS + 2);
    let queued = AtomicUsize::new(0);
    let (ran, cleared) = thread::scope(|scope| {
        for number in 0..THREADS {
            let (shared, begin, queued) = (&shared, &begin, &queued);
            scope.spawn(move || {
                begin.wait();
                for index in 0..EACH {
                    shared.queue((number, index));
                    queued.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let closer = scope.spawn(|| {
            begin.wait();
            let cleared = clear_until(&shared, || queued.load(Ordering::Relaxed) == THREADS * EACH);
            shared.queue((THREADS, 0)); // the last
            cleared
        });
        begin.wait();
        (run_until_last(&shared), closer.join().unwrap())
    });
    assert!(shared.pop().is_none());
    assert_eq!(ran.len() + cleared.len(), THREADS * EACH);
    for number in 0..THREADS {
        let of = |all: &[Callback]| -> Vec<usize> {
            all.iter().filter(|of| of.0 == number).map(|of| of.1).collect()
        };
        let [ran, cleared] = [of(&ran), of(&cleared)];
        assert!(ran.is_sorted() && cleared.is_sorted());
        let mut all = [ran, cleared].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..EACH), "each once");
    }
}

fn clear_until(shared: &Shared, is_done: impl Fn() -> bool) -> Vec<Callback> {
    let mut all = Vec::new();
    loop {
        let was_last = is_done();
        let cleared: VecDeque<_> = shared.ready.lock().unwrap().clear();
        all.extend(cleared);
        if was_last {
            return all;
        }
        thread::yield_now(); // to the loop, which is to run some
    }
}

fn run_until_last(shared: &Shared) -> Vec<Callback> {
    let (mut own, mut ran) = (Loop::new(shared), Vec::new());
    loop {
        own.poll(false);
        while let Some(callback) = shared.pop() {
            if callback.0 == THREADS {
                return ran;
            }
            ran.push(callback);
        }
    }
}

/// Queues again when it is dropped, as what a program's destructor does.
struct Again(Arc<Mutex<Ready<Option<Again>>>>);

impl Drop for Again {
    fn drop(&mut self) {
        let _is_awake = self.0.lock().unwrap().push(None);
    }
}

#[test]
fn what_is_cleared_may_queue_as_it_is_dropped() {
    let ready = Arc::new(Mutex::new(Ready::default()));
    let queue = || {
        for _ in 0..EACH {
            let _is_awake = ready.lock().unwrap().push(Some(Again(ready.clone())));
        }
    };
    // Dropped without the lock, which is held for as long as that takes only.
    let clear = || {
        let cleared = ready.lock().unwrap().clear();
        cleared.iter().filter(|callback| callback.is_some()).count()
    };
    let mut count = thread::scope(|scope| {
        let queuing = [(); THREADS].map(|()| scope.spawn(queue));
        let mut count = 0;
        while queuing.iter().any(|thread| !thread.is_finished()) {
            count += clear();
            thread::yield_now();
        }
        count
    });
    count += clear();
    assert_eq!(count, THREADS * EACH);
    assert_eq!(clear(), 0);
}

/// Of a loop that waits, in each callback and after it, for who looks.
#[test]
fn each_callback_that_stalls_is_told_of_and_its_end_exactly() {
    let (beat, clock) = (Beat::default(), AtomicU64::new(1));
    let now = || clock.fetch_add(1, Ordering::Relaxed);
    let ((runs, begun), (seen, is_seen), (ends, ended)) = (channel(), channel(), channel());
    thread::scope(|scope| {
        scope.spawn(|| {
            let (runs, is_seen, ends) = (runs, is_seen, ends);
            for _ in 0..EACH {
                let before = beat.enter(ptr::without_provenance_mut(8));
                runs.send(()).unwrap();
                is_seen.recv().unwrap();
                assert!(beat.leave(before), "its end is awaited");
                let now = now();
                beat.end(now);
                ends.send(now).unwrap();
                is_seen.recv().unwrap();
            }
        });
        let (mut sight, begun, seen, ended) = (Sight::default(), begun, seen, ended);
        for number in (1..).step_by(2).take(EACH) {
            begun.recv().unwrap();
            let since = now();
            assert_eq!(sight.look(&beat, 1, since), None, "first seen");
            assert_eq!(sight.look(&beat, 1, now()), Some(News::Stalled(number, since)));
            assert!(beat.subject(number).is_some());
            seen.send(()).unwrap();
            let end: u64 = ended.recv().unwrap();
            assert_eq!(sight.look(&beat, 1, now()), Some(News::Over(end - since)));
            seen.send(()).unwrap();
        }
    });
    assert!(!beat.is_running());
}

/// Of a loop that does not wait for who looks: news are in order, and of callbacks that there are.
#[test]
fn a_beat_that_is_looked_at_meanwhile_tells_of_callbacks_only() {
    let (beat, clock) = (Beat::default(), AtomicU64::new(1));
    let now = || clock.fetch_add(1, Ordering::Relaxed);
    let begin = Barrier::new(2);
    let (mut sight, mut last, mut stalled) = (Sight::default(), 0, None);
    let mut look = |news: Option<News>| match news {
        Some(News::Stalled(number, since)) => {
            assert!(number > last && number <= 2 * EACH as u64, "each once");
            assert!(number % 2 == 1, "while nothing runs nothing stalls");
            assert!(stalled.replace(since).is_none(), "the one before is over");
            last = number;
        }
        Some(News::Over(lasted)) => {
            let since = stalled.take().expect("one that was told of");
            assert!(since + lasted <= clock.load(Ordering::Relaxed));
        }
        None => {}
    };
    thread::scope(|scope| {
        let beats = scope.spawn(|| {
            begin.wait();
            for _ in 0..EACH {
                let before = beat.enter(ptr::without_provenance_mut(8));
                if beat.leave(before) {
                    beat.end(now());
                }
            }
        });
        begin.wait();
        while !beats.is_finished() {
            look(sight.look(&beat, 1, now()));
        }
    });
    (0..2).for_each(|_| look(sight.look(&beat, 1, now())));
    assert_eq!(stalled, None, "all is over");
    assert!(!beat.is_running() && beat.subject(2 * EACH as u64).is_none());
    let before = beat.enter(ptr::without_provenance_mut(8));
    assert!(!beat.leave(before), "nobody waits for an end any more");
}
