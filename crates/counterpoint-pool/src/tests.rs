//! The state machine with real lanes, whose workers are in the same thread.

use crate::job::{Content, Fate, Job, Options, Outcome, Place, Record};
use crate::mailbox::News;
use crate::state::{Limits, PoolState, Refusal};
use crate::station::{Stage, Station};
use crate::{Link, Loan, Shared, wire};
use counterpoint_shm::arena::{self, Arena};
use counterpoint_shm::clock;
use counterpoint_shm::lane::WorkerEnd;
use counterpoint_sync::executor::future::Phase;
use counterpoint_sync::waiter::Notify;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};

mod lookout;
mod nonsense;
mod speech;

/// Nobody but threads waits here.
pub(crate) struct Nobody;

impl Notify for Nobody {
    fn notify(&self) -> bool {
        unreachable!()
    }
}

type Task = Job<Nobody, ()>;

/// A pool that no thread serves: the tests take its turns.
pub(crate) struct Pool(pub(crate) Arc<Shared<Nobody, ()>>);

/// A worker that answers when it is told to.
struct Worker {
    lane: WorkerEnd,
    id: u32,
}

pub(crate) const LIMITS: Limits = Limits {
    workers: 2,
    least: 0,
    idle: None,
    memory: None,
    pending: usize::MAX,
    tasks_per_worker: u64::MAX,
    isolate: true,
};

impl Pool {
    pub(crate) fn new(limits: Limits) -> Self {
        let definition = |id: u32| Some(format!("function {id}").into_bytes().into());
        let state = PoolState::new(limits, Box::new(definition));
        Self(Arc::new(Shared::new(state).unwrap()))
    }

    fn job(&self, payload: &[u8], options: Option<Options>) -> Arc<Task> {
        let record = Record {
            bytes: payload.into(),
            blocks: Box::new([]),
            apart: false,
            parcels: Box::new([]),
        };
        Job::new(record, None, clock::now(), self.0.clone(), options.map(Box::new))
    }

    fn submit(&self, payload: &[u8]) -> Arc<Task> {
        let job = self.job(payload, None);
        self.push(&job);
        job
    }

    fn push(&self, job: &Arc<Task>) {
        let pushed = self.0.lock().push(job.clone());
        if pushed.is_ok_and(|pushed| pushed.launch) {
            self.0.lock().launching -= 1;
        }
    }

    /// A worker joins, and is ready.
    fn join(&self, id: u32) -> Worker {
        let mut worker = self.join_unready(id);
        assert!(worker.lane.publish(wire::READY, None, &[]));
        self.turn();
        worker
    }

    fn join_unready(&self, id: u32) -> Worker {
        let results = Arena::lay_out(c"test", arena::LEAST).unwrap();
        let len = arena::sealed_len(results.as_fd()).unwrap();
        let station =
            Station::create(id, Link::new(results, len, self.0.doorbell().unwrap()), false)
                .unwrap();
        let mut fds = station.descriptors().into_iter().map(|fd| fd.try_clone_to_owned().unwrap());
        let (lane, event) = (fds.next().unwrap(), fds.next().unwrap());
        drop(fds);
        let lane = WorkerEnd::adopt(lane, event).unwrap();
        let mut state = self.0.lock();
        state.launching += 1;
        state.add_station(station);
        drop(state);
        Worker { lane, id }
    }

    fn turn(&self) -> Option<u64> {
        self.0.lock().turn()
    }

    fn news(&self) -> Vec<News<Nobody, ()>> {
        std::mem::take(&mut self.0.lock().news)
    }
}

impl Worker {
    /// The payload of the next task; it is begun then.
    fn begin(&mut self) -> Option<(u16, Vec<u8>)> {
        loop {
            let task = self.lane.next().unwrap()?;
            let (entry, bytes) = (task.entry, task.bytes.to_vec());
            if let Some(entry) = entry {
                self.lane.begin(clock::now());
                return Some((entry, bytes[2..].to_vec()));
            }
        }
    }

