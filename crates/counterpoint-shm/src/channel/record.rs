//! How a record lies in a segment: a head word, the runs that it refers to, its content; in
//! multiples of 8 bytes, never across the end of a segment.
//!
//! | bits of the head | content                                                         |
//! |------------------|-----------------------------------------------------------------|
//! | 0-31             | bytes of runs and content; `END`: go on in another segment        |
//! | 32-47            | how many runs                                                   |
//! | 48               | the last run holds what would otherwise be the content           |
//! | 32-63 of an END  | that other segment                                              |
//!
//! A run takes two words: its first segment, and how many bytes of it are used.

use super::inbox::Inbox;
use super::layout::SEGMENT;
use super::{Parcel, Run};
use crate::ring::{Bytes, Corrupt};

const END: u32 = u32::MAX;
const APART: u64 = 1 << 48;
const RUN: usize = 16;

/// The most bytes that a record has in a segment, its head included.
pub(super) const LONGEST: usize = SEGMENT - 8;

/// The bytes that a parcel takes.
pub(super) fn size(parcel: &Parcel<'_>) -> usize {
    8 + (parcel.runs.len() * RUN + parcel.content.len()).next_multiple_of(8)
}

/// Writes a record. Where it ends there stays room for an `END`.
pub(super) fn write(bytes: Bytes<'_>, place: usize, parcel: &Parcel<'_>) {
    let mut next = place + 8;
    for run in parcel.runs {
        bytes.store(next, u64::from(run.segment));
        bytes.store(next + 8, run.len);
        next += RUN;
    }
    bytes.write(next, parcel.content);
    let len = parcel.runs.len() * RUN + parcel.content.len();
    let apart = if parcel.apart { APART } else { 0 };
    bytes.store(place, len as u64 | (parcel.runs.len() as u64) << 32 | apart);
}

/// Writes that the next record is in another segment.
pub(super) fn write_end(bytes: Bytes<'_>, place: usize, segment: u32) {
    bytes.store(place, u64::from(END) | u64::from(segment) << 32);
}

/// What is at a place.
pub(super) enum Found {
    /// A record, of so many bytes with its head; whether its last run is its content. The rest of
    /// it is in the inbox.
    Record(usize, bool),
    /// The next record is there.
    Elsewhere(u32),
}

/// Reads what is at `place`, `room` bytes before the end of the segment.
pub(super) fn read(
    bytes: Bytes<'_>,
    place: usize,
    room: usize,
    inbox: &mut Inbox,
) -> Result<Found, Corrupt> {
    let head = bytes.load(place);
    if head as u32 == END {
        return Ok(Found::Elsewhere((head >> 32) as u32));
    }
    let (len, runs) = (head as u32 as usize, (head >> 32) as u16 as usize);
    let content = len.checked_sub(runs * RUN).ok_or(Corrupt)?;
    if len > room.saturating_sub(8) {
        return Err(Corrupt);
    }
    for at in (0..runs).map(|run| place + 8 + run * RUN) {
        let segment = u32::try_from(bytes.load(at)).map_err(|_| Corrupt)?;
        inbox.runs.push(Run { segment, len: bytes.load(at + 8) });
    }
    bytes.append(place + 8 + runs * RUN, content, &mut inbox.bytes);
    Ok(Found::Record(8 + len.next_multiple_of(8), head & APART != 0))
}
