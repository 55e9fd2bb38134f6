//! Two threads at one connection: one that closes or ends it, one that sends, writes or says more.

use super::check;
use crate::phase::{Flag, Phase, Receiver};
use loom::sync::{Arc, Mutex};
use loom::thread;

#[test]
fn of_two_who_end_it_one_is_told_that_it_is_the_first() {
    check(|| {
        let phase = Arc::new(Phase::default());
        let theirs = phase.clone();
        let other = thread::spawn(move || theirs.end());
        let first = phase.end();
        assert!(!phase.may_read() && !phase.may_write());
        assert!(first ^ other.join().unwrap());
        assert_eq!(phase.lost(), 1);
    });
}

#[test]
fn what_ends_while_a_write_in_vain_is_counted_stays_lost() {
    check(|| {
        let phase = Arc::new(Phase::default());
        let theirs = phase.clone();
        // As asyncio counts, in two steps.
        let other = thread::spawn(move || theirs.set_lost(theirs.lost() + 1));
        assert!(phase.end());
        assert!(phase.is_lost() && !phase.may_write());
        other.join().unwrap();
        assert!(phase.is_lost() && !phase.may_write());
    });
}

#[test]
fn flags_that_change_at_once_are_not_lost() {
    check(|| {
        let phase = Arc::new(Phase::default());
        let theirs = phase.clone();
        let other = thread::spawn(move || {
            theirs.set(Flag::Paused, true);
            theirs.hand_to(Receiver::Tls);
            theirs.set(Flag::Paused, false);
        });
        phase.set(Flag::Closing, true);
        assert!(!phase.may_read());
        phase.hand_to(Receiver::Buffered);
        assert!(phase.end());
        other.join().unwrap();
        assert!(phase.is(Flag::Closing) && !phase.is(Flag::Paused));
        assert_ne!(phase.receiver(), Receiver::Plain, "one of those that were said");
        assert!(!phase.end());
    });
}

#[test]
fn who_looks_sees_one_receiver_or_the_other() {
    check(|| {
        let phase = Arc::new(Phase::default());
        phase.hand_to(Receiver::Buffered);
        let theirs = phase.clone();
        let other = thread::spawn(move || theirs.receiver());
        phase.hand_to(Receiver::Tls);
        assert_ne!(other.join().unwrap(), Receiver::Plain);
        assert_eq!(phase.receiver(), Receiver::Tls);
    });
}

/// A connection with one piece queued, as the binding has it.
struct Connection {
    phase: Phase,
    queued: Mutex<usize>,
}

impl Connection {
    fn new() -> Arc<Self> {
        Arc::new(Self { phase: Phase::default(), queued: Mutex::new(1) })
    }

    /// As `close()`, of asyncio; whether that has ended it.
    fn close(&self) -> bool {
        self.phase.set(Flag::Closing, true);
        let is_empty = *self.queued.lock().unwrap() == 0;
        is_empty && self.phase.end()
    }

    /// What is queued is sent; whether it has ended, since that was all.
    fn send(&self) -> bool {
        *self.queued.lock().unwrap() = 0;
        self.phase.is_awaited_empty() && self.phase.end()
    }
}

#[test]
fn what_closes_while_the_last_is_sent_ends_once() {
    check(|| {
        let connection = Connection::new();
        let theirs = connection.clone();
        let other = thread::spawn(move || theirs.close());
        let ended = connection.send();
        assert!(ended ^ other.join().unwrap(), "by the second of them, or the first of both");
    });
}

#[test]
fn what_is_written_while_it_closes_is_sent_before_it_ends() {
    check(|| {
        let connection = Connection::new();
        let theirs = connection.clone();
        let other = thread::spawn(move || theirs.close());
        // One may write until it is lost; what was queued by then is taken along.
        let wrote = connection.phase.may_write();
        if wrote {
            *connection.queued.lock().unwrap() += 1;
        }
        assert!(wrote, "it is not empty, so nobody ends it");
        let ended = connection.send();
        assert!(ended ^ other.join().unwrap());
        assert!(!connection.phase.may_write());
        assert_eq!(*connection.queued.lock().unwrap(), 0);
    });
}