    fn end(&mut self, entry: u16, kind: u8, content: &[u8]) {
        let mut head = [0; 18];
        head[..8].copy_from_slice(&clock::now().to_le_bytes());
        head[8] = 1;
        assert!(self.lane.publish(kind, Some(entry), &[&head, content]));
        self.lane.end(clock::now());
    }

    fn run(&mut self) -> Option<Vec<u8>> {
        let (entry, payload) = self.begin()?;
        self.end(entry, wire::RESULT, &payload);
        Some(payload)
    }
}

fn result_of(job: &Task) -> Option<Vec<u8>> {
    match &job.lock().content {
        Content::Outcome(outcome) => match &**outcome {
            Outcome::Returned(record) => Some(record.bytes.to_vec()),
            _ => None,
        },
        _ => None,
    }
}

#[test]
fn a_result_comes_back() {
    let pool = Pool::new(LIMITS);
    let mut worker = pool.join(1);
    let job = pool.submit(b"one");
    assert_eq!(worker.run().unwrap(), b"one");
    assert_eq!(job.lock().future.phase(), Phase::Pending);
    pool.turn();
    assert_eq!(result_of(&job).unwrap(), b"one");
    assert_eq!((job.lock().place, pool.0.lock().counts.done), (Place::Over, 1));
}

#[test]
fn a_death_costs_what_was_begun_and_the_rest_keeps_its_order() {
    let pool = Pool::new(LIMITS);
    let mut first = pool.join(1);
    let jobs: Vec<_> = (0..4u8).map(|n| pool.submit(&[n])).collect();
    let _ = first.run().unwrap();
    let _ = first.begin().unwrap();
    pool.0.lock().died(first.id);
    let died = pool.news();
    let begun = died.iter().find_map(|news| match news {
        News::Died(report, jobs) => Some((*report, jobs.clone())),
        _ => None,
    });
    let (report, begun) = begun.unwrap();
    assert!(begun.len() == 1 && Arc::ptr_eq(&begun[0], &jobs[1]));
    assert_eq!((report.id, report.expected, report.was_ready, report.tasks), (1, false, true, 1));
    assert_eq!(result_of(&jobs[0]).unwrap(), [0], "its result was published before the end");
    let mut second = pool.join(2);
    let rest: Vec<_> = std::iter::from_fn(|| second.run().inspect(|_| _ = pool.turn())).collect();
    assert_eq!(rest, [[2], [3]]);
}

#[test]
fn work_is_taken_from_behind_a_long_task() {
    let pool = Pool::new(LIMITS);
    let mut slow = pool.join(1);
    let _jobs: Vec<_> = (0..4u8).map(|n| pool.submit(&[n])).collect();
    let _ = slow.begin().unwrap();
    let mut other = pool.join(2);
    let since = clock::now();
    while clock::now() < since + 200_000 {
        std::hint::spin_loop();
    }
    pool.turn();
    let mut taken = Vec::new();
    while let Some(payload) = other.run() {
        taken.extend(payload);
        pool.turn();
        let since = clock::now();
        while clock::now() < since + 200_000 {
            std::hint::spin_loop();
        }
        pool.turn();
    }
    taken.sort_unstable();
    assert_eq!(taken, [1, 2, 3]);
    assert!(slow.begin().is_none(), "what was taken is not run twice");
}

#[test]
fn a_worker_is_launched_for_what_waits_behind_a_long_task() {
    let pool = Pool::new(LIMITS);
    let mut slow = pool.join(1);
    let _jobs: Vec<_> = (0..2u8).map(|n| pool.submit(&[n])).collect();
    let _ = slow.begin().unwrap();
    pool.news();
    pool.turn();
    let since = clock::now();
    while clock::now() < since + 2_000_000 {
        std::hint::spin_loop();
    }
    pool.turn();
    pool.turn();
    let wanted = pool.news().iter().filter(|news| matches!(news, News::Wanted)).count();
    assert_eq!(wanted, 1, "once, as one is as many as may be");
}

