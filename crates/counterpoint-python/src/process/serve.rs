//! [`Server`]: a worker's loop.

use super::block::{Block, Returned, unmappable};
use super::codec::{Encoded, Functions, decode_call, encode_exception, encode_result};
use super::context;
use super::limit::Limit;
use super::payload::{Target, place};
use crate::boundary::look_for;
use counterpoint_pool::sideband;
use counterpoint_pool::wire::{self, Reader};
use counterpoint_shm::arena::{self, Arena, Block as Piece, Lent, View};
use counterpoint_shm::clock;
use counterpoint_shm::lane::{Slept, WorkerEnd};
use counterpoint_sync::waiter::fork;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

/// The parent's arena, and what of it is mapped here.
struct Arguments {
    arena: OwnedFd,
    len: usize,
    returned: Arc<Returned>,
}

impl Arguments {
    fn map(&self, (offset, len): (u64, u64)) -> PyResult<View> {
        let len =
            usize::try_from(len).map_err(|_| unmappable(io::ErrorKind::InvalidInput.into()))?;
        View::map(self.arena.as_fd(), self.len, offset, len).map_err(unmappable)
    }
}

/// The state of the loop.
struct Worker {
    lane: WorkerEnd,
    arguments: Arguments,
    arena: Arena,
    lent: Lent,
    functions: Functions,
    encoded: Encoded,
    head: Vec<u8>,
    returning: Vec<u64>,
    /// Blocks of the task before may not be given back.
    owes: bool,
    limit: Limit,
    /// Whether it has run a task; `None`: and has said what it imported for that.
    worked: Option<bool>,
    /// The generation of forks that this process is.
    process: u32,
}

/// A worker's end of its lane. Internal: used by `counterpoint._process.serving`.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Server {
    worker: Mutex<Worker>,
    sideband: OwnedFd,
}

/// Takes a descriptor that was handed over.
///
/// # Safety
/// Nobody else closes it.
unsafe fn owned(fd: i32) -> OwnedFd {
    // SAFETY: the caller's promise.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn broken(error: io::Error) -> PyErr {
    PyOSError::new_err(format!("this worker's shared memory is not what its parent makes: {error}"))
}

#[pymethods]
impl Server {
    /// From the five descriptors, which it owns from now on.
    #[new]
    fn new(lane: i32, event: i32, arguments: i32, results: i32, side: i32) -> PyResult<Self> {
        // SAFETY: the worker's start-up code gives them away.
        let [lane, event, arguments, results, sideband] =
            [lane, event, arguments, results, side].map(|fd| unsafe { owned(fd) });
        let len = arena::sealed_len(arguments.as_fd()).map_err(broken)?;
        let worker = Mutex::new(Worker {
            lane: WorkerEnd::adopt(lane, event).map_err(broken)?,
            arguments: Arguments { arena: arguments, len, returned: Arc::default() },
            arena: Arena::adopt(results).map_err(broken)?,
            lent: Lent::default(),
            functions: Functions::default(),
            encoded: Encoded::default(),
            head: Vec::new(),
            returning: Vec::new(),
            owes: false,
            limit: Limit::default(),
            worked: Some(false),
            process: fork::generation(),
        });
        Ok(Self { worker, sideband })
    }

    /// Tells the parent that the worker is set up; then runs tasks until told to leave.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        let mut worker = self
            .worker
            .try_lock()
            .map_err(|_| PyRuntimeError::new_err("a task cannot run the loop that runs it"))?;
        worker.tell(py, wire::READY, &[])?;
        worker.serve(py)
    }

    /// Sends the parent a message, from any thread, waiting for room; or raising BlockingIOError.
    #[pyo3(signature = (message, wait = true))]
    fn say(&self, py: Python<'_>, message: &[u8], wait: bool) -> PyResult<()> {
        let send = || sideband::send(self.sideband.as_fd(), message, None, wait);
        loop {
            match py.detach(send) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => py.check_signals()?,
                result => return result.map_err(PyErr::from),
            }
        }
    }

    /// What came over the sideband, if something did: the number of a parcel, and its descriptor
    /// for the caller to close; -1 if there was no room for one.
    fn take_parcel(&self) -> Option<(u64, i32)> {
        let mut number = [0; 8];
        let mail = sideband::receive(self.sideband.as_fd(), &mut number)?;
        let descriptor = mail.descriptor.map_or(-1, IntoRawFd::into_raw_fd);
        Some((u64::from_le_bytes(number), descriptor))
    }

    /// Tells the parent that the initializer raised.
    fn unfit(&self, error: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        let mut encoded = Encoded::default();
        encode_exception(error, &mut encoded)?;
        worker.tell(error.py(), wire::UNFIT, &encoded.bytes)
    }
}

