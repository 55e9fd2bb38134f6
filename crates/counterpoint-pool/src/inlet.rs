//! [`Inlet`]: the ways by which a worker speaks beside its lane.

use crate::mailbox::News;
use crate::sideband;
use crate::state::PoolState;
use crate::station::Station;
use crate::system;
use crate::system::Poller;
use counterpoint_sync::waiter::Notify;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How much is read of one inlet before others have their turn.
const MOST: usize = 256;

/// One way. The number is that of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inlet {
    /// Messages over the sideband.
    Sideband = 0,
    /// What it writes to its standard output.
    Output = 1,
    /// What it writes to its standard error.
    Error = 2,
}

impl Inlet {
    const ALL: [Self; 3] = [Self::Sideband, Self::Output, Self::Error];

    /// The one of a number that `token` made.
    pub(crate) fn of(token: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|inlet| token >> 34 & 3 == *inlet as u64)
    }

    /// A token's bits for it.
    fn token(self) -> u64 {
        (self as u64) << 34
    }
}

/// The reading ends of a worker's standard streams, and the writing ends until it has them.
#[derive(Default)]
pub(crate) struct Streams {
    read: Vec<OwnedFd>,
    pub(crate) write: Vec<OwnedFd>,
}

impl Streams {
    pub(crate) fn create() -> io::Result<Self> {
        let mut streams = Self::default();
        for _ in 0..2 {
            let (read, write) = system::pipe()?;
            streams.read.push(read);
            streams.write.push(write);
        }
        Ok(streams)
    }
}

impl<N, K> Station<N, K> {
    fn inlet(&self, inlet: Inlet) -> Option<BorrowedFd<'_>> {
        match inlet {
            Inlet::Sideband => Some(self.sideband()),
            stream => self.streams.read.get(stream as usize - 1).map(AsFd::as_fd),
        }
    }

    /// Has the poller of `shared` watch them.
    pub(crate) fn watch_inlets(&self, poller: &Poller, mark: u64) -> io::Result<()> {
        for inlet in Inlet::ALL {
            if let Some(fd) = self.inlet(inlet) {
                // Once for each change: a task may close what then stays readable for ever.
                poller.add(fd, u64::from(self.id()) | mark | inlet.token(), true)?;
            }
        }
        Ok(())
    }

    fn hear(&self, inlet: Inlet, bytes: &mut [u8]) -> Option<usize> {
        let fd = self.inlet(inlet)?;
        match inlet {
            Inlet::Sideband => sideband::receive(fd, bytes).map(|mail| mail.len),
            _ => system::read(fd, bytes),
        }
    }
}

impl<N: Notify, K> PoolState<N, K> {
    /// Takes in what was too much for one turn.
    pub(crate) fn hear_more(&mut self) {
        for (id, inlet) in std::mem::take(&mut self.unheard) {
            self.hear(id, inlet);
        }
    }

    /// Takes in what a worker said.
    pub(crate) fn hear(&mut self, id: u32, inlet: Inlet) {
        if !self.hear_some(id, inlet) {
            // The poller tells of what is new only.
            self.unheard.push((id, inlet));
        }
    }

    /// Takes in the last words of a worker.
    pub(crate) fn hear_all(&mut self, id: u32) {
        for inlet in Inlet::ALL {
            while !self.hear_some(id, inlet) {}
        }
    }

    /// Whether that was all.
    fn hear_some(&mut self, id: u32, inlet: Inlet) -> bool {
        let Some(station) = self.stations.iter().find(|station| station.id() == id) else {
            return true;
        };
        let mut bytes = vec![0; sideband::MAX_MESSAGE];
        for _ in 0..MOST {
            let Some(len) = station.hear(inlet, &mut bytes) else { return true };
            self.news.push(News::Message(id, inlet, bytes[..len].into()));
        }
        false
    }
}
