//! Handing out what waits: refilling stations, and moving jobs from one to another.

use crate::job::{Job, Place};
use crate::mailbox::News;
use crate::state::PoolState;
use crate::station::{Stage, Station};
use crate::wire;
use counterpoint_sync::waiter::Notify;
use std::sync::Arc;

/// A worker whose task has run this long, in nanoseconds, gives up what waits behind it to one
/// that has nothing to do.
const STUCK: u64 = 100_000;

/// A worker whose task has run this long, in nanoseconds, is reason to launch another for what waits
/// behind it.
const WAITS: u64 = 1_000_000;

impl<N: Notify, K> PoolState<N, K> {
    /// Gives every station what it has room for.
    pub(crate) fn refill_all(&mut self, now: u64) {
        if self.withdrawn > 0
            && let Some(first) = self.next()
        {
            let priority = first.priority();
            self.queue.push_front(first, priority);
        }
        // First those that would begin at once, then those that will be set up, which may take
        // long; behind a task that runs, for nobody knows how long, comes what is left.
        type Wants<N, K> = fn(&Station<N, K>) -> bool;
        let first: Wants<N, K> = |station| station.stage == Stage::Ready && station.is_idle();
        for wants in [first, Station::is_idle, Station::is_live] {
            for at in 0..self.stations.len() {
                if !self.queue.is_empty() && wants(&self.stations[at]) {
                    self.refill(at, now);
                }
            }
        }
        while !self.queue.is_empty() && self.is_short() && self.reserve_launch(now) {
            self.news.push(News::Wanted);
        }
    }

    /// What a worker is told of a function, if that has this number.
    pub fn definition(&self, function: u32) -> Option<Arc<[u8]>> {
        (self.definitions)(function)
    }

    /// Whether more jobs wait than workers are on their way.
    fn is_short(&self) -> bool {
        let starting = self.stations.iter().filter(|station| station.stage == Stage::Starting);
        self.queue.len() > self.launching + starting.count()
    }

    fn refill(&mut self, at: usize, now: u64) {
        let live = self.stations.iter().filter(|station| station.is_live()).count().max(1);
        // The last jobs of a backlog are spread, so that nobody idles while another has many.
        let share = self.queue.len().div_ceil(live);
        let count = self.stations[at].room().min(share);
        let mut sent = 0;
        // It may have begun to leave with the last one.
        while sent < count && self.stations[at].is_live() {
            let Some(job) = self.next() else { break };
            if let Err(job) = self.send(at, job, now) {
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
        if !self.queue.is_empty() {
            return None;
        }
        if !self.stations.iter().any(|station| station.is_idle()) {
            return self.reinforce(now);
        }
        let ready = |station: &Station<N, K>| station.stage == Stage::Ready && station.is_idle();
        let mut again = None;
        for at in 0..self.stations.len() {
            let somebody = self.stations.iter().any(ready);
            let station = &mut self.stations[at];
            if somebody && station.stage == Stage::Starting && station.end.in_flight() > 0 {
                self.reclaim(at, usize::MAX);
                self.refill_all(now);
                continue;
            }
            if !station.has_unstarted() {
                continue;
            }
            let stuck_at = station.end.started_at().saturating_add(STUCK);
            if stuck_at > now || station.end.started_at() == 0 {
                again = Some(now + STUCK);
                continue;
            }
            let half = station.end.in_flight().div_ceil(2);
            self.reclaim(at, half);
            self.refill_all(now);
        }
        again
    }

    /// Has workers launched, while there may be more, for what waits behind long tasks: as many
    /// tasks run at a time as may. They are given it once they are there. Returns when to look
    /// again.
    fn reinforce(&mut self, now: u64) -> Option<u64> {
        if !self.may_launch(now) {
            return None;
        }
        let (mut waiting, mut again) = (0, None);
        for station in self.stations.iter().filter(|station| station.has_unstarted()) {
            let since = station.end.started_at();
            if since == 0 || since.saturating_add(WAITS) > now {
                again = Some(now + WAITS);
            } else {
                waiting += station.end.in_flight() - 1;
            }
        }
        while self.launching < waiting && self.reserve_launch(now) {
            self.news.push(News::Wanted);
        }
        again
    }

    /// Puts what a worker has not begun back into the queue: at most so many, newest first.
    pub(crate) fn reclaim(&mut self, at: usize, most: usize) {
        for job in self.stations[at].recall_some(most) {
            self.put_back(job);
        }
    }

    /// Lets workers go that are to leave and have nothing left to do.
    pub(crate) fn dismiss(&mut self, now: u64) {
        let ending = self.closed && self.queue.is_empty() && self.undecided == 0;
        for station in &mut self.stations {
            let leaves = station.stage == Stage::Leaving || (ending && station.is_live());
            if !leaves || station.end.in_flight() > 0 {
                continue;
            }
            station.must_leave(now);
            if station.end.post(wire::STOP, &[]) {
                station.stage = Stage::Stopped;
                station.end.ring();
            }
        }
    }
}