impl Worker {
    fn serve(&mut self, py: Python<'_>) -> PyResult<()> {
        loop {
            let (kind, flags, entry) = match self.lane.next() {
                Ok(Some(task)) => (task.kind, task.flags, task.entry),
                Ok(None) => {
                    self.rest(py)?;
                    continue;
                }
                Err(_) => return Err(PyRuntimeError::new_err("the lane to the parent is damaged")),
            };
            if kind == wire::STOP {
                self.lane.flush(clock::now(), true);
                return Ok(());
            }
            match entry {
                Some(entry) => self.call(py, entry, flags)?,
                None => self.obey(py, kind)?,
            }
        }
    }

    /// Nothing to do: tells what the parent is owed, and sleeps.
    fn rest(&mut self, py: Python<'_>) -> PyResult<()> {
        self.give_back(py)?;
        self.lane.flush(clock::now(), true);
        if self.worked == Some(true) {
            self.worked = None;
            py.import("counterpoint._process.serving")?.call_method0("_rest")?;
        }
        let lane = &mut self.lane;
        let slept = py.detach(|| {
            let next = &*lane;
            if look_for(None, || || next.has_next()) { Slept::Woken } else { lane.sleep(None) }
        });
        match slept {
            Slept::Interrupted => py.check_signals(),
            _ => Ok(()),
        }
    }

    fn obey(&mut self, py: Python<'_>, kind: u8) -> PyResult<()> {
        let payload = self.lane.payload();
        match kind {
            wire::DEFINE => {
                let mut reader = Reader(payload);
                let id = reader.u32().unwrap_or(u32::MAX);
                self.functions.define(py, id, reader.0)
            }
            wire::RETURN => {
                let mut reader = Reader(payload);
                while let Some(offset) = reader.u64() {
                    if let Some(block) = self.lent.returned(offset) {
                        self.arena.free(block);
                    }
                }
                Ok(())
            }
            wire::FORGET => {
                let mut reader = Reader(payload);
                let parcels: Vec<u64> = std::iter::from_fn(|| reader.u64()).collect();
                let sharing = py.import("counterpoint._process.sharing")?;
                sharing.call_method1("_forget", (parcels,)).map(drop)
            }
            _ => Err(PyRuntimeError::new_err(format!("the parent sent a record of kind {kind}"))),
        }
    }

    fn call(&mut self, py: Python<'_>, entry: u16, flags: u8) -> PyResult<()> {
        let began = clock::now();
        self.lane.begin(began);
        self.worked = self.worked.and(Some(true));
        if flags & wire::ANNOUNCE != 0 {
            self.tell(py, wire::BEGUN, &entry.to_le_bytes())?;
        }
        let outcome = self.make_call(py, flags);
        if self.process != fork::generation() {
            leave_fork(outcome.is_err());
        }
        self.encoded.clear();
        let (kind, encoded) = match outcome {
            Ok(value) => match encode_result(value.as_borrowed(), &mut self.encoded) {
                Ok(()) => (wire::RESULT, Ok(())),
                Err(error) => (wire::ERROR, encode_error(py, error, &mut self.encoded)),
            },
            Err(error) => (wire::ERROR, encode_error(py, error, &mut self.encoded)),
        };
        encoded?;
        self.publish_end(py, kind, entry, began)
    }

