//! Fetching ahead.
//!
//! With thousands of connections, what a callback needs of its own lies in no cache, one pointer behind
//! the other, and each takes as long as a hundred instructions. So while a callback runs, the processor
//! fetches for those behind it, a pointer further for each that it is nearer: of the third the
//! transport, of the second its connection, of the next what the connection points to. To do so for all
//! when they are queued would be too early: the kernel's own work for each drives them out again.

use super::native::Loop;
use super::queue::Due;
use super::stream::TRANSPORT;
use crate::executor::reference::Ref;
use pyo3::prelude::*;

/// With fewer callbacks in a turn all is in the caches anyhow.
const MANY: usize = 32;

/// The transport that has something to do.
fn transport<B>(due: Option<&Due<B>>) -> Option<&Ref> {
    if let Some(Due::Read(transport) | Due::Write(transport)) = due {
        Some(transport)
    } else {
        None
    }
}

impl Loop {
    /// The next callback of a turn that began with so many.
    #[inline(always)]
    pub fn next_due(&self, py: Python<'_>, count: usize) -> Option<Due> {
        let due = self.state.with(py, |state| state.ready.pop());
        if count >= MANY && transport(due.as_ref()).is_some() {
            self.fetch_ahead(py); // events come together: another's is likely behind
        }
        due
    }

    fn fetch_ahead(&self, py: Python<'_>) {
        let next = self.state.with(py, |state| {
            if let Some(third) = transport(state.ready.get(2)) {
                // SAFETY: a transport of ours, which the queue holds.
                unsafe { TRANSPORT.prefetch_field(third.as_ptr()) };
            }
            if let Some(second) = transport(state.ready.get(1)) {
                // SAFETY: as above.
                unsafe { TRANSPORT.prefetch(second.as_ptr()) };
            }
            transport(state.ready.get(0)).map(Ref::share)
        });
        if let Some(next) = next {
            // SAFETY: as above; the reference is ours.
            if let Some(connection) = unsafe { TRANSPORT.get(py, next.as_ptr()) } {
                connection.prefetch(py);
                self.state.with(py, |state| state.registry.prefetch(connection.watched()));
            }
        }
    }
}
