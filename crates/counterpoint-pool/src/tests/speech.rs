//! What workers say, through real pipes and sockets.

use super::*;
use crate::inlet::Inlet;
use crate::sideband;
use crate::speech::{Load, MOST, MOST_OF_ALL, Weight, Word};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::{AsRawFd, OwnedFd};

/// What a pipe or a socket holds at most, here.
const PIPE: usize = 256 << 10;

/// A worker that only speaks.
struct Speaker {
    id: u32,
    side: OwnedFd,
    out: File,
}

impl Speaker {
    fn join(pool: &Pool, id: u32) -> Self {
        let results = Arena::lay_out(c"test", arena::LEAST).unwrap();
        let len = arena::sealed_len(results.as_fd()).unwrap();
        let link = Link::new(results, len, pool.0.doorbell().unwrap());
        let station = Station::create(id, link, true).unwrap();
        let fd = |at: usize| station.descriptors()[at].try_clone_to_owned().unwrap();
        let (side, out) = (fd(3), fd(4));
        // SAFETY: a plain system call on a descriptor that is open.
        unsafe { libc::fcntl(out.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        let mut state = pool.0.lock();
        state.launching += 1;
        state.add_station(station);
        Self { id, side, out: out.into() }
    }

    /// Writes until it would have to wait, and is read each time; how many bytes.
    fn write_all_it_can(&mut self, pool: &Pool) -> usize {
        let (mut written, mut before) = (0, None);
        while before != Some(written) {
            before = Some(written);
            while let Ok(len) = self.out.write(&[b'x'; 1000]) {
                written += len;
            }
            pool.hear(self.id, Inlet::Output);
        }
        written
    }

    /// The same with messages.
    fn say_all_it_can(&self, pool: &Pool) -> usize {
        let (mut said, mut before) = (0, None);
        while before != Some(said) {
            before = Some(said);
            let error = loop {
                match sideband::send(self.side.as_fd(), &[0; 1000], None, false) {
                    Ok(()) => said += 1000,
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), ErrorKind::WouldBlock);
            pool.hear(self.id, Inlet::Sideband);
        }
        said
    }
}

impl Pool {
    fn hear(&self, id: u32, inlet: Inlet) {
        self.0.with(|state| state.hear(id, inlet));
    }

    fn words(&self) -> Vec<Word> {
        self.0.speech.send(Word::Over);
        let mut words: Vec<_> = self.0.speech.wait().into();
        words.pop();
        words
    }

    /// Deals with everything; how many bytes that were.
    fn deal_with(&self, words: Vec<Word>) -> usize {
        let dealt = words.into_iter().map(|word| match word {
            Word::Said { bytes, weight, .. } => {
                self.0.relieve(weight);
                bytes.len()
            }
            _ => 0,
        });
        dealt.sum()
    }
}

#[test]
fn a_worker_that_nobody_listens_to_waits_and_no_other_does() {
    let pool = Pool::new(LIMITS);
    let mut loud = Speaker::join(&pool, 0);
    let mut other = Speaker::join(&pool, 1);
    let written = loud.write_all_it_can(&pool);
    assert!((MOST / 2..MOST + 2 * PIPE).contains(&written), "{written}");
    assert!(pool.0.lock().hearing.holds(0));
    assert!(!pool.0.lock().hearing.is_pressing(), "the dispatcher may sleep");
    other.out.write_all(b"quiet").unwrap();
    pool.hear(1, Inlet::Output);
    let words = pool.words();
    let last = words.last().unwrap();
    assert!(matches!(last, Word::Said { station: 1, bytes, .. } if **bytes == *b"quiet"));

    let dealt = pool.deal_with(words);
    pool.0.with(|state| state.hear_more());
    assert!(!pool.0.lock().hearing.holds(0));
    assert_eq!(dealt + pool.deal_with(pool.words()), written + 5);
    assert!(loud.write_all_it_can(&pool) >= MOST / 2, "it goes on");
}

#[test]
fn messages_wait_as_lines_do() {
    let pool = Pool::new(LIMITS);
    let loud = Speaker::join(&pool, 0);
    let said = loud.say_all_it_can(&pool);
    assert!((MOST / 2..MOST + 2 * PIPE).contains(&said), "{said}");
    let words = pool.words();
    assert!(pool.deal_with(words) > 0);
    pool.0.with(|state| state.hear_more());
    assert!(loud.say_all_it_can(&pool) >= MOST / 2, "it goes on");
}

#[test]
fn the_dispatcher_is_told_once_half_is_dealt_with() {
    let (worker, pool) = (Load::default(), Load::default());
    let weights: Vec<_> = (0..4).map(|_| Weight::new(MOST / 4, &worker, &pool)).collect();
    let told: Vec<_> = weights.into_iter().map(Weight::lift).collect();
    assert_eq!(told.iter().filter(|told| **told).count(), 1);
    assert_eq!((worker.bytes(), pool.bytes()), (0, 0));
}

#[test]
fn the_last_words_of_a_worker_that_waited_are_heard() {
    let pool = Pool::new(LIMITS);
    let mut loud = Speaker::join(&pool, 0);
    let written = loud.write_all_it_can(&pool);
    pool.0.with(|state| state.died(0));
    let words = pool.words();
    assert!(matches!(words.last(), Some(Word::Gone { station: 0, lost: 0, .. })));
    assert_eq!(pool.deal_with(words), written);
    pool.0.with(|state| state.hear_more());
    assert!(!pool.0.lock().hearing.holds(0));
}

#[test]
fn the_last_words_of_too_many_are_dropped_and_counted() {
    let pool = Pool::new(LIMITS);
    let mut last = Speaker::join(&pool, 0);
    last.out.write_all(b"farewell").unwrap();
    let all = pool.0.lock().hearing.weigh(MOST_OF_ALL);
    pool.0.with(|state| state.died(0));
    assert!(matches!(pool.words()[..], [Word::Gone { station: 0, lost: 8, .. }]));
    drop(all);
}

#[test]
fn one_that_waits_to_be_read_may_take_longer_to_leave() {
    let pool = Pool::new(LIMITS);
    let mut loud = Speaker::join(&pool, 0);
    loud.write_all_it_can(&pool);
    let evicted = |pool: &Pool| {
        let mut state = pool.0.lock();
        state.stations[0].leave_by = Some(1);
        let _ = state.patrol(clock::now());
        state.stations[0].stage == Stage::Doomed
    };
    assert!(!evicted(&pool));
    assert!(pool.0.lock().stations[0].leave_by.is_some_and(|by| by > clock::now()));
    pool.deal_with(pool.words());
    pool.0.with(|state| state.hear_more());
    assert!(evicted(&pool));
}
