//! Looking after workers that say nothing: those that do not leave, and those that do not begin.
//!
//! A worker that runs a task may take as long as it likes, unless the task has a limit. But one that
//! has nothing to run begins what it is given at once, and one that was told to leave leaves; if it
//! does neither it was stopped (SIGSTOP), or a thread that a task has left behind holds it up. It is
//! killed, which costs nobody anything: what it had was not begun, and goes to another.
//!
//! Nobody polls for that. The first push after a time of rest makes the dispatcher look a second
//! later, and again every second while something was sent and not begun; otherwise it sleeps on.

use crate::state::PoolState;
use crate::station::Stage;
use counterpoint_shm::lane::ParentEnd;
use counterpoint_sync::waiter::Notify;

/// How long, in nanoseconds, a worker that runs nothing may take to begin what it was given.
const BEGIN: u64 = 1_000_000_000;

impl<N: Notify, K> PoolState<N, K> {
    /// A job is sent or queued. `true`: the dispatcher must be told, or would sleep through.
    pub(crate) fn begin_patrol(&mut self, now: u64) -> bool {
        let resting = self.patrol_at == u64::MAX;
        if resting {
            self.patrol_at = now + BEGIN;
        }
        resting
    }

    /// Kills those that should have begun, or left. Returns when to look again.
    pub(crate) fn patrol(&mut self, now: u64) -> Option<u64> {
        if now >= self.patrol_at {
            self.patrol_at = u64::MAX;
            (0..self.stations.len()).for_each(|at| self.replace_if_stuck(at, now));
            self.refill_all(now);
        }
        let waits = |end: &ParentEnd| end.in_flight() > 0 && end.started_at() == 0;
        if self.stations.iter().any(|station| waits(&station.end)) {
            let _ = self.begin_patrol(now);
        }
        let relaunch = !self.queue.is_empty() && self.no_launch_before > now;
        let patrol = (self.patrol_at != u64::MAX).then_some(self.patrol_at);
        let relaunch = relaunch.then_some(self.no_launch_before);
        [patrol, relaunch, self.evict(now)].into_iter().flatten().min()
    }

    fn replace_if_stuck(&mut self, at: usize, now: u64) {
        let station = &self.stations[at];
        // One that gets no more jobs may not be set up yet: that may take as long as it likes.
        let set_up = station.was_ready && matches!(station.stage, Stage::Ready | Stage::Leaving);
        let waits = station.end.in_flight() > 0 && station.end.started_at() == 0;
        if !set_up || !waits || now.saturating_sub(station.quiet_since) < BEGIN {
            return;
        }
        // From here on it cannot begin any of them.
        self.reclaim(at, usize::MAX);
        let station = &mut self.stations[at];
        if station.end.in_flight() == 0 {
            station.kill();
        }
    }

    /// Kills those that have not left in time. Returns when the next should have.
    fn evict(&mut self, now: u64) -> Option<u64> {
        let mut next = None::<u64>;
        for station in &mut self.stations {
            let Some(due) = station.leave_by else { continue };
            if due > now {
                next = Some(next.map_or(due, |next| next.min(due)));
                continue;
            }
            station.leave_by = None;
            if self.hearing.holds(station.id()) {
                // It cannot leave before its last words are read, however long that takes.
                station.must_leave(now);
                next = station.leave_by.into_iter().chain(next).min();
                continue;
            }
            if station.stage != Stage::Doomed {
                station.kill();
            }
        }
        next
    }
}
