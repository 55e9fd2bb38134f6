//! Parcels on their way to a worker.

use crate::parcel::Parcel;
use crate::sideband;
use crate::state::PoolState;
use crate::station::Station;
use crate::wire;
use counterpoint_sync::waiter::Notify;
use std::sync::Arc;

impl<N, K> Station<N, K> {
    /// Sees to it that the worker has a parcel before it meets a record that names it. `false`: the
    /// sideband is full.
    pub(crate) fn deliver(&mut self, parcel: &Arc<Parcel>) -> bool {
        if self.parcels.contains(&parcel.id()) {
            return true;
        }
        let number = parcel.id().to_le_bytes();
        if sideband::send(self.sideband(), &number, Some(parcel.memory()), false).is_err() {
            // Should the ring be full as well, then the worker has something to do anyway, and is
            // asked at the next attempt.
            let _ = self.end.post(wire::FORGET, &[]);
            self.end.ring();
            self.stalled = true;
            return false;
        }
        self.parcels.insert(parcel.id());
        parcel.sent_to(&self.link);
        true
    }

    /// Tells the worker what it need not keep.
    fn post_forgotten(&mut self) {
        let forgotten = self.link.take_forgotten();
        for (at, some) in forgotten.chunks(512).enumerate() {
            let bytes: Vec<u8> = some.iter().flat_map(|parcel| parcel.to_le_bytes()).collect();
            if !self.end.post(wire::FORGET, &[&bytes]) {
                return self.link.forget_later(forgotten[at * 512..].to_vec());
            }
            some.iter().for_each(|parcel| {
                self.parcels.remove(parcel);
            });
            self.end.ring();
        }
    }
}

impl<N: Notify, K> PoolState<N, K> {
    /// Tells every worker which parcels it need not keep.
    pub(crate) fn post_forgotten(&mut self) {
        self.stations.iter_mut().for_each(|station| {
            station.stalled = false;
            station.post_forgotten();
        });
    }

    /// Whether a job waits for nothing but room in a sideband.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stations.iter().any(|station| station.stalled)
    }
}
