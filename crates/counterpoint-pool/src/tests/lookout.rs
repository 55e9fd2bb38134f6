//! Threads that look at lanes by themselves.

use super::*;

/// A worker of a pool whose dispatcher sleeps, and a job that it has begun.
fn asleep(pool: &Pool) -> (Worker, Arc<Task>, u16) {
    let mut worker = pool.join(1);
    assert_eq!(pool.turn(), Some(u64::MAX));
    let job = pool.submit(b"one");
    let (entry, _) = worker.begin().unwrap();
    (worker, job, entry)
}

fn says(worker: &mut Worker) -> bool {
    assert!(worker.lane.publish(wire::RETURN, None, &[]));
    worker.lane.flush(clock::now(), true)
}

#[test]
fn who_looks_takes_the_result_in_and_the_worker_need_not_ring() {
    let pool = Pool::new(LIMITS);
    let (mut worker, job, entry) = asleep(&pool);
    let mut look = job.look_out().unwrap();
    look();
    assert!(!job.lock().future.phase().is_done());
    worker.end(entry, wire::RESULT, b"one");
    assert!(!worker.lane.flush(clock::now(), true), "somebody looks");
    look();
    assert_eq!(result_of(&job).unwrap(), b"one");
    look();
    drop(look);
    assert!(says(&mut worker), "nobody looks any more");
}

#[test]
fn who_looks_in_vain_leaves_the_lane_as_it_was() {
    let pool = Pool::new(LIMITS);
    let (mut worker, job, entry) = asleep(&pool);
    drop(job.look_out());
    worker.end(entry, wire::RESULT, b"one");
    assert!(worker.lane.flush(clock::now(), true));
    let look = job.look_out();
    assert!(look.is_none() || result_of(&job).is_some());
}

#[test]
fn the_end_of_a_look_finds_what_came_behind_it() {
    let pool = Pool::new(LIMITS);
    let (mut worker, job, entry) = asleep(&pool);
    let look = job.look_out().unwrap();
    worker.end(entry, wire::RESULT, b"one");
    assert!(!worker.lane.flush(clock::now(), true));
    drop(look);
    assert_eq!(result_of(&job).unwrap(), b"one");
}

#[test]
fn a_worker_with_more_to_do_is_not_looked_at() {
    let pool = Pool::new(LIMITS);
    let (_worker, job, _) = asleep(&pool);
    let other = pool.submit(b"two");
    assert!(job.look_out().is_none() && other.look_out().is_none());
    assert!(pool.job(b"not sent", None).look_out().is_none());
}

#[test]
fn the_dispatcher_is_woken_for_what_is_due_before_its_own_alarm() {
    let pool = Pool::new(LIMITS);
    let mut worker = pool.join(1);
    let options = Options { timeout: Some(1_000_000_000), ..Options::default() };
    let job = pool.job(b"long", Some(options));
    pool.turn();
    pool.push(&job);
    pool.0.lock().asleep_until = u64::MAX;
    let look = job.look_out().unwrap();
    let (entry, _) = worker.begin().unwrap();
    assert!(worker.lane.publish(wire::BEGUN, None, &[&entry.to_le_bytes()]));
    drop(look);
    assert_eq!(pool.0.lock().asleep_until, 0, "it was told to look at its clock");
    // Once will do.
    drop(job.look_out());
    assert_eq!(pool.0.lock().asleep_until, 0);
}

#[test]
fn what_waits_is_sent_when_the_look_ends() {
    let pool = Pool::new(Limits { workers: 1, ..LIMITS });
    let (mut worker, job, entry) = asleep(&pool);
    let next = pool.job(b"next", None);
    pool.0.lock().queue.push(next.clone(), 0);
    let mut look = job.look_out().unwrap();
    worker.end(entry, wire::RESULT, b"one");
    look();
    assert_eq!(next.lock().place, Place::Queued);
    drop(look);
    assert_eq!(worker.run().unwrap(), b"next");
}

#[test]
fn a_dead_worker_is_looked_at_in_vain() {
    let pool = Pool::new(LIMITS);
    let (worker, job, _) = asleep(&pool);
    let mut look = job.look_out().unwrap();
    pool.0.lock().died(worker.id);
    look();
    let news = pool.news();
    drop(look);
    assert!(news.iter().any(|news| matches!(news, News::Died(_, jobs) if jobs.len() == 1)));
}
