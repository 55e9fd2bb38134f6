//! A worker that writes whatever it likes wherever it likes: the parent says `Corrupt`, or
//! receives nonsense, but neither panics nor hangs.
#![cfg(not(any(loom, miri)))]

mod kit;

use counterpoint_shm::lane::{ENTRIES, MAX_PAYLOAD, ParentEnd, WorkerEnd};
use counterpoint_shm::memory::Segment;
use kit::{Chance, RESULT, TASK, limit};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};

/// Where the ledger and the cursors are, and everything else.
const CONTROL: Range<u64> = 0..8192;

struct Attacker {
    segment: Segment,
    chance: Chance,
}

impl Attacker {
    fn of(lane: &ParentEnd, seed: u64) -> Self {
        let segment = Segment::adopt(lane.fd().try_clone_to_owned().unwrap()).unwrap();
        Self { segment, chance: Chance::new(seed) }
    }

    /// Overwrites one aligned word: with nonsense, or with what might be true.
    fn hit(&mut self, range: &Range<u64>) {
        let at = range.start + self.chance.below((range.end - range.start) / 4) * 4;
        let value = match self.chance.below(6) {
            0 => self.chance.next() as u32,
            1 => u32::MAX - self.chance.below(16) as u32,
            2 => (self.chance.below(1 << 19) & !7) as u32,
            _ => self.chance.below(9) as u32,
        };
        // SAFETY: in range of the mapping, and aligned.
        unsafe { self.segment.base().add(at as usize).cast::<u32>().write_volatile(value) };
    }

    fn whole(&self) -> Range<u64> {
        0..self.segment.len() as u64
    }
}

/// Everything that a parent does, in any order. Returns whether it still believes the worker.
fn operate(parent: &mut ParentEnd, chance: &mut Chance) -> bool {
    let entry = chance.below(ENTRIES as u64 + 2) as u16;
    let bytes = [7; MAX_PAYLOAD];
    match chance.below(9) {
        0 | 1 => _ = parent.send(TASK, 0, &[&bytes[..chance.below(3000) as usize]]),
        2 => _ = parent.post(TASK, &[&bytes[..chance.below(3000) as usize]]),
        3 => _ = parent.recall(entry),
        4 => _ = (parent.is_started(entry), parent.state(entry), parent.started_at()),
        5 => _ = (parent.counters(), parent.free_space(), parent.in_flight(), parent.ring()),
        6 => {
            let _ = parent.prepare_sleep();
            let _ = parent.pending();
            parent.awake();
        }
        _ => {
            let mut count = 0;
            let result = parent.receive(|record| {
                assert!(record.bytes.len() <= MAX_PAYLOAD * 2);
                count += 1;
            });
            // Not more than a ring can hold, whatever the other side does meanwhile.
            assert!(count <= 1 << 16);
            return result.is_ok();
        }
    }
    true
}

fn attack(seed: u64, hits: u64, range: impl Fn(&Attacker) -> Range<u64>) -> bool {
    let mut parent = ParentEnd::create().unwrap();
    let mut chance = Chance::new(seed);
    let fds = [parent.fd(), parent.event_fd()].map(|fd| fd.try_clone_to_owned().unwrap());
    let [lane, event] = fds;
    let mut worker = WorkerEnd::adopt(lane, event).unwrap();
    let mut attacker = Attacker::of(&parent, seed);
    let range = range(&attacker);
    let mut believed = true;
    for _ in 0..200 {
        for _ in 0..chance.below(hits + 1) {
            attacker.hit(&range);
        }
        believed &= operate(&mut parent, &mut chance);
        // The worker does its work too, as far as it can.
        if let Ok(Some(task)) = worker.next() {
            let entry = task.entry;
            let _ = worker.publish(RESULT, entry, &[b"result"]);
        }
        worker.flush(chance.next(), chance.below(2) == 0);
    }
    let in_flight = parent.in_flight();
    let left = parent.leftover();
    assert_eq!(left.started.len() + left.unstarted.len(), in_flight);
    believed
}

#[test]
fn damaged_words_are_reported_or_harmless() {
    limit(100);
    let believed = (0..1500).filter(|seed| attack(*seed, 2, |_| CONTROL)).count();
    assert!(believed < 1500, "no damage was ever noticed");
}

#[test]
fn damaged_records_are_reported_or_harmless() {
    limit(100);
    // The rings' first part, where the records are.
    (0..400).for_each(|seed| _ = attack(seed, 8, |_| 8192..16_384));
    (0..400).for_each(|seed| _ = attack(seed, 8, |_| 8192 + (256 << 10)..(272 << 10)));
    (0..60).for_each(|seed| _ = attack(seed, 2000, Attacker::whole));
}

#[test]
fn damage_while_the_parent_reads_is_reported_or_harmless() {
    limit(100);
    for seed in 0..300 {
        let mut parent = ParentEnd::create().unwrap();
        let mut chance = Chance::new(seed);
        let over = AtomicBool::new(false);
        let mut attacker = Attacker::of(&parent, seed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // The cursors and the first records, over and over.
                for range in [0..1024, 8192 + (256 << 10)..9216 + (256 << 10)].iter().cycle() {
                    attacker.hit(range);
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                }
            });
            for _ in 0..300 {
                operate(&mut parent, &mut chance);
            }
            over.store(true, Ordering::Relaxed);
        });
        let in_flight = parent.in_flight();
        let left = parent.leftover();
        assert_eq!(left.started.len() + left.unstarted.len(), in_flight);
    }
}
