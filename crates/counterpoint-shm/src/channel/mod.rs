//! [`Channel`]: a queue of records between any number of processes, in shared memory, robust.
//!
//! The queue with two locks of Michael and Scott, one for those who put and one for those who take,
//! over segments of bytes instead of nodes. `README.md` beside this file says how it works and why
//! a death at any instant leaves it whole.

mod at;
mod heap;
mod inbox;
mod layout;
mod memory;
mod record;
#[cfg(not(loom))]
mod runs;

pub use inbox::Inbox;
#[cfg(not(loom))]
pub use runs::Held;

use crate::bell::Slept;
use crate::door::Ordering;
use crate::ring::Corrupt;
use crate::sync::gate::{ALL, look};
use crate::sync::{Mutex, Owner};
use at::{At, COUNTS, between};
use layout::{Control, SEGMENT, Side};
use memory::Memory;
use record::Found;

/// The most content that lies in a record; what is longer belongs into a run.
pub const INLINE: usize = SEGMENT / 8;

/// The most runs of one record.
pub const MAX_RUNS: usize = 1024;

/// The most records that a channel may hold.
pub const UNBOUNDED: u64 = COUNTS / 2;

const OPEN: u32 = 0;
const SHUT: u32 = 1;
const CLOSED: u32 = 2;

/// Contiguous memory of a channel, of which so many bytes are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    segment: u32,
    len: u64,
}

/// What is put: a record of at most [`INLINE`] bytes and [`MAX_RUNS`] runs.
#[derive(Clone, Copy, Debug)]
pub struct Parcel<'a> {
    /// What travels beside it.
    pub runs: &'a [Run],
    /// The rest.
    pub content: &'a [u8],
    /// Whether the last run holds what would otherwise be the content.
    pub apart: bool,
}

/// Why nothing was put or taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Refusal {
    /// Somebody else is at it; for long, if it was stopped or killed.
    Busy,
    /// There are as many records as there may be.
    Full,
    /// The memory has no room for another record.
    Choked,
    /// There is no record.
    Empty,
    /// The channel was shut, and for a taker it is empty too.
    Shut,
    /// The memory was overwritten by something else.
    Corrupt,
}

impl From<Corrupt> for Refusal {
    fn from(_: Corrupt) -> Self {
        Refusal::Corrupt
    }
}

/// See the module.
pub struct Channel {
    memory: Memory,
}

impl Channel {
    /// One for a model.
    #[cfg(loom)]
    pub(crate) fn modelled(limit: u64) -> Self {
        let channel = Self { memory: Memory::create() };
        channel.set_limit(limit);
        channel
    }

    fn control(&self) -> &Control {
        self.memory.control()
    }

    /// Sets the most records there may be, before anybody else sees the channel.
    fn set_limit(&self, limit: u64) {
        self.control().limit.store(limit.clamp(1, UNBOUNDED), Ordering::Relaxed);
    }

    /// The most records there may be.
    pub fn limit(&self) -> u64 {
        self.control().limit.load(Ordering::Relaxed)
    }

    fn lock(mutex: &Mutex, me: Owner, insist: bool) -> Result<(), Refusal> {
        // Whatever a dead holder was about to do, it did not, or had finished: nothing is mended.
        let locked = mutex.lock_soon(me) || insist && mutex.take(me).is_some();
        if locked { Ok(()) } else { Err(Refusal::Busy) }
    }