    fn make_call<'py>(&mut self, py: Python<'py>, flags: u8) -> PyResult<Bound<'py, PyAny>> {
        let mut reader = Reader(self.lane.payload());
        let damaged = || super::codec::damaged(py, "blocks that are none");
        let limit = match flags & wire::LIMITED {
            0 => None,
            _ => Some(reader.u64().ok_or_else(damaged)?),
        };
        let (mut places, apart) = reader.blocks().ok_or_else(damaged)?;
        self.lane.count_beside(total(&places), 0);
        let own = if apart { places.pop() } else { None };
        let view = own.map(|place| self.arguments.map(place)).transpose()?;
        let bytes = match &view {
            // SAFETY: mapped, and not changed by the parent before it is returned.
            Some(view) => unsafe { std::slice::from_raw_parts(view.as_ptr(), view.len()) },
            None => reader.0,
        };
        let (arguments, functions) = (&self.arguments, &mut self.functions);
        let mut mapped = vec![false; places.len()];
        let mut buffers = |number: u32| {
            let at = number as usize;
            let place = *places.get(at).ok_or_else(damaged)?;
            let view = arguments.map(place)?;
            mapped[at] = true;
            Block::of_parent(py, view, place.0, &arguments.returned)
        };
        let decoded = context::decode(py, bytes).and_then(|(context, call)| {
            Ok((context, decode_call(py, call, functions, &mut buffers)?))
        });
        drop(view);
        // What nobody mapped goes back at once, as does the record itself.
        let left =
            places.iter().zip(&mapped).filter(|(_, mapped)| !**mapped).map(|(place, _)| place.0);
        self.returning.extend(left.chain(own.map(|place| place.0)));
        let (context, mut call) = decoded?;
        if let Some(limit) = limit {
            self.limit.set(py, limit)?;
        }
        let result = context::run(&context, || call.call());
        if limit.is_some() {
            self.limit.clear();
        }
        // To unmap many megabytes takes longer than to say what came of them.
        self.arguments.returned.postpone(|| drop(call));
        result
    }

    fn publish_end(&mut self, py: Python<'_>, kind: u8, entry: u16, began: u64) -> PyResult<()> {
        let blocks = match self.lend(py) {
            Ok(blocks) => blocks,
            Err(error) if kind == wire::RESULT => {
                self.encoded.clear();
                encode_error(py, error, &mut self.encoded)?;
                return self.publish_end(py, wire::ERROR, entry, began);
            }
            Err(error) => return Err(error),
        };
        self.lane.count_beside(0, total(&blocks));
        let apart = self.encoded.bytes.len() > wire::INLINE;
        let now = clock::now();
        self.head.clear();
        self.head.extend_from_slice(&began.to_le_bytes());
        self.head.extend_from_slice(&now.saturating_sub(began).to_le_bytes());
        wire::write_blocks(&blocks, apart, &mut self.head);
        self.lane.end(now);
        let idle = !self.lane.has_next();
        if !idle || self.owes {
            self.give_back(py)?;
        }
        // What is left is the first thing to do in a rest; or after another task, if that is sooner.
        self.owes = idle;
        let Self { lane, head, encoded, .. } = self;
        let content: &[u8] = if apart { &[] } else { &encoded.bytes };
        publish(py, lane, kind, Some(entry), &[head, content])?;
        lane.flush(clock::now(), idle);
        Ok(())
    }

    /// Puts the buffers of what was encoded into the arena; where they are.
    fn lend(&mut self, py: Python<'_>) -> PyResult<Vec<(u64, u64)>> {
        let apart = self.encoded.bytes.len() > wire::INLINE;
        if self.encoded.buffers.is_empty() && !apart {
            return Ok(Vec::new());
        }
        let arena = &mut self.arena;
        let pieces = place(py, &self.encoded, apart, |len| Written::new(arena, len))?;
        let lent = &mut self.lent;
        let lend = |piece: Written| {
            let (offset, len) = lent.lend(piece.block);
            (offset, len as u64)
        };
        Ok(pieces.into_iter().map(lend).collect())
    }

    /// Returns the parent's blocks that are not mapped any more.
    fn give_back(&mut self, py: Python<'_>) -> PyResult<()> {
        self.owes = false;
        self.returning.extend(self.arguments.returned.take());
        for some in std::mem::take(&mut self.returning).chunks(512) {
            let bytes: Vec<u8> = some.iter().flat_map(|offset| offset.to_le_bytes()).collect();
            publish(py, &mut self.lane, wire::RETURN, None, &[&bytes])?;
        }
        Ok(())
    }

    /// Says something at once.
    fn tell(&mut self, py: Python<'_>, kind: u8, content: &[u8]) -> PyResult<()> {
        publish(py, &mut self.lane, kind, None, &[content])?;
        self.lane.flush(clock::now(), true);
        Ok(())
    }
}

/// How many bytes are in these blocks.
fn total(blocks: &[(u64, u64)]) -> usize {
    blocks.iter().map(|(_, len)| *len as usize).fold(0, usize::wrapping_add)
}

/// A task has forked, and this is the child, come back from the task: it is no worker, the lane is
/// not its own, and whatever it would say would be taken for the worker's.
#[cold]
fn leave_fork(failed: bool) -> ! {
    // SAFETY: ends the process, without handlers that are the worker's.
    unsafe { libc::_exit(failed.into()) }
}

/// A block that is being written.
struct Written {
    block: Piece,
    memory: *mut u8,
}

impl Written {
    fn new(arena: &mut Arena, len: usize) -> Option<Self> {
        let block = arena.alloc(len)?;
        let memory = arena.bytes(&block);
        Some(Self { block, memory })
    }
}

impl Target for Written {
    fn memory(&mut self) -> *mut u8 {
        self.memory
    }
}

/// An exception, or if it cannot be sent, what was wrong with it.
fn encode_error(py: Python<'_>, error: PyErr, encoded: &mut Encoded) -> PyResult<()> {
    encoded.clear();
    encode_exception(error.into_value(py).bind(py), encoded)
}

/// Publishes a record, waiting for room if need be.
fn publish(
    py: Python<'_>,
    lane: &mut WorkerEnd,
    kind: u8,
    entry: Option<u16>,
    parts: &[&[u8]],
) -> PyResult<()> {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    while !lane.publish(kind, entry, parts) {
        if len > counterpoint_shm::lane::MAX_PAYLOAD {
            return Err(PyRuntimeError::new_err("a record is larger than the ring to the parent"));
        }
        if py.detach(|| lane.room_sleep(len, None)) == Slept::Interrupted {
            py.check_signals()?;
        }
    }
    Ok(())
}
