//! [`Station`]: the parent's side of one worker process.

use crate::blocks::{Link, Loan, Received};
use crate::inlet::Streams;
use crate::job::{Content, Job, Place};
use crate::sideband;
use crate::speech::Load;
use crate::system;
use crate::wire;
use counterpoint_shm::lane::{ENTRIES, ParentEnd};
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// How much work, in nanoseconds, a worker may have in hand: fifty times what it costs to hand
/// it over.
const IN_HAND: u64 = 500_000;

/// The most jobs at one station.
const MOST: usize = 256;

/// Jobs at a station of which nothing is known.
const UNKNOWN: usize = 4;

/// A task that takes longer than this is not worth handing out before the one before it is done.
const LONG: u64 = 10_000_000;

/// How long, in nanoseconds, a worker that was told to leave may take: for exit handlers, and for
/// threads that tasks have left behind. Then it is killed.
const LEAVE: u64 = 5_000_000_000;

/// Where a worker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It was launched, and has not said that it is set up.
    Starting,
    /// It works.
    Ready,
    /// It gets no more jobs, and is told to leave when it has none.
    Leaving,
    /// It was told.
    Stopped,
    /// It was killed, or is not believed any more.
    Doomed,
}

/// What is known of a worker after its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StationReport {
    /// Which station.
    pub id: u32,
    /// Whether it had been set up.
    pub was_ready: bool,
    /// Whether this side wanted its end.
    pub expected: bool,
    /// How many tasks it ended.
    pub tasks: u64,
    /// How much memory it had, in bytes, if it was killed for that.
    pub used: Option<u64>,
}

/// The worker's process.
struct Process {
    pidfd: OwnedFd,
    pid: i32,
}

type Jobs<N, K> = Vec<Arc<Job<N, K>>>;

/// One worker, seen from the pool.
pub struct Station<N, K> {
    id: u32,
    pub(crate) end: ParentEnd,
    pub(crate) link: Arc<Link>,
    process: Option<Process>,
    /// By number on the lane.
    jobs: Vec<Option<Arc<Job<N, K>>>>,
    /// Jobs whose results were no results: they are lost with the worker.
    pub(crate) ruined: Vec<Arc<Job<N, K>>>,
    /// Functions that were defined, by number.
    known: Vec<bool>,
    pub(crate) stage: Stage,
    pub(crate) was_ready: bool,
    /// Jobs sent so far and not taken back.
    pub(crate) assigned: u64,
    /// Jobs that ended here.
    pub(crate) tasks: u64,
    /// A running mean of what a task takes, in nanoseconds; 0 at first.
    service: u64,
    lent: HashMap<u64, (Arc<Loan>, u32)>,
    sideband: OwnedFd,
    /// Its other end, until the worker has it.
    theirs: Option<OwnedFd>,
    pub(crate) streams: Streams,
    /// What it said and nobody has dealt with.
    pub(crate) load: Load,
    /// The parcels that the worker has.
    pub(crate) parcels: HashSet<u64>,
    /// The sideband was full when a job needed it.
    pub(crate) stalled: bool,
    /// Since when it was seen to have nothing to do.
    pub(crate) idle: Option<u64>,
    /// How much memory it had when that was too much.
    pub(crate) used: Option<u64>,
    /// The number of the job with a time limit: it has the station for itself.
    pub(crate) limited: Option<u16>,
    /// When its time is over, once it began.
    pub(crate) alarm: Option<u64>,
    /// When it is killed if it has not left.
    pub(crate) leave_by: Option<u64>,
    /// Since when nothing was heard of the worker, though it has a job.
    pub(crate) quiet_since: u64,
    table: Vec<u8>,
}

impl<N, K> Station<N, K> {
    /// A station for a worker that is yet to be launched, whose arena `link` has.
    /// With `capture`, what it writes to its standard streams is read as well.
    pub fn create(id: u32, link: Arc<Link>, capture: bool) -> io::Result<Self> {
        let (sideband, theirs) = sideband::pair()?;
        Ok(Self {
            id,
            end: ParentEnd::create()?,
            link,
            process: None,
            jobs: Vec::new(),
            ruined: Vec::new(),
            known: Vec::new(),
            stage: Stage::Starting,
            was_ready: false,
            assigned: 0,
            tasks: 0,
            service: 0,
            lent: HashMap::new(),
            sideband,
            theirs: Some(theirs),
            streams: if capture { Streams::create()? } else { Streams::default() },
            load: Load::default(),
            parcels: HashSet::new(),
            stalled: false,
            idle: None,
            used: None,
            limited: None,
            alarm: None,
            leave_by: None,
            quiet_since: 0,
            table: Vec::new(),
        })
    }

