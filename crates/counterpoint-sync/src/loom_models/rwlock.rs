//! The readers-writer lock: readers together, a writer alone, nobody left behind.

use super::{CLOCKS, Guarded, Kind, Party, Racy, Tell, check};
use crate::lock::Who;
use crate::lock::mutex::NOBODY;
use crate::lock::rwlock::{AcquireRead, AcquireWrite, Mode, RwLockState};
use loom::sync::Arc;
use loom::thread;

/// A lock, and what it protects.
struct Book {
    lock: Arc<Guarded<RwLockState<Tell>>>,
    page: Racy,
    now: u64,
}

impl Book {
    fn read(&self, kind: Kind, owner: usize) -> bool {
        let source = AcquireRead(Who::thread(owner));
        let entered = Party::new(kind, owner, &self.lock, source).finish().is_some();
        if entered {
            self.page.read();
            self.end_read(owner);
        }
        entered
    }

    fn end_read(&self, owner: usize) {
        let now = self.now;
        self.lock.change(|lock, wakes| lock.release_read(owner, || now, wakes)).unwrap();
    }

    fn write(&self, kind: Kind, owner: usize, downgrades: bool) {
        let source = AcquireWrite(Who::thread(owner));
        if Party::new(kind, owner, &self.lock, source).finish().is_none() {
            return;
        }
        self.page.increment();
        if downgrades {
            self.lock.change(|lock, wakes| lock.downgrade(owner, wakes)).unwrap();
            self.page.read();
            self.end_read(owner);
        } else {
            let now = self.now;
            self.lock.change(|lock, wakes| lock.release_write(owner, || now, wakes)).unwrap();
        }
    }
}

/// A reader, and another, and a writer of some kind, in both modes, on both clocks.
fn meet(reader: Kind, other: Kind, writer: Kind, downgrades: bool) {
    for mode in [Mode::Writer, Mode::Fair] {
        for now in CLOCKS {
            check(move || {
                let lock = Guarded::new(RwLockState::new(mode));
                let book = Arc::new(Book { lock, page: Racy::default(), now });
                let (second, third) = (book.clone(), book.clone());
                let second = thread::spawn(move || second.read(reader, 2));
                let third = thread::spawn(move || third.write(writer, 3, downgrades));
                book.read(other, 1);
                second.join().unwrap();
                third.join().unwrap();
                let free = |lock: &mut RwLockState<Tell>, _: &mut _| {
                    lock.writer() == NOBODY && lock.reader_count() == 0
                };
                assert!(book.lock.change(free));
            });
        }
    }
}

#[test]
fn readers_and_a_writer() {
    meet(Kind::Thread, Kind::Task, Kind::Thread, false);
}

#[test]
fn a_writer_that_gives_up() {
    meet(Kind::Thread, Kind::Thread, Kind::Expiring, false);
    meet(Kind::Thread, Kind::Thread, Kind::Interrupted, false);
    meet(Kind::Thread, Kind::Thread, Kind::Collected, false);
    meet(Kind::Thread, Kind::Thread, Kind::Forgotten, false);
}

/// A reader is inside and stays until another reader is; a writer stands between them for a while.
#[test]
fn a_writer_that_gives_up_no_longer_keeps_readers_out() {
    for mode in [Mode::Writer, Mode::Fair] {
        for kind in [Kind::Expiring, Kind::Interrupted] {
            check(move || {
                let lock = Guarded::new(RwLockState::new(mode));
                let book = Arc::new(Book { lock, page: Racy::default(), now: 0 });
                let first = AcquireRead(Who::thread(1));
                Party::new(Kind::Thread, 1, &book.lock, first).finish().unwrap().unwrap();
                let (second, third) = (book.clone(), book.clone());
                let second = thread::spawn(move || second.read(Kind::Thread, 2));
                let third = thread::spawn(move || third.write(kind, 3, false));
                assert!(second.join().unwrap());
                book.end_read(1);
                third.join().unwrap();
            });
        }
    }
}

#[test]
fn readers_that_give_up() {
    meet(Kind::Expiring, Kind::Thread, Kind::Thread, false);
    meet(Kind::Interrupted, Kind::Thread, Kind::Task, false);
    meet(Kind::Collected, Kind::Thread, Kind::Thread, false);
}

#[test]
fn a_writer_that_becomes_a_reader() {
    meet(Kind::Thread, Kind::Thread, Kind::Thread, true);
}

/// Who was a writer stays a reader until another reader is inside.
#[test]
fn a_downgrade_lets_the_waiting_readers_in() {
    for mode in [Mode::Writer, Mode::Fair] {
        check(move || {
            let lock = Guarded::new(RwLockState::new(mode));
            let book = Arc::new(Book { lock, page: Racy::default(), now: 0 });
            let writer = AcquireWrite(Who::thread(1));
            Party::new(Kind::Thread, 1, &book.lock, writer).finish().unwrap().unwrap();
            let readers = [(2, Kind::Thread), (3, Kind::Task)].map(|(owner, kind)| {
                let book = book.clone();
                thread::spawn(move || book.read(kind, owner))
            });
            book.lock.change(|lock, wakes| lock.downgrade(1, wakes)).unwrap();
            assert!(readers.map(|reader| reader.join().unwrap()) == [true, true]);
            book.end_read(1);
        });
    }
}

/// Two writers, one of whom may give up while the other is inside, and a reader.
#[test]
fn writers_and_a_reader() {
    for mode in [Mode::Writer, Mode::Fair] {
        for (now, kind) in CLOCKS.into_iter().zip([Kind::Thread, Kind::Expiring]) {
            check(move || {
                let lock = Guarded::new(RwLockState::new(mode));
                let book = Arc::new(Book { lock, page: Racy::default(), now });
                let writers = [(2, Kind::Thread), (3, kind)].map(|(owner, kind)| {
                    let book = book.clone();
                    thread::spawn(move || book.write(kind, owner, false))
                });
                book.read(Kind::Thread, 1);
                writers.into_iter().for_each(|writer| writer.join().unwrap());
                let written = book.page.read();
                assert!(written == 2 || kind == Kind::Expiring && written == 1);
            });
        }
    }
}
