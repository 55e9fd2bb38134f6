//! Time limits: a task whose time is over fails at once, and its worker is killed.

use crate::job::{Fate, Job, Outcome, Place};
use crate::state::PoolState;
use counterpoint_sync::waiter::Notify;

impl<N: Notify, K> PoolState<N, K> {
    /// Ends what has run too long. Returns when the next is due.
    pub(crate) fn enforce_limits(&mut self, now: u64) -> Option<u64> {
        let mut next: Option<u64> = None;
        for at in 0..self.stations.len() {
            let station = &mut self.stations[at];
            let Some(alarm) = station.alarm else { continue };
            if alarm > now {
                next = Some(next.map_or(alarm, |next| next.min(alarm)));
                continue;
            }
            let limited = station.limited;
            let Some(job) = limited.and_then(|entry| station.take(entry)) else { continue };
            station.kill();
            let limit = job.timeout().unwrap_or_default();
            self.finish(job, Outcome::Stopped(Fate::TimedOut(limit)));
        }
        next
    }

    /// Kills the worker that runs this job; `false`: none does. The job is the caller's to end, and
    /// the dispatcher is to be poked.
    ///
    /// The signal takes a while, in which the worker may end this job and begin the next, which
    /// would then pay for it. So first everything behind it is taken back, and then what the worker
    /// has said is read: if it has not ended this job by then, it will begin no other.
    pub fn kill(&mut self, job: &Job<N, K>) -> bool {
        let place = job.lock().place;
        let Place::Sent { station, entry } = place else { return place == Place::Judged };
        let Some(at) = self.position(station) else {
            return false;
        };
        if !self.stations[at].end.is_started(entry) {
            return false;
        }
        self.reclaim(at, usize::MAX);
        self.drain_station(at);
        let now = job.lock().place;
        if now != place {
            return now == Place::Judged;
        }
        let station = &mut self.stations[at];
        let Some(taken) = station.take(entry) else { return false };
        station.kill();
        taken.lock().place = Place::Over;
        self.done.push(taken);
        self.counts.failed += 1;
        true
    }
}
