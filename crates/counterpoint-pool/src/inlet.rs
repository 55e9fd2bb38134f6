//! [`Inlet`]: the ways by which a worker speaks beside its lane.

use crate::sideband;
use crate::speech::{EACH, Load, MOST, MOST_OF_ALL, Weight, Word};
use crate::state::PoolState;
use crate::station::Station;
use crate::system;
use crate::system::Poller;
use counterpoint_sync::waiter::Notify;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How often one inlet is read before others have their turn.
const TURN: usize = 256;

/// The last words of a worker are no more bytes than its pipes and sockets hold. Processes that it
/// has left behind may go on writing, and are not listened to.
const LAST: usize = 1 << 20;

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

/// What the dispatcher knows of what workers say.
#[derive(Default)]
pub(crate) struct Hearing {
    /// What was not read to its end.
    unheard: Vec<(u32, Inlet)>,
    /// What is not read for now: too much of that worker's is not dealt with.
    held: Vec<(u32, Inlet)>,
    /// For the listener.
    pub(crate) words: Vec<Word>,
    load: Load,
}

impl Hearing {
    /// Whether there is something to read at once.
    pub(crate) fn is_pressing(&self) -> bool {
        !self.unheard.is_empty()
    }

    /// Whether this worker may wait for its words to be read.
    pub(crate) fn holds(&self, id: u32) -> bool {
        self.held.iter().any(|(held, _)| *held == id)
    }

    /// As if so much were not dealt with.
    #[cfg(test)]
    pub(crate) fn weigh(&self, bytes: usize) -> Weight {
        Weight::new(bytes, &Load::default(), &self.load)
    }

    fn say<N, K>(&mut self, station: &Station<N, K>, inlet: Inlet, bytes: &[u8]) {
        let weight = Weight::new(bytes.len(), &station.load, &self.load);
        let (station, pid, bytes) = (station.id(), station.pid(), bytes.into());
        self.words.push(Word::Said { station, pid, inlet, bytes, weight });
    }
}

/// How reading an inlet ended.
enum Heard {
    All,
    More,
    Held,
}

impl<N: Notify, K> PoolState<N, K> {
    /// Takes in what was too much for one turn, or for its worker.
    pub(crate) fn hear_more(&mut self) {
        let unheard = std::mem::take(&mut self.hearing.unheard);
        let held = std::mem::take(&mut self.hearing.held);
        for (id, inlet) in unheard.into_iter().chain(held) {
            self.hear(id, inlet);
        }
    }

    /// Takes in what a worker said.
    pub(crate) fn hear(&mut self, id: u32, inlet: Inlet) {
        let rest = match self.hear_some(id, inlet) {
            Heard::All => return,
            Heard::More => &mut self.hearing.unheard,
            Heard::Held => &mut self.hearing.held,
        };
        // The poller tells of what is new only.
        if !rest.contains(&(id, inlet)) {
            rest.push((id, inlet));
        }
    }

    fn hear_some(&mut self, id: u32, inlet: Inlet) -> Heard {
        let Self { stations, hearing, .. } = self;
        let Some(station) = stations.iter().find(|station| station.id() == id) else {
            return Heard::All;
        };
        if station.load.bytes() >= MOST {
            return Heard::Held;
        }
        let mut bytes = vec![0; sideband::MAX_MESSAGE];
        for _ in 0..TURN {
            let Some(len) = station.hear(inlet, &mut bytes) else { return Heard::All };
            hearing.say(station, inlet, &bytes[..len]);
            if station.load.bytes() >= MOST {
                return Heard::Held;
            }
        }
        Heard::More
    }

    /// Takes in the last words of a worker.
    pub(crate) fn hear_last(&mut self, at: usize) {
        let Self { stations, hearing, .. } = self;
        let (station, mut lost) = (&stations[at], 0);
        let mut bytes = vec![0; sideband::MAX_MESSAGE];
        for inlet in Inlet::ALL {
            let mut left = LAST;
            while left > 0 {
                let Some(len) = station.hear(inlet, &mut bytes) else { break };
                left = left.saturating_sub(len + EACH);
                if hearing.load.bytes() < MOST_OF_ALL {
                    hearing.say(station, inlet, &bytes[..len]);
                } else {
                    lost += len;
                }
            }
        }
        hearing.words.push(Word::Gone { station: station.id(), pid: station.pid(), lost });
    }
}
