//! Memory limits: a worker that takes too much while it runs a task is killed.
//!
//! What counts is what it has for itself: pages that it shares with others (arenas, libraries) do
//! not, until it writes to its own copies of them. The kernel does not tell when that grows, so it is
//! looked at every few milliseconds, while there is a task that may make it grow, and only then.

use crate::state::PoolState;
use crate::system;
use counterpoint_sync::waiter::Notify;

/// How often, in nanoseconds: at the rate at which pages can be touched, some tens of megabytes.
const PERIOD: u64 = 20_000_000;

impl<N: Notify, K> PoolState<N, K> {
    /// Kills workers that have too much. Returns when to look again.
    pub(crate) fn check_memory(&mut self, now: u64) -> Option<u64> {
        let limit = self.limits.memory?;
        self.watches_memory = self.stations.iter().any(|station| station.end.in_flight() > 0);
        if !self.watches_memory {
            return None;
        }
        if self.memory_due > now {
            return Some(self.memory_due);
        }
        for station in &mut self.stations {
            if station.end.in_flight() == 0 || station.is_doomed() {
                continue;
            }
            let used = system::private_memory(station.pid()).unwrap_or(0);
            if used > limit {
                station.used = Some(used);
                station.kill();
            }
        }
        self.memory_due = now + PERIOD;
        Some(self.memory_due)
    }

    /// Whether the dispatcher must be told that there is a task now.
    pub(crate) fn must_watch_memory(&self) -> bool {
        self.limits.memory.is_some() && !self.watches_memory
    }
}