#[test]
fn a_task_whose_time_is_over_fails_and_its_worker_is_doomed() {
    let pool = Pool::new(LIMITS);
    let mut worker = pool.join(1);
    let options = Options { timeout: Some(1), ..Options::default() };
    let job = pool.job(b"long", Some(options));
    pool.push(&job);
    let other = pool.submit(b"other");
    let (entry, _) = worker.begin().unwrap();
    assert!(worker.lane.publish(wire::BEGUN, None, &[&entry.to_le_bytes()]));
    pool.turn();
    pool.turn();
    let content = &job.lock().content;
    let Content::Outcome(outcome) = content else { panic!("it goes on") };
    assert!(matches!(**outcome, Outcome::Stopped(Fate::TimedOut(1))));
    assert_eq!(pool.0.lock().stations[0].stage, Stage::Doomed);
    assert_eq!(other.lock().place, Place::Queued, "a limited task has its worker for itself");
}

#[test]
fn what_was_not_begun_can_be_withdrawn() {
    let pool = Pool::new(LIMITS);
    let mut worker = pool.join(1);
    let jobs: Vec<_> = (0..9u8).map(|n| pool.submit(&[n])).collect();
    let _ = worker.begin().unwrap();
    assert!(pool.0.lock().is_begun(&jobs[0]) && !pool.0.lock().withdraw(&jobs[0]));
    assert!(matches!(jobs[2].lock().place, Place::Sent { .. }));
    assert_eq!(jobs[8].lock().place, Place::Queued);
    for at in [2, 8] {
        assert!(pool.0.lock().withdraw(&jobs[at]));
        assert!(!pool.0.lock().withdraw(&jobs[at]));
    }
    worker.end(0, wire::RESULT, b"");
    pool.turn();
    let mut seen = Vec::new();
    while let Some(payload) = worker.run() {
        seen.extend(payload);
        pool.turn();
    }
    assert_eq!(seen, [1, 3, 4, 5, 6, 7]);
}

#[test]
fn closing_lets_workers_go_once_the_work_is_done() {
    let pool = Pool::new(LIMITS);
    let mut worker = pool.join(1);
    let kept = pool.submit(b"kept");
    let _ = worker.begin().unwrap();
    let cancelled = pool.submit(b"cancelled");
    pool.0.lock().close(true);
    assert!(matches!(pool.0.lock().push(kept.clone()), Err((Refusal::Closed, _))));
    assert_eq!(cancelled.lock().future.phase(), Phase::Notified);
    pool.turn();
    assert_eq!(pool.0.lock().stations[0].stage, Stage::Ready);
    worker.end(0, wire::RESULT, b"kept");
    assert!(pool.turn().is_some());
    assert_eq!(result_of(&kept).unwrap(), b"kept");
    assert_eq!(worker.lane.next().unwrap().unwrap().kind, wire::STOP);
    pool.0.lock().died(1);
    let expected = pool.news().iter().any(|n| matches!(n, News::Died(r, _) if r.expected));
    assert!(expected && pool.turn().is_none());
}

#[test]
fn a_closed_pool_wants_workers_for_what_waits_behind_a_task() {
    let pool = Pool::new(LIMITS);
    let mut worker = pool.join(1);
    let _jobs: Vec<_> = (0..2u8).map(|n| pool.submit(&[n])).collect();
    let _ = worker.begin().unwrap();
    assert!(!pool.0.lock().wants_nobody());
    pool.0.lock().close(false);
    assert!(!pool.0.lock().wants_nobody());
    worker.end(0, wire::RESULT, b"");
    let _ = worker.begin().unwrap();
    pool.turn();
    assert!(pool.0.lock().wants_nobody(), "one task is left, and runs");
}

#[test]
fn after_its_share_of_tasks_a_worker_is_replaced() {
    let pool = Pool::new(Limits { tasks_per_worker: 2, workers: 1, ..LIMITS });
    let mut worker = pool.join(1);
    let _jobs: Vec<_> = (0..3u8).map(|n| pool.submit(&[n])).collect();
    assert_eq!((worker.run().unwrap(), worker.run().unwrap()), (vec![0], vec![1]));
    pool.turn();
    assert_eq!(worker.lane.next().unwrap().unwrap().kind, wire::STOP);
    assert!(pool.news().iter().any(|news| matches!(news, News::Wanted)));
}