    /// Which one it is.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// What the worker gets: its lane, the lane's eventfd, its arena, its end of the sideband, and
    /// with `capture` two standard streams.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        let theirs = self.theirs.iter().chain(&self.streams.write).map(AsFd::as_fd);
        let own = [self.end.fd(), self.end.event_fd(), self.link.arena().as_fd()];
        own.into_iter().chain(theirs).collect()
    }

    /// Readable when the worker sent a message.
    pub(crate) fn sideband(&self) -> BorrowedFd<'_> {
        self.sideband.as_fd()
    }

    /// The worker was launched. `pid` must stay unreaped as long as the station is in the pool.
    pub fn launched(&mut self, pidfd: OwnedFd, pid: i32) {
        self.process = Some(Process { pidfd, pid });
        self.theirs = None;
        self.streams.write.clear();
    }

    /// The process number; 0 before the launch.
    pub fn pid(&self) -> i32 {
        self.process.as_ref().map_or(0, |process| process.pid)
    }

    /// Readable when it ended.
    pub(crate) fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.process.as_ref().map(|process| process.pidfd.as_fd())
    }

    /// What it counted: tasks, nanoseconds spent in them, bytes in, bytes out.
    pub fn counters(&self) -> [u64; 4] {
        let counters = self.end.counters();
        [counters.tasks, counters.busy_ns, counters.bytes_in, counters.bytes_out]
    }

    /// Whether it takes part in the work.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.stage, Stage::Starting | Stage::Ready)
    }

    /// Whether it has nothing left to do, and will get nothing more.
    pub fn is_leaving(&self) -> bool {
        matches!(self.stage, Stage::Leaving | Stage::Stopped) && self.end.in_flight() == 0
    }

    pub(crate) fn is_doomed(&self) -> bool {
        self.stage == Stage::Doomed
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.is_live() && self.end.in_flight() == 0
    }

    /// How many more jobs it may have now.
    pub(crate) fn room(&self) -> usize {
        if self.limited.is_some() {
            return 0;
        }
        self.window().saturating_sub(self.end.in_flight())
    }

    fn window(&self) -> usize {
        match (self.stage, self.service) {
            (Stage::Starting, _) => 1,
            (Stage::Ready, 0) => UNKNOWN,
            (Stage::Ready, LONG..) => 1,
            (Stage::Ready, service) => ((IN_HAND / service) as usize).clamp(2, MOST),
            _ => 0,
        }
    }

    /// Learns how long a task took.
    pub(crate) fn learn(&mut self, took: u64) {
        self.tasks += 1;
        self.idle = None;
        let took = took.max(1);
        self.service =
            if self.service == 0 { took } else { self.service - self.service / 8 + took / 8 };
        self.service = self.service.max(1);
    }

    pub(crate) fn ready(&mut self) {
        self.was_ready = true;
        if self.stage == Stage::Starting {
            self.stage = Stage::Ready;
        }
    }

    /// Sends a job; gives it back if it does not fit now. One that was cancelled meanwhile is
    /// dropped into `done`.
    pub(crate) fn send(
        &mut self,
        job: Arc<Job<N, K>>,
        definition: impl Fn(u32) -> Option<Arc<[u8]>>,
        done: &mut Vec<Arc<Job<N, K>>>,
        now: u64,
    ) -> Result<(), Arc<Job<N, K>>> {
        let alone = self.end.in_flight() == 0;
        if !alone && (job.timeout().is_some() || self.limited.is_some()) {
            return Err(job);
        }
        if alone {
            self.quiet_since = now;
        }
        if !self.return_blocks() || !self.define(job.function, definition) {
            return Err(job);
        }
        let mut cell = job.lock();
        let Content::Payload(payload) = &cell.content else {
            drop(cell);
            done.push(job);
            return Ok(());
        };
        if !payload.parcels.iter().all(|parcel| self.deliver(parcel)) {
            drop(cell);
            return Err(job);
        }
        let places: Vec<_> = payload.blocks.iter().map(|loan| loan.place()).collect();
        self.table.clear();
        let mut flags = if job.timeout().is_some() { wire::ANNOUNCE } else { 0 };
        if let Some(limit) = job.soft_timeout() {
            flags |= wire::LIMITED;
            self.table.extend_from_slice(&limit.to_le_bytes());
        }
        wire::write_blocks(&places, payload.apart, &mut self.table);
        let Some(entry) = self.end.send(wire::CALL, flags, &[&self.table, &payload.bytes]) else {
            drop(cell);
            return Err(job);
        };
        for loan in &payload.blocks {
            self.lent.entry(loan.place().0).or_insert_with(|| (loan.clone(), 0)).1 += 1;
        }
        cell.place = Place::Sent { station: self.id, entry };
        drop(cell);
        self.limited = job.timeout().map(|_| entry);
        self.assigned += 1;
        self.put(entry, job);
        Ok(())
    }

    fn put(&mut self, entry: u16, job: Arc<Job<N, K>>) {
        if self.jobs.is_empty() {
            self.jobs.resize_with(ENTRIES, || None);
        }
        self.jobs[usize::from(entry)] = Some(job);
    }

    /// Tells the worker which of its blocks are free again.
    pub(crate) fn return_blocks(&mut self) -> bool {
        let returned = self.link.take_returned();
        if returned.is_empty() {
            return true;
        }
        let told = returned.chunks(512).all(|some| {
            let bytes: Vec<u8> = some.iter().flat_map(|offset| offset.to_le_bytes()).collect();
            self.end.post(wire::RETURN, &[&bytes])
        });
        if !told {
            // Whoever gets a block back twice ignores the second time.
            self.link.put_back(returned);
        }
        told
    }

    fn define(&mut self, function: u32, definition: impl Fn(u32) -> Option<Arc<[u8]>>) -> bool {
        let at = function as usize;
        if function == u32::MAX || self.known.get(at).is_some_and(|known| *known) {
            return true;
        }
        let Some(definition) = definition(function) else { return true };
        if !self.end.post(wire::DEFINE, &[&function.to_le_bytes(), &definition]) {
            return false;
        }
        if self.known.len() <= at {
            self.known.resize(at + 1, false);
        }
        self.known[at] = true;
        true
    }

    /// The job whose result came, which is no longer here.
    pub(crate) fn take(&mut self, entry: u16) -> Option<Arc<Job<N, K>>> {
        if self.limited == Some(entry) {
            (self.limited, self.alarm) = (None, None);
        }
        self.jobs.get_mut(usize::from(entry))?.take()
    }

    /// The job under this number.
    pub(crate) fn job(&self, entry: u16) -> Option<&Arc<Job<N, K>>> {
        self.jobs.get(usize::from(entry))?.as_ref()
    }

    /// Takes back a job that the worker has not begun.
    pub(crate) fn recall(&mut self, entry: u16) -> Option<Arc<Job<N, K>>> {
        if !self.end.recall(entry) {
            return None;
        }
        let job = self.take(entry)?;
        self.assigned -= 1;
        self.unlend(&job);
        Some(job)
    }

    /// A job that was not begun maps no blocks.
    fn unlend(&mut self, job: &Job<N, K>) {
        if let Content::Payload(payload) = &job.lock().content {
            for loan in &payload.blocks {
                self.returned(loan.place().0);
            }
        }
    }

    /// Takes back what the worker has not begun: at most `most`, newest first.
    pub(crate) fn recall_some(&mut self, most: usize) -> Vec<Arc<Job<N, K>>> {
        let mut entries: Vec<u16> = (0..self.jobs.len() as u16)
            .filter(|entry| {
                self.jobs[usize::from(*entry)].is_some() && !self.end.is_started(*entry)
            })
            .collect();
        // By age, which the jobs know and the numbers do not.
        entries.sort_by_key(|entry| std::cmp::Reverse(self.job(*entry).map(|job| job.submitted)));
        entries.truncate(most);
        entries.into_iter().filter_map(|entry| self.recall(entry)).collect()
    }

    /// The worker says that it does not map this block of ours any more. The loan, if nobody else
    /// has it.
    pub(crate) fn returned(&mut self, offset: u64) -> Option<Arc<Loan>> {
        let times = &mut self.lent.get_mut(&offset)?.1;
        *times -= 1;
        (*times == 0).then(|| self.lent.remove(&offset).map(|(loan, _)| loan)).flatten()
    }

    /// It has nothing left to do: from now on it has so long to go.
    pub(crate) fn must_leave(&mut self, now: u64) {
        self.leave_by.get_or_insert(now + LEAVE);
    }

    /// Kills the worker and what it started.
    pub(crate) fn kill(&mut self) {
        self.stage = Stage::Doomed;
        if let Some(Process { pidfd, pid }) = &self.process {
            system::kill(pidfd.as_fd(), *pid);
        }
    }

    /// Sends a signal to the worker alone.
    pub(crate) fn signal(&self, signal: i32) {
        if let Some(process) = &self.process {
            system::signal(process.pidfd.as_fd(), signal);
        }
    }

    /// Whether it is at least one job and the worker has not begun all of them.
    pub(crate) fn has_unstarted(&self) -> bool {
        self.end.in_flight() > 1
    }

    /// Everything that was in flight: what was begun, and what was not, oldest first.
    pub(crate) fn leftover(&mut self) -> (Jobs<N, K>, Jobs<N, K>) {
        let left = self.end.leftover();
        let mut take = |entries: Vec<u16>| -> Vec<_> {
            entries.into_iter().filter_map(|entry| self.take(entry)).collect()
        };
        let (mut started, unstarted) = (take(left.started), take(left.unstarted));
        started.append(&mut self.ruined);
        (started, unstarted)
    }

    /// What to say about its end.
    pub(crate) fn report(&self) -> StationReport {
        let expected = matches!(self.stage, Stage::Stopped | Stage::Doomed);
        let Self { id, was_ready, tasks, used, .. } = *self;
        StationReport { id, was_ready, expected, tasks, used }
    }
}

/// Blocks of a worker's that a record names.
pub(crate) fn received(link: &Arc<Link>, places: Vec<(u64, u64)>) -> Box<[Arc<Received>]> {
    places.into_iter().map(|place| Arc::new(Received::new(link, place))).collect()
}
