//! Handing out what waits: refilling stations, and moving jobs from one to another.

use crate::job::{Job, Place};
use crate::mailbox::News;
use crate::state::PoolState;
use crate::station::Stage;
use crate::wire;
use counterpoint_sync::waiter::Notify;
use std::sync::Arc;

/// A worker whose task has run this long, in nanoseconds, gives up what waits behind it to one
/// that has nothing to do.
const STUCK: u64 = 100_000;

impl<N: Notify, K> PoolState<N, K> {
    /// Gives every station what it has room for.
    pub(crate) fn refill_all(&mut self) {
        // Those with nothing to do come first.
        let mut order: Vec<usize> = (0..self.stations.len()).collect();
        order.sort_by_key(|at| self.stations[*at].end.in_flight());
        for at in order {
            if self.queue.is_empty() {
                break;
            }
            self.refill(at);
        }
        while !self.queue.is_empty() && self.is_short() && self.reserve_launch() {
            self.news.push(News::Wanted);
        }
    }

    /// Whether more jobs wait than workers are on their way.
    fn is_short(&self) -> bool {
        let starting = self.stations.iter().filter(|station| station.stage == Stage::Starting);
        self.queue.len() > self.launching + starting.count()
    }

    fn refill(&mut self, at: usize) {
        let live = self.stations.iter().filter(|station| station.is_live()).count().max(1);
        // The last jobs of a backlog are spread, so that nobody idles while another has many.
        let share = self.queue.len().div_ceil(live);
        let count = self.stations[at].room().min(share);
        let mut sent = 0;
        while sent < count {
            let Some(job) = self.queue.pop() else { break };
            if job.lock().place == Place::Over {
                self.done.push(job);
                continue;
            }
            if let Err(job) = self.send(at, job) {
                self.put_back(job);
                break;
            }
            sent += 1;
        }
        if sent > 0 {
            self.stations[at].end.ring();
        }
    }

    /// Back to the head of the queue.
    pub(crate) fn put_back(&mut self, job: Arc<Job<N, K>>) {
        let priority = job.priority();
        job.lock().place = Place::Queued;
        self.queue.push_front(job, priority);
    }

    /// Takes jobs from behind a long one for a worker that has nothing to do. Returns when to look
    /// again, if one may become long.
    pub(crate) fn balance(&mut self, now: u64) -> Option<u64> {
        if !self.queue.is_empty() || !self.stations.iter().any(|station| station.is_idle()) {
            return None;
        }
        let mut again = None;
        for at in 0..self.stations.len() {
            let station = &mut self.stations[at];
            if !station.has_unstarted() {
                continue;
            }
            let stuck_at = station.end.started_at().saturating_add(STUCK);
            if stuck_at > now || station.end.started_at() == 0 {
                again = Some(now + STUCK);
                continue;
            }
            let half = station.end.in_flight().div_ceil(2);
            let jobs = station.recall_some(half);
            self.hand_to_idle(jobs);
        }
        again
    }

    /// Sends jobs, newest first, to whoever has nothing to do; what does not fit is queued.
    fn hand_to_idle(&mut self, jobs: Vec<Arc<Job<N, K>>>) {
        let Some(at) = self.stations.iter().position(|station| station.is_idle()) else {
            return jobs.into_iter().for_each(|job| self.put_back(job));
        };
        for job in jobs.into_iter().rev() {
            if let Err(job) = self.send(at, job) {
                self.put_back(job);
            }
        }
        self.stations[at].end.ring();
    }

    /// Lets workers go that are to leave and have nothing left to do.
    pub(crate) fn dismiss(&mut self) {
        let ending = self.closed && self.queue.is_empty();
        for station in &mut self.stations {
            let leaves = station.stage == Stage::Leaving || (ending && station.is_live());
            if leaves && station.end.in_flight() == 0 && station.end.post(wire::STOP, &[]) {
                station.stage = Stage::Stopped;
                station.end.ring();
            }
        }
    }
}