    /// Puts as many of the parcels as there is room for, one at least. With `insist`, a holder of
    /// the lock that is dead is looked for.
    pub fn try_put<'a>(
        &self,
        me: Owner,
        insist: bool,
        parcels: impl Iterator<Item = Parcel<'a>>,
    ) -> Result<usize, Refusal> {
        let control = self.control();
        Self::lock(&control.tail.mutex, me, insist)?;
        let put = if control.shut.load(Ordering::Relaxed) == OPEN {
            self.append(&control.tail, parcels)
        } else {
            Err(Refusal::Shut)
        };
        let news = put.map_or(0, |count| count as u32);
        control.tail.mutex.unlock_and_ring(&control.not_empty, news);
        put
    }

    fn append<'a>(
        &self,
        tail: &Side,
        parcels: impl Iterator<Item = Parcel<'a>>,
    ) -> Result<usize, Refusal> {
        let start = At::unpack(tail.at.load(Ordering::Relaxed));
        if start.segment >= self.memory.segments() {
            return Err(Refusal::Corrupt);
        }
        let mut at = start;
        for parcel in parcels {
            assert!(parcel.content.len() <= INLINE && parcel.runs.len() <= MAX_RUNS);
            let next = if self.has_room(tail, at) {
                self.write(at, &parcel).ok_or(Refusal::Choked)
            } else {
                Err(Refusal::Full)
            };
            match next {
                Ok(next) => at = next,
                Err(refusal) if at == start => return Err(refusal),
                Err(_) => break,
            }
        }
        // ORDERING: Release pairs with the Acquire in `has_next`: the records are there, and so is
        // what is in their runs.
        tail.at.store(at.pack(), Ordering::Release);
        Ok(between(start.count, at.count) as usize)
    }

    fn has_room(&self, tail: &Side, at: At) -> bool {
        let limit = self.limit();
        let seen = At::unpack(tail.seen.load(Ordering::Relaxed));
        if between(seen.count, at.count) < limit {
            return true;
        }
        let head = self.control().head.at.load(Ordering::Relaxed);
        tail.seen.store(head, Ordering::Relaxed);
        between(At::unpack(head).count, at.count) < limit
    }

    /// Writes one record; where the next one goes. `None`: the memory is full.
    fn write(&self, mut at: At, parcel: &Parcel<'_>) -> Option<At> {
        let (bytes, size) = (self.memory.bytes(), record::size(parcel));
        if at.offset + size > record::LONGEST {
            let other = self.control().heap.take(0, None, self.memory.segments())?;
            record::write_end(bytes, at.place(), other);
            at = at.moved_to(other);
        }
        record::write(bytes, at.place(), parcel);
        parcel.runs.iter().for_each(|run| self.control().heap.queue(run.segment));
        Some(at.after(size))
    }

    /// Takes `most` records at most, one at least, to the end of `inbox`. `insist` as for
    /// [`try_put`](Self::try_put). What the records refer to is the caller's from then on.
    pub fn try_take(
        &self,
        me: Owner,
        insist: bool,
        most: usize,
        inbox: &mut Inbox,
    ) -> Result<usize, Refusal> {
        let control = self.control();
        if control.shut.load(Ordering::Relaxed) == CLOSED {
            return Err(Refusal::Shut);
        }
        Self::lock(&control.head.mutex, me, insist)?;
        let taken = self.consume(&control.head, me, most, inbox);
        let room = taken.map_or(0, |count| count as u32);
        control.head.mutex.unlock_and_ring(&control.not_full, room);
        match taken {
            Err(Refusal::Empty) if control.shut.load(Ordering::Relaxed) != OPEN => {
                Err(Refusal::Shut)
            }
            other => other,
        }
    }

    fn consume(
        &self,
        head: &Side,
        me: Owner,
        most: usize,
        inbox: &mut Inbox,
    ) -> Result<usize, Refusal> {
        let start = At::unpack(head.at.load(Ordering::Relaxed));
        let (mut at, mut left, mut read) = (start, Vec::new(), Ok(()));
        let had = inbox.runs.len();
        while between(start.count, at.count) < most as u64 && self.has_next(head, at) {
            match self.read(at, inbox) {
                Ok(next) => {
                    if next.segment != at.segment {
                        left.push(at.segment);
                    }
                    at = next;
                }
                Err(corrupt) => {
                    inbox.drop_rest();
                    read = Err(corrupt);
                    break;
                }
            }
        }
        if at == start {
            return read.map_err(Refusal::from).and(Err(Refusal::Empty));
        }
        // ORDERING: Release pairs with the Acquire of whoever takes the segments that are freed
        // below, and is why they are not freed above.
        head.at.store(at.pack(), Ordering::Release);
        inbox.runs[had..].iter().for_each(|run| self.control().heap.hold(run.segment, me));
        left.into_iter().for_each(|segment| self.free(segment));
        Ok(between(start.count, at.count) as usize)
    }

    fn has_next(&self, head: &Side, at: At) -> bool {
        let seen = At::unpack(head.seen.load(Ordering::Relaxed));
        let ahead = between(at.count, seen.count);
        // What a dead holder of the lock left there may lie behind.
        if ahead != 0 && ahead < COUNTS / 2 {
            return true;
        }
        // ORDERING: Acquire pairs with the Release in `append`.
        let tail = self.control().tail.at.load(Ordering::Acquire);
        head.seen.store(tail, Ordering::Relaxed);
        tail != at.pack()
    }

    /// Reads one record; where the next one is.
    fn read(&self, at: At, inbox: &mut Inbox) -> Result<At, Corrupt> {
        let (at, found) = match self.read_at(at, inbox)? {
            Found::Elsewhere(segment) => {
                let there = at.moved_to(segment);
                (there, self.read_at(there, inbox)?)
            }
            found => (at, found),
        };
        let Found::Record(size, apart) = found else { return Err(Corrupt) };
        let (heap, limit) = (&self.control().heap, self.memory.segments());
        if !inbox.rest().iter().all(|run| heap.contains(run.segment, run.len, limit)) {
            return Err(Corrupt);
        }
        inbox.close(apart);
        Ok(at.after(size))
    }

    fn read_at(&self, at: At, inbox: &mut Inbox) -> Result<Found, Corrupt> {
        if at.segment >= self.memory.segments() || at.offset >= SEGMENT {
            return Err(Corrupt);
        }
        record::read(self.memory.bytes(), at.place(), SEGMENT - at.offset, inbox)
    }

    fn free(&self, segment: u32) {
        self.control().heap.give(segment, |len| self.memory.punch(segment, len));
    }

    /// How many records there are.
    pub fn len(&self) -> u64 {
        // In this order: the tail does not stand still, but it stays ahead.
        // ORDERING: Acquire, so that the second load is not before the first; pairs with the
        // Release in `consume`.
        let head = At::unpack(self.control().head.at.load(Ordering::Acquire));
        let tail = At::unpack(self.control().tail.at.load(Ordering::Relaxed));
        between(head.count, tail.count)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there are as many as there may be.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit()
    }

    /// Whether it was shut.
    pub fn is_shut(&self) -> bool {
        self.control().shut.load(Ordering::Relaxed) != OPEN
    }

    /// Looks for a moment whether a record comes.
    pub fn comes_soon(&self) -> bool {
        look(|| !self.is_empty())
    }

    /// Sleeps until a put that was refused may succeed, to `until` at most.
    pub fn sleep_to_put(&self, refusal: Refusal, until: Option<u64>) -> Slept {
        let control = self.control();
        match refusal {
            Refusal::Busy => control.tail.mutex.sleep(until),
            // Nobody says when memory becomes free: it is looked for.
            Refusal::Choked => control.not_full.sleep_unless(until, || false),
            _ => control.not_full.sleep_unless(until, || !self.is_full() || self.is_shut()),
        }
    }

    /// Sleeps until a taking that was refused may succeed, to `until` at most.
    pub fn sleep_to_take(&self, refusal: Refusal, until: Option<u64>) -> Slept {
        let control = self.control();
        match refusal {
            Refusal::Busy => control.head.mutex.sleep(until),
            _ => control.not_empty.sleep_unless(until, || !self.is_empty() || self.is_shut()),
        }
    }

    /// Accepts no more records.
    pub fn shut(&self) {
        let control = self.control();
        let _ = control.shut.fetch_max(SHUT, Ordering::Relaxed);
        control.not_empty.ring(ALL);
        control.not_full.ring(ALL);
    }

    /// How many records were put and not yet [`finish`](Self::finish)ed.
    pub fn unfinished(&self) -> u64 {
        // ORDERING: Acquire pairs with the AcqRel in `finish`: what was done is visible to whoever
        // sees that all is done.
        let done = self.control().done.load(Ordering::Acquire);
        between(done, At::unpack(self.control().tail.at.load(Ordering::Relaxed)).count)
    }

    /// So many records were dealt with; `false`: there are not so many.
    pub fn finish(&self, count: u64) -> bool {
        let tail = || At::unpack(self.control().tail.at.load(Ordering::Relaxed)).count;
        let finish = |done| (between(done, tail()) >= count).then_some((done + count) % COUNTS);
        // ORDERING: AcqRel pairs with the Acquire in `unfinished`.
        let (order, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
        let finished = self.control().done.fetch_update(order, relaxed, finish).is_ok();
        if finished && self.unfinished() == 0 {
            self.control().all_done.ring(ALL);
        }
        finished
    }

    /// Sleeps until all may be finished, to `until` at most.
    pub fn sleep_to_join(&self, until: Option<u64>) -> Slept {
        self.control().all_done.sleep_unless(until, || self.unfinished() == 0)
    }
}

/// Deaths for the models: what is done of an operation when it ends in the middle.
#[cfg(loom)]
impl Channel {
    /// Writes a record under the lock, and dies before it is published.
    pub(crate) fn die_in_put(&self, me: Owner, parcel: &Parcel<'_>) {
        let tail = &self.control().tail;
        assert!(tail.mutex.try_lock(me));
        let at = At::unpack(tail.at.load(Ordering::Relaxed));
        let _ = self.write(at, parcel);
        me.die();
    }

    /// Publishes a record and dies before anybody hears of it.
    pub(crate) fn die_after_put(&self, me: Owner, parcel: Parcel<'_>) {
        let tail = &self.control().tail;
        assert!(tail.mutex.try_lock(me));
        let _ = self.append(tail, std::iter::once(parcel));
        me.die();
    }

    /// Reads a record under the lock, and dies before it is taken.
    pub(crate) fn die_in_take(&self, me: Owner) {
        let head = &self.control().head;
        assert!(head.mutex.try_lock(me));
        let at = At::unpack(head.at.load(Ordering::Relaxed));
        if self.has_next(head, at) {
            let _ = self.read(at, &mut Inbox::default());
        }
        me.die();
    }
}
