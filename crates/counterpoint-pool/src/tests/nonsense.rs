//! Workers that say whatever comes to their minds: nobody panics, and no job is forgotten.

use super::*;
use std::collections::HashSet;

/// Chance that can be repeated (xorshift).
struct Chance(u64);

impl Chance {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let len = self.below(most + 1);
        (0..len).map(|_| self.next() as u8).collect()
    }

    /// What a record could be made of: noise, or the truth with a few bytes changed.
    fn content(&mut self, truth: &[u8]) -> Vec<u8> {
        match self.below(4) {
            0 => self.bytes(64),
            1 => [&[0xFF; 8], self.bytes(40).as_slice()].concat(),
            _ => {
                let mut bytes = [truth, &self.bytes(24)].concat();
                for _ in 0..self.below(4) {
                    let at = self.below(bytes.len() as u64) as usize;
                    bytes[at] = self.next() as u8;
                }
                bytes.truncate(self.below(bytes.len() as u64 + 8) as usize);
                bytes
            }
        }
    }
}

/// A result as a worker would put it, which names two blocks of its arena.
fn truth() -> Vec<u8> {
    let mut bytes = [clock::now().to_le_bytes(), 5u64.to_le_bytes()].concat();
    wire::write_blocks(&[(4096, 100), (8192, 5000)], false, &mut bytes);
    bytes
}

const KINDS: [u8; 8] = [
    wire::RESULT,
    wire::ERROR,
    wire::READY,
    wire::UNFIT,
    wire::BEGUN,
    wire::RETURN,
    wire::CALL,
    wire::STOP,
];

impl Worker {
    /// Says something, perhaps of a task: one it has, had, or never had.
    fn babble(&mut self, chance: &mut Chance, begun: &[u16]) {
        let kind = match chance.below(3) {
            0 => chance.next() as u8,
            _ => KINDS[chance.below(KINDS.len() as u64) as usize],
        };
        let entry = match chance.below(4) {
            0 => None,
            1 => Some(chance.below(300) as u16),
            _ => begun.get(chance.below(4) as usize).copied(),
        };
        let content = chance.content(&truth());
        let _ = self.lane.publish(kind, entry, &[&content]);
    }
}

/// A job with a block that is lent to whoever runs it.
fn with_a_loan(pool: &Pool, arena: &Arc<Mutex<Arena>>) -> Arc<Task> {
    let record = Record {
        bytes: Box::default(),
        blocks: Box::new([Arc::new(Loan::new(arena, 100_000).unwrap())]),
        apart: true,
        parcels: Box::new([]),
    };
    let job = Job::new(record, None, clock::now(), pool.0.clone(), None);
    pool.push(&job);
    job
}

fn address(job: &Arc<Task>) -> usize {
    Arc::as_ptr(job).addr()
}

/// A pool with such a worker; what becomes of each job. Whether the worker was found out.
fn listen_to(seed: u64) -> bool {
    let mut chance = Chance::new(seed);
    let pool = Pool::new(Limits { workers: 1, ..LIMITS });
    let arena = Arc::new(Mutex::new(Arena::create(c"test", arena::LEAST).unwrap()));
    let mut worker = pool.join(1);
    let options = Options { timeout: Some(u64::MAX), soft_timeout: Some(1), ..Options::default() };
    let mut jobs: Vec<_> = (0..1 + chance.below(6) as u8).map(|n| pool.submit(&[n])).collect();
    jobs.push(with_a_loan(&pool, &arena));
    jobs.push(pool.job(b"limited", Some(options)));
    pool.push(jobs.last().unwrap());
    let mut begun = Vec::new();
    for _ in 0..chance.below(30) {
        match chance.below(4) {
            0 => begun.extend(worker.begin().map(|(entry, _)| entry)),
            1 if !begun.is_empty() => worker.end(begun.remove(0), wire::RESULT, b"result"),
            _ => worker.babble(&mut chance, &begun),
        }
        let _ = pool.turn();
    }
    let doomed = pool.0.lock().stations[0].stage == Stage::Doomed;
    pool.0.lock().died(worker.id);
    let news = pool.news();
    let lost: HashSet<_> = news
        .iter()
        .filter_map(|news| match news {
            News::Died(_, jobs) => Some(jobs.iter().map(address)),
            _ => None,
        })
        .flatten()
        .collect();
    // Everything else is done by another, who speaks the truth.
    let mut other = pool.join(2);
    while other.run().is_some() {
        let _ = pool.turn();
    }
    for job in &jobs {
        let over = job.lock().place == Place::Over;
        assert!(over != lost.contains(&address(job)), "seed {seed}: over and lost, or neither");
        if let Content::Outcome(outcome) = &job.lock().content
            && let Outcome::Returned(record) | Outcome::Raised(record) = &**outcome
        {
            // Nothing outside of the worker's arena is mapped, wherever it says its blocks are.
            record.blocks.iter().for_each(|block| drop(block.map()));
        }
    }
    // A job keeps its pool, which keeps what nobody has fetched.
    let done = std::mem::take(&mut pool.0.lock().done);
    let stations = std::mem::take(&mut pool.0.lock().stations);
    drop((done, stations, pool.news()));
    doomed
}

#[test]
fn whatever_a_worker_says_costs_its_own_jobs_and_no_other() {
    let found_out = (0..1000).filter(|seed| listen_to(*seed)).count();
    assert!((400..1000).contains(&found_out), "{found_out} of 1000 were found out");
}

#[test]
fn who_was_set_up_cannot_have_failed_to_be() {
    let pool = Pool::new(LIMITS);
    let mut worker = pool.join(1);
    assert!(worker.lane.publish(wire::UNFIT, None, &[b"error"]));
    pool.turn();
    assert_eq!(pool.0.lock().stations[0].stage, Stage::Doomed);
    // It would have broken the pool.
    assert!(!pool.news().iter().any(|news| matches!(news, News::Unfit(_))));
}
