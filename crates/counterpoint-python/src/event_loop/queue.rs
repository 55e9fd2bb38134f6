//! [`Queue`]: what is to be done, in order.

use super::bare::Bare;
use super::handle::{HandleObject, visit_queued};
use crate::executor::reference::Ref;
use counterpoint_reactor::ready::{ROOM, Ready};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use std::collections::VecDeque;
use std::mem;

/// Something to do in this turn.
pub enum Due<B = Bare> {
    /// To call a handle: ours or, rarely, one of the stdlib's.
    Call(Ref),
    /// To call what nobody has a handle of.
    Bare(B),
    /// To have a transport read.
    Read(Ref),
    /// To have a transport write.
    Write(Ref),
    /// To try an operation on a socket again.
    Operation(Ref),
}

impl<B> Due<B> {
    /// The handle or transport, if there is one.
    fn holder(&self) -> Option<&Ref> {
        match self {
            Due::Call(object) | Due::Read(object) | Due::Write(object) | Due::Operation(object) => {
                Some(object)
            }
            Due::Bare(_) => None,
        }
    }

    /// Whether the event's news are the same for the same object.
    pub fn is_same<C>(&self, other: &Due<C>) -> bool {
        let (ours, theirs) = match (self, other) {
            (Due::Call(ours), Due::Call(theirs))
            | (Due::Read(ours), Due::Read(theirs))
            | (Due::Write(ours), Due::Write(theirs))
            | (Due::Operation(ours), Due::Operation(theirs)) => (ours, theirs),
            _ => return false,
        };
        ours.as_ptr() == theirs.as_ptr()
    }

    /// Whether it was scheduled, and is no event's.
    pub fn is_scheduled(&self) -> bool {
        matches!(self, Due::Call(_) | Due::Bare(_))
    }

    /// The same, with that instead of a bare callback.
    #[inline(always)]
    fn replaced<C>(self, f: impl FnOnce(B) -> Option<C>) -> Option<Due<C>> {
        Some(match self {
            Due::Bare(bare) => Due::Bare(f(bare)?),
            Due::Call(handle) => Due::Call(handle),
            Due::Read(transport) => Due::Read(transport),
            Due::Write(transport) => Due::Write(transport),
            Due::Operation(operation) => Due::Operation(operation),
        })
    }
}

impl Due {
    /// The handle or transport, or the function.
    pub fn object(&self) -> &Ref {
        match self {
            Due::Bare(bare) => &bare.function,
            Due::Call(object) | Due::Read(object) | Due::Write(object) | Due::Operation(object) => {
                object
            }
        }
    }

    /// It is dropped, as most are: it calls a handle.
    #[inline(always)]
    pub fn done(self) {
        if let Due::Call(handle) = self {
            drop(handle);
        }
    }

    /// The same, but for a handle where there is none.
    pub fn shown(&self, py: Python<'_>, owner: &Bound<'_, PyAny>) -> PyResult<Ref> {
        match self {
            Due::Bare(bare) => bare.shown(py, owner),
            _ => Ok(self.object().share()),
        }
    }
}

/// What is due. Bare callbacks, which are thrice as large as the others, lie beside, in the same order: the
/// less room there is between two entries, the more of them the caches hold.
#[derive(Default)]
pub struct Queue {
    entries: Ready<Due<()>>,
    bare: VecDeque<Bare>,
}

impl Queue {
    /// Queues it; whether the loop sleeps and is to be woken by who calls.
    #[inline(always)]
    #[must_use]
    pub fn push(&mut self, due: Due) -> bool {
        let bare = &mut self.bare;
        let entry = due.replaced(|callback| {
            bare.push_back(callback);
            Some(())
        });
        entry.is_some_and(|entry| self.entries.push(entry))
    }

    /// The next.
    #[inline(always)]
    pub fn pop(&mut self) -> Option<Due> {
        let bare = &mut self.bare;
        self.entries.pop()?.replaced(|()| bare.pop_front())
    }

    /// The one that is so far behind the next.
    #[inline(always)]
    pub fn get(&self, index: usize) -> Option<&Due<()>> {
        self.entries.get(index)
    }

    /// How many there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is nothing.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an event's news are among it.
    pub fn has(&self, due: &Due) -> bool {
        self.entries.iter().any(|other| due.is_same(other))
    }

    /// Whether the loop may sleep. If so, whoever pushes from now on is told to wake it.
    #[must_use]
    pub fn park(&mut self) -> bool {
        let may_sleep = self.entries.park();
        if may_sleep && self.bare.capacity() > ROOM {
            self.bare.shrink_to(ROOM);
        }
        may_sleep
    }

    /// The loop is awake again.
    pub fn unpark(&mut self) {
        self.entries.unpark();
    }

    /// All of it once more, in order.
    pub fn shared(&self) -> Vec<Due> {
        let mut bare = self.bare.iter();
        let share = |entry: &Due<()>| {
            Some(match entry {
                Due::Call(handle) => Due::Call(handle.share()),
                Due::Bare(()) => Due::Bare(bare.next()?.share()),
                Due::Read(transport) => Due::Read(transport.share()),
                Due::Write(transport) => Due::Write(transport.share()),
                Due::Operation(operation) => Due::Operation(operation.share()),
            })
        };
        self.entries.iter().filter_map(share).collect()
    }

    /// Takes it all out, to be dropped outside the lock.
    #[must_use]
    pub fn clear(&mut self) -> Cleared {
        Cleared { entries: self.entries.clear(), _bare: mem::take(&mut self.bare) }
    }

    /// Shows it to the collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let mut holders = self.entries.iter().filter_map(Due::holder);
        // SAFETY: this holds what is queued.
        holders.try_for_each(|object| unsafe { visit_queued(object, visit) })?;
        self.bare.iter().flat_map(Bare::held).try_for_each(|object| object.visit(visit))
    }
}

/// What was taken out.
pub struct Cleared {
    entries: VecDeque<Due<()>>,
    _bare: VecDeque<Bare>,
}

impl Cleared {
    /// The handles of ours among it.
    pub fn handles(&self) -> impl Iterator<Item = HandleObject> {
        let holders = self.entries.iter().filter_map(Due::holder);
        holders.filter_map(|object| HandleObject::check(object.as_ptr()))
    }
}