#[test]
fn nonsense_dooms_the_worker_and_nothing_else() {
    for nonsense in [(wire::RESULT, Vec::new()), (77, vec![0; 40]), (wire::RESULT, vec![0xFF; 18])]
    {
        let pool = Pool::new(LIMITS);
        let mut worker = pool.join(1);
        let job = pool.submit(b"job");
        let (entry, _) = worker.begin().unwrap();
        assert!(worker.lane.publish(nonsense.0, Some(entry), &[&nonsense.1]));
        pool.turn();
        assert_eq!(pool.0.lock().stations[0].stage, Stage::Doomed);
        pool.0.lock().died(1);
        let lost = pool.news().into_iter().find_map(|news| match news {
            News::Died(_, jobs) => Some(jobs),
            _ => None,
        });
        assert!(lost.unwrap().iter().any(|lost| Arc::ptr_eq(lost, &job)), "it must fail, not hang");
    }
}

#[test]
fn a_loan_lives_until_everybody_returned_it() {
    let pool = Pool::new(LIMITS);
    let mut worker = pool.join(1);
    let arena = Arc::new(Mutex::new(Arena::create(c"test", arena::LEAST).unwrap()));
    let in_use = || arena.lock().unwrap().in_use();
    let loan = Arc::new(Loan::new(&arena, 100_000).unwrap());
    let offset = loan.place().0;
    let record = Record {
        bytes: Box::default(),
        blocks: Box::new([loan]),
        apart: true,
        parcels: Box::new([]),
    };
    let job = Job::new(record, None, clock::now(), pool.0.clone(), None);
    pool.push(&job);
    let (entry, _) = worker.begin().unwrap();
    worker.end(entry, wire::RESULT, b"");
    pool.turn();
    assert!(in_use() > 0, "the worker may still map it");
    assert!(worker.lane.publish(wire::RETURN, None, &[&offset.to_le_bytes()]));
    pool.turn();
    assert_eq!(in_use(), 0);
}

#[test]
fn room_is_what_was_not_begun() {
    let pool = Pool::new(Limits { pending: 2, workers: 1, ..LIMITS });
    let mut worker = pool.join(1);
    let jobs: Vec<_> = (0..4u8).map(|n| pool.job(&[n], None)).collect();
    let accepted = jobs.iter().take_while(|job| pool.0.lock().push((*job).clone()).is_ok()).count();
    assert_eq!(accepted, 3);
    let _ = worker.run();
    pool.turn();
    assert!(pool.0.lock().push(jobs[3].clone()).is_ok());
}

#[test]
fn workers_that_are_idle_for_too_long_leave_but_for_the_least() {
    let pool = Pool::new(Limits { least: 1, idle: Some(0), ..LIMITS });
    let _workers = [pool.join(0), pool.join(1)];
    pool.turn();
    let state = pool.0.lock();
    assert_eq!(state.live(), 1);
}

#[test]
fn a_pool_begins_with_the_least() {
    let pool = Pool::new(Limits { least: 2, ..LIMITS });
    pool.0.with(|state| state.launch_least());
    assert_eq!(pool.0.lock().launching, 2);
    pool.0.with(|state| state.launch_least());
    assert_eq!(pool.0.lock().launching, 2);
}

#[test]
fn memory_is_watched_while_there_is_a_task() {
    let pool = Pool::new(Limits { memory: Some(1 << 40), ..LIMITS });
    let mut worker = pool.join(0);
    assert!(pool.0.lock().must_watch_memory());
    let job = pool.submit(b"");
    pool.turn();
    assert!(!pool.0.lock().must_watch_memory());
    let (entry, _) = worker.begin().unwrap();
    worker.end(entry, wire::RESULT, b"");
    pool.turn();
    assert!(pool.0.lock().must_watch_memory());
    drop(job);
}
