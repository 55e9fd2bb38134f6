//! How many workers there are: at least so many from the start, and fewer when they are idle.

use crate::mailbox::News;
use crate::state::PoolState;
use crate::station::{Stage, Station};
use counterpoint_sync::waiter::Notify;

impl<N: Notify, K> PoolState<N, K> {
    /// Has workers launched until there are as many as there always are. Not repeated when a
    /// launch fails: the next death, or task, is the next attempt.
    pub fn launch_least(&mut self) {
        while !self.closed && self.live() + self.launching < self.limits.least {
            if !self.reserve_launch(counterpoint_shm::clock::now()) {
                break;
            }
            self.news.push(News::Wanted);
        }
    }

    /// A worker that was asked for has begun.
    pub(crate) fn begun(&mut self, id: u32) {
        if let Some(at) = self.asked.iter().position(|(asked, _)| *asked == id) {
            self.asked.swap_remove(at);
            self.news.push(News::Begun(id));
        }
    }

    /// Has whoever asked for a worker look after it that does not begin. When the next one is due.
    pub(crate) fn miss(&mut self, now: u64) -> Option<u64> {
        while let Some((id, _)) = self.asked.iter().find(|(_, due)| *due <= now) {
            self.begun(*id);
        }
        self.asked.iter().map(|(_, due)| *due).min()
    }

    /// Workers that take part in the work.
    pub(crate) fn live(&self) -> usize {
        self.stations.iter().filter(|station| station.is_live()).count()
    }

    /// Lets go of workers that have been idle for too long. Returns when the next one is due.
    pub(crate) fn retire(&mut self, now: u64) -> Option<u64> {
        let limit = self.limits.idle?;
        let mut spare = self.live().saturating_sub(self.limits.least);
        let mut next: Option<u64> = None;
        for station in &mut self.stations {
            let Some(since) = station.idle_since(now).filter(|_| spare > 0) else { continue };
            let due = since.saturating_add(limit);
            if due <= now {
                station.stage = Stage::Leaving;
                spare -= 1;
            } else {
                next = Some(next.map_or(due, |next| next.min(due)));
            }
        }
        next
    }
}

impl<N, K> Station<N, K> {
    /// Since when it has had nothing to do, as far as was seen.
    fn idle_since(&mut self, now: u64) -> Option<u64> {
        if self.stage != Stage::Ready || self.end.in_flight() > 0 {
            self.idle = None;
            return None;
        }
        Some(*self.idle.get_or_insert(now))
    }
}
