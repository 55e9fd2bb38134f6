//! A worker's death, and what it costs: the jobs it had begun.

use crate::job::Place;
use crate::mailbox::News;
use crate::state::{PoolState, Stillborn};
use counterpoint_shm::clock;
use counterpoint_sync::waiter::Notify;

impl<N: Notify, K> PoolState<N, K> {
    /// The process of this station is gone.
    pub(crate) fn died(&mut self, id: u32) {
        let Some(at) = self.position(id) else { return };
        // What was said before the end counts.
        self.hear_last(at);
        self.drain_last(at);
        let mut station = self.stations.remove(at);
        let (begun, unstarted) = station.leftover();
        // In reverse, so that the oldest ends up first.
        for job in unstarted.into_iter().rev() {
            self.put_back(job);
        }
        begun.iter().for_each(|job| job.lock().place = Place::Judged);
        self.undecided += begun.len();
        let report = station.report();
        if !report.expected {
            self.counts.crashes += 1;
        }
        self.news.push(News::Died(report, begun));
        self.launch_least();
    }

    fn drain_last(&mut self, at: usize) {
        let stage = self.stations[at].stage;
        self.drain_station(at);
        // Nonsense at the end changes nothing about how it ended.
        self.stations[at].stage = stage;
    }

    /// Counts a worker that died, unasked, before it was set up; how many there were in a row.
    pub fn count_stillborn(&mut self, killed: bool) -> Stillborn {
        self.stillborn.since.get_or_insert_with(clock::now);
        *(if killed { &mut self.stillborn.killed } else { &mut self.stillborn.failed }) += 1;
        self.stillborn
    }
}
