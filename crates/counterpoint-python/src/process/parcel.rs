//! [`Parcel`]: an object's pickle and buffers in sealed memory, for `counterpoint.share`.
//!
//! Layout: how many pieces there are (u64), offset and length of each (u64 both), the pieces. The
//! first is the stream, the others are its buffers.

use super::block::{Block, unmappable};
use super::codec::{Buffer, damaged};
use counterpoint_pool::wire::Reader;
use counterpoint_shm::arena::View;
use counterpoint_shm::parcel;
use pyo3::prelude::*;
use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// Buffers begin at pages, for the copy's sake and for that of those who compute with them.
const PAGE: usize = 4096;

/// A parcel's mapping, and offset and length of each piece.
type Opened = (Py<Block>, Vec<(u64, u64)>);

thread_local! {
    /// The parcels that the call names which this thread is encoding; `None`: it is encoding none.
    static NAMED: RefCell<Option<Vec<Arc<counterpoint_pool::Parcel>>>> =
        const { RefCell::new(None) };
}

/// Runs `encode`; beside its result, the parcels that it named.
#[inline]
pub fn naming<R>(encode: impl FnOnce() -> R) -> (R, Vec<Arc<counterpoint_pool::Parcel>>) {
    // What was there before is another call, whose pickling submits this one.
    let before = NAMED.replace(Some(Vec::new()));
    let result = encode();
    (result, NAMED.replace(before).unwrap_or_default())
}

/// A shared object's memory. Internal: used by `counterpoint._process.sharing`.
#[pyclass(frozen, module = "counterpoint._core")]
pub struct Parcel {
    parcel: Arc<counterpoint_pool::Parcel>,
    len: usize,
}

#[pymethods]
impl Parcel {
    /// Holds copies of the pieces.
    #[new]
    fn new(py: Python<'_>, pieces: Vec<Bound<'_, PyAny>>) -> PyResult<Self> {
        let pieces: Vec<_> = pieces.iter().map(Buffer::of).collect::<PyResult<_>>()?;
        let (table, len) = lay_out(&pieces);
        let sources: Vec<_> =
            pieces.iter().map(|piece| (piece.as_ptr() as usize, piece.len())).collect();
        let fill = move |base: *mut u8| {
            let head = (table.len() as u64).to_le_bytes();
            let table_bytes = table.iter().flat_map(|(at, len)| [*at as u64, *len as u64]);
            let head: Vec<u8> =
                head.into_iter().chain(table_bytes.flat_map(u64::to_le_bytes)).collect();
            // SAFETY: `lay_out` has made room for the head and, at its offset, for each piece; the
            // pieces' memory stays where it is while the buffers live.
            unsafe {
                std::ptr::copy_nonoverlapping(head.as_ptr(), base, head.len());
                for ((from, len), (at, _)) in sources.iter().zip(&table) {
                    std::ptr::copy_nonoverlapping(*from as *const u8, base.add(*at), *len);
                }
            }
        };
        let memory = py.detach(move || parcel::create(c"counterpoint-shared", len, fill));
        drop(pieces);
        Ok(Self { parcel: counterpoint_pool::Parcel::new(memory.map_err(unmappable)?), len })
    }

    /// One that another process made, and whose descriptor this one was given.
    #[staticmethod]
    fn adopt(fd: i32) -> PyResult<Self> {
        // SAFETY: the caller has it open.
        let memory = unsafe { BorrowedFd::borrow_raw(fd) };
        let len = parcel::open(memory).map_err(unmappable)?.len();
        let memory = memory.try_clone_to_owned().map_err(unmappable)?;
        Ok(Self { parcel: counterpoint_pool::Parcel::new(memory), len })
    }

    /// Its number, new in this process.
    #[getter]
    fn id(&self) -> u64 {
        self.parcel.id()
    }

    /// Its size in bytes.
    #[getter]
    fn nbytes(&self) -> usize {
        self.len
    }

    /// Has the call go with the parcel that this thread is encoding, if it is.
    fn name(&self) -> bool {
        NAMED.with_borrow_mut(|named| {
            let Some(named) = named else { return false };
            if !named.iter().any(|other| other.id() == self.parcel.id()) {
                named.push(self.parcel.clone());
            }
            true
        })
    }

    /// A private mapping of it, and where in it the pieces are.
    fn open(&self, py: Python<'_>) -> PyResult<Opened> {
        open(py, self.parcel.memory())
    }
}

/// The same of a parcel's descriptor.
#[pyfunction]
pub fn _open_parcel(py: Python<'_>, fd: i32) -> PyResult<Opened> {
    // SAFETY: the caller has it open.
    open(py, unsafe { BorrowedFd::borrow_raw(fd) }.as_fd())
}

fn open(py: Python<'_>, memory: BorrowedFd<'_>) -> PyResult<Opened> {
    let view = parcel::open(memory).map_err(unmappable)?;
    let table = read_table(&view).ok_or_else(|| damaged(py, "pieces that are not in it"))?;
    Ok((Block::of_nobody(py, view)?, table))
}

fn read_table(view: &View) -> Option<Vec<(u64, u64)>> {
    // SAFETY: mapped while the view lives, and sealed: nobody can change it.
    let bytes = unsafe { std::slice::from_raw_parts(view.as_ptr(), view.len()) };
    let mut reader = Reader(bytes);
    let count = reader.u64()?;
    let end = bytes.len() as u64;
    (0..count)
        .map(|_| {
            let (at, len) = (reader.u64()?, reader.u64()?);
            at.checked_add(len).filter(|last| *last <= end).map(|_| (at, len))
        })
        .collect()
}

/// Where each piece goes, and how long it all is.
fn lay_out(pieces: &[Buffer]) -> (Vec<(usize, usize)>, usize) {
    let mut end = 8 + 16 * pieces.len();
    let mut table = Vec::with_capacity(pieces.len());
    for (number, piece) in pieces.iter().enumerate() {
        let at = if number == 0 { end } else { end.next_multiple_of(PAGE) };
        table.push((at, piece.len()));
        end = at + piece.len();
    }
    (table, end)
}
