//! Taking in what workers say.

use crate::job::{Content, Job, Outcome, Place, Record};
use crate::mailbox::News;
use crate::state::{PoolState, Stillborn};
use crate::station::{Station, received};
use crate::wire::{self, Reader};
use counterpoint_shm::clock;
use counterpoint_shm::lane::Incoming;
use counterpoint_sync::waiter::Notify;
use std::sync::Arc;

/// A record, copied and checked as far as its form goes.
enum Event<N, K> {
    Ended {
        job: Arc<Job<N, K>>,
        outcome: Outcome,
        began: u64,
        took: u64,
    },
    Ready,
    Unfit(Box<[u8]>),
    Begun(u16),
    Returned(Vec<u64>),
    /// It says what no worker says.
    Nonsense,
}

impl<N: Notify, K> PoolState<N, K> {
    /// Takes in everything that there is. `false`: nothing was.
    pub(crate) fn drain(&mut self) -> bool {
        let mut any = false;
        for at in 0..self.stations.len() {
            any |= self.drain_station(at);
        }
        any
    }

    pub(crate) fn drain_station(&mut self, at: usize) -> bool {
        let mut events = Vec::new();
        let station = &mut self.stations[at];
        station.end.awake();
        let sane = collect(station, &mut events);
        let any = !events.is_empty();
        if any && self.stations[at].end.in_flight() > 0 {
            self.stations[at].quiet_since = clock::now();
        }
        let sane = events.into_iter().fold(sane, |sane, event| self.handle(at, event) && sane);
        if !sane {
            self.stations[at].kill();
        }
        any
    }

    fn handle(&mut self, at: usize, event: Event<N, K>) -> bool {
        let station = &mut self.stations[at];
        match event {
            Event::Ended { job, outcome, began, took } => {
                station.learn(took);
                if !job.is_judged() || job.lock().future.attempt() == 0 {
                    self.queue_delay.record(began.saturating_sub(job.submitted));
                }
                self.run_time.record(took);
                self.counts.busy = self.counts.busy.saturating_add(took);
                self.ended(job, outcome);
            }
            Event::Ready => {
                station.ready();
                self.stillborn = Stillborn::default();
            }
            // It was set up: to believe this would cost all the others theirs.
            Event::Unfit(_) if station.was_ready => return false,
            Event::Unfit(error) => {
                // Its end is no crash; what it was to run goes back until the courier decides.
                station.kill();
                self.news.push(News::Unfit(error));
            }
            Event::Begun(entry) => {
                if station.limited == Some(entry) {
                    // It may have ended already, without the result being there; then it is 0.
                    let (began, now) = (station.end.started_at(), clock::now());
                    let began = if began == 0 { now } else { began.min(now) };
                    let limit = station.job(entry).and_then(|job| job.timeout());
                    station.alarm = limit.map(|limit| began.saturating_add(limit));
                }
            }
            Event::Returned(offsets) => {
                let loans: Vec<_> =
                    offsets.into_iter().filter_map(|offset| station.returned(offset)).collect();
                drop(loans);
            }
            Event::Nonsense => return false,
        }
        true
    }

    /// A worker ended a job.
    fn ended(&mut self, job: Arc<Job<N, K>>, outcome: Outcome) {
        if matches!(outcome, Outcome::Raised(_)) && job.is_judged() && !self.abandoned {
            job.lock().place = Place::Judged;
            self.undecided += 1;
            self.news.push(News::Judge(job, outcome));
            return;
        }
        self.finish(job, outcome);
    }

    /// Ends a job and tells whoever waits for it.
    pub fn finish(&mut self, job: Arc<Job<N, K>>, outcome: Outcome) {
        let returned = matches!(outcome, Outcome::Returned(_));
        let mut cell = job.lock();
        cell.place = Place::Over;
        let content = match cell.future.finish(&mut self.wakes) {
            Ok(()) => Content::Outcome(Arc::new(outcome)),
            // Cancelled, or ended by somebody else; the outcome is dropped.
            Err(_) => Content::Empty,
        };
        let old = std::mem::replace(&mut cell.content, content);
        let kept = cell.keeper.is_some();
        drop(cell);
        drop(old);
        *(if returned { &mut self.counts.done } else { &mut self.counts.failed }) += 1;
        if kept {
            self.news.push(News::Ended(job));
        } else {
            self.done.push(job);
        }
    }
}

/// Copies the station's records; `false` if one was not to be believed.
fn collect<N, K>(station: &mut Station<N, K>, events: &mut Vec<Event<N, K>>) -> bool {
    let link = station.link.clone();
    let mut ended = Vec::new();
    let received = station.end.receive(|incoming| match incoming.entry {
        Some(entry) => ended.push((entry, events.len(), read_end(&link, &incoming))),
        None => events.push(read(&incoming)),
    });
    // Numbers are resolved afterwards, since receiving borrows the lane.
    for (shift, (entry, at, end)) in ended.into_iter().enumerate() {
        let event = match (station.take(entry), end) {
            (Some(job), Some((outcome, began, took))) => Event::Ended { job, outcome, began, took },
            (Some(job), None) => {
                station.ruined.push(job);
                Event::Nonsense
            }
            (None, _) => Event::Nonsense,
        };
        events.insert(at + shift, event);
    }
    received.is_ok()
}

fn read<N, K>(incoming: &Incoming<'_>) -> Event<N, K> {
    let mut reader = Reader(incoming.bytes);
    match incoming.kind {
        wire::READY => Event::Ready,
        wire::UNFIT => Event::Unfit(incoming.bytes.into()),
        wire::BEGUN => reader.u16().map_or(Event::Nonsense, Event::Begun),
        wire::RETURN => Event::Returned(std::iter::from_fn(|| reader.u64()).collect()),
        _ => Event::Nonsense,
    }
}

fn read_end(
    link: &Arc<crate::blocks::Link>,
    incoming: &Incoming<'_>,
) -> Option<(Outcome, u64, u64)> {
    let mut reader = Reader(incoming.bytes);
    let (began, took) = (reader.u64()?, reader.u64()?);
    let (places, apart) = reader.blocks()?;
    let record = Record {
        bytes: reader.0.into(),
        blocks: received(link, places),
        apart,
        parcels: Box::default(),
    };
    let outcome = match incoming.kind {
        wire::RESULT => Outcome::Returned(record),
        wire::ERROR => Outcome::Raised(record),
        _ => return None,
    };
    Some((outcome, began, took))
}
