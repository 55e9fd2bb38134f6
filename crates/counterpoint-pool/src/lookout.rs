//! [`Lookout`]: who is about to wait for a job looks at its worker's lane for a moment.
//!
//! A result that comes soon needs no dispatcher then: while somebody looks, the worker does not ring,
//! and what it says is taken in by the thread that waits for it. That spares two wake-ups of three.
//!
//! A lane does not care which of the parent's threads takes a turn, since each does so under the pool's
//! lock. The dispatcher may sleep meanwhile, and will, until its own alarm. So a lookout ends by a
//! turn, which announces the parent's sleep in every lane and finds what came before that; and
//! it wakes the dispatcher if that would sleep beyond what the turn found to be due.

use crate::job::{Job, Place};
use crate::shared::Shared;
use crate::state::PoolState;
use crate::station::Stage;
use counterpoint_sync::waiter::{Notify, turn};

/// While it lives a lane is looked at.
pub(crate) struct Lookout<'a, N: Notify, K> {
    pool: &'a Shared<N, K>,
    station: u32,
}

impl<'a, N: Notify, K> Lookout<'a, N, K> {
    /// `None`: not worth it. The job has not been sent, or its worker has others too, whose results
    /// come cheaper together.
    pub(crate) fn begin(job: &'a Job<N, K>) -> Option<Self> {
        let pool = &*job.pool;
        let station = pool.with(|state| {
            let Place::Sent { station, .. } = job.lock().place else { return None };
            let at = state.position(station)?;
            let found = &state.stations[at];
            let alone = found.stage == Stage::Ready && found.end.in_flight() == 1;
            // From here on the worker does not ring.
            alone.then(|| state.drain_station(at)).map(|_| station)
        })?;
        Some(Self { pool, station })
    }

    /// Takes in what the worker has said.
    pub(crate) fn look(&self) {
        // If somebody else has the lock, there is another look.
        let Some(state) = self.pool.try_lock() else { return };
        let at = state.position(self.station);
        let Some(at) = at.filter(|at| state.stations[*at].end.pending()) else { return };
        self.pool.with_locked(state, |state| state.drain_station(at));
    }
}

impl<N: Notify, K> Drop for Lookout<'_, N, K> {
    fn drop(&mut self) {
        // Whoever is claimed here need not wait until this thread lets go of an interpreter.
        if turn::outside(|| self.pool.with(PoolState::step_in)) {
            self.pool.poke();
        }
    }
}

impl<N: Notify, K> PoolState<N, K> {
    /// A short turn for the dispatcher, which sleeps; whether to wake it.
    fn step_in(&mut self) -> bool {
        let asleep_until = self.asleep_until;
        let late = self.turn_of(1).is_none_or(|due| due < asleep_until);
        self.asleep_until = if late { 0 } else { asleep_until };
        late
    }
}
