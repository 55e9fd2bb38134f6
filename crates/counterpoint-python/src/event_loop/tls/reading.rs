//! Decrypting what has come, straight into what the application's protocol is given.

use super::engine::{APP_WRITING_PAUSED, BUFFERED, Ends, SSL_READING_PAUSED, Tls};
use super::library::{WANT_READ, ZERO_RETURN};
use super::pipe::Input;
use super::{FATAL, PROTOCOL, RECORD, native_of};
use crate::boundary::{guarded, none};
use crate::event_loop::native::Loop;
use crate::event_loop::stream::{
    Reading, call_method, cut, place, set_len, view_of_buffer, with_room,
};
use crate::event_loop::turn::fatal_error;
use crate::executor::reference::Ref;
use pyo3::exceptions::{PyException, PyMemoryError};
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::critical_section::with_critical_section;

/// One part in so many of an object need not be used: to cut it costs more.
const SLACK: usize = 16;

/// Why there is no more.
#[derive(Clone, Copy, PartialEq)]
enum Stop {
    /// All that has come is decrypted.
    Empty,
    /// There is no more room for it.
    Full,
    /// The peer has closed its side.
    Closed,
    /// An error: libssl's queue has it, for asyncio's code to find.
    Failed,
}

/// Ciphertext in the loop's buffer, until somebody takes it.
struct Fresh<'a> {
    native: &'a Loop,
    buffer: Vec<u8>,
    count: usize,
}

impl Fresh<'_> {
    /// How much there is.
    fn len(fresh: Option<&Self>) -> usize {
        fresh.map_or(0, |fresh| fresh.count)
    }
}

/// Has `f` read the so much that is there, and what is fresh; then the loop's buffer is given back.
fn taking<R>(
    py: Python<'_>,
    ends: &Ends,
    fresh: &mut Option<Fresh<'_>>,
    unread: usize,
    f: impl FnOnce(Input<'_>) -> R,
) -> PyResult<R> {
    let fresh = fresh.take();
    let bytes = fresh.as_ref().map_or(&[][..], |fresh| &fresh.buffer[..fresh.count]);
    let read = || ends.pipe().reading(bytes, unread, f);
    let (done, kept) = with_critical_section(&ends.object(py), read);
    if let Some(fresh) = fresh {
        fresh.native.give_buffer(py, fresh.buffer);
    }
    if kept { Ok(done) } else { Err(PyMemoryError::new_err(())) }
}

/// Leaves what is fresh for later.
fn leaving(py: Python<'_>, ends: &Ends, fresh: &mut Option<Fresh<'_>>) -> PyResult<()> {
    taking(py, ends, fresh, ends.pipe().unread(), |_| ())
}

/// The socket of a TLS connection is readable.
pub fn read(reading: &Reading<'_, '_>) -> PyResult<()> {
    let py = reading.py;
    let tls = native_of(py, reading.protocol);
    let Some((tls, ends)) = tls.and_then(|tls| Some((tls, tls.ends(py)?))) else {
        return reading.buffered();
    };
    let native = reading.native;
    let mut buffer = native.take_buffer(py);
    let count = match reading.receive(buffer.as_mut_ptr(), buffer.len()) {
        Ok(count @ 1..) => count,
        other => {
            native.give_buffer(py, buffer);
            return other.map_or_else(|error| reading.refused(error), |_| reading.end());
        }
    };
    // SAFETY: whoever calls holds it.
    let protocol = unsafe { Bound::from_borrowed_ptr(py, reading.protocol) };
    let mut fresh = Some(Fresh { native, buffer, count });
    let done = if tls.may_read() {
        hand_over(tls, &ends, &protocol, fresh)
    } else {
        leaving(py, &ends, &mut fresh)
            .and_then(|()| protocol.call_method0(intern!(py, "_advance")).map(drop))
    };
    done.or_else(|error| {
        reading.failed(error, "Fatal error: protocol.buffer_updated() call failed.")
    })
}

/// `_do_read()`: gives the application what can be decrypted.
pub unsafe extern "C" fn do_read(protocol: *mut PyObject, _: *mut PyObject) -> *mut PyObject {
    guarded(|py| {
        // SAFETY: the receiver of a method.
        let (tls, protocol) =
            unsafe { (PROTOCOL.demand(py, protocol)?, Bound::from_borrowed_ptr(py, protocol)) };
        match tls.ends(py).filter(|_| tls.may_read()) {
            Some(ends) if ends.pipe().unread() != 0 => hand_over(tls, &ends, &protocol, None)?,
            _ => leave(&protocol)?,
        }
        Ok(none())
    })
}

/// Lets asyncio's code do it.
#[cold]
fn leave(protocol: &Bound<'_, PyAny>) -> PyResult<()> {
    protocol.call_method0(intern!(protocol.py(), "_do_read_as_asyncio")).map(drop)
}

fn hand_over(
    tls: &Tls,
    ends: &Ends,
    protocol: &Bound<'_, PyAny>,
    fresh: Option<Fresh<'_>>,
) -> PyResult<()> {
    let py = protocol.py();
    match hand_over_all(tls, ends, protocol, fresh) {
        Err(error) if error.is_instance_of::<PyException>(py) => {
            fatal_error(protocol, error, FATAL)
        }
        Err(error) => {
            // Ctrl-C, or an exit. What has come already is for when the loop is run again, and so
            // is the end of a pause.
            let left = tls.has_ends(py) && (ends.has_more() || tls.is(SSL_READING_PAUSED));
            if left {
                protocol.call_method0(intern!(py, "_read_soon"))?;
            }
            Err(error)
        }
        done => done,
    }
}

fn hand_over_all(
    tls: &Tls,
    ends: &Ends,
    protocol: &Bound<'_, PyAny>,
    mut fresh: Option<Fresh<'_>>,
) -> PyResult<()> {
    let py = protocol.py();
    let stop = hand_over_each(py, tls, ends, &mut fresh);
    if !tls.has_ends(py) {
        return stop.map(drop);
    }
    if fresh.is_some() {
        leaving(py, ends, &mut fresh)?; // get_buffer() has failed
    }
    match stop? {
        Stop::Closed | Stop::Failed => leave(protocol),
        Stop::Empty | Stop::Full => settle(tls, ends, protocol),
    }
}

/// Whatever the application does in a callback counts for what comes after it.
fn hand_over_each(
    py: Python<'_>,
    tls: &Tls,
    ends: &Ends,
    fresh: &mut Option<Fresh<'_>>,
) -> PyResult<Stop> {
    while let Some(application) = tls.reader(py) {
        let stop = if tls.is(BUFFERED) {
            give_buffer(py, ends, &application, fresh)?
        } else {
            give_data(py, ends, &application, fresh)?
        };
        if stop != Stop::Full {
            return Ok(stop);
        }
    }
    Ok(Stop::Empty)
}

/// What is to be done after reading.
fn settle(tls: &Tls, ends: &Ends, protocol: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = protocol.py();
    if !ends.no_backlog() {
        protocol.call_method0(intern!(py, "_do_write"))?;
    } else if ends.pipe().unsent() != 0 || tls.is(APP_WRITING_PAUSED) {
        protocol.call_method0(intern!(py, "_process_outgoing"))?;
    }
    if ends.pipe().unread() != 0 || tls.is(SSL_READING_PAUSED) {
        protocol.call_method0(intern!(py, "_control_ssl_reading"))?;
    }
    Ok(())
}

/// Decrypts into so much room; how much that was.
///
/// # Safety
/// So much room.
unsafe fn decrypt(ends: &Ends, input: Input<'_>, place: *mut u8, room: usize) -> (usize, Stop) {
    let mut filled = 0;
    ends.library.forget_errors();
    while filled < room {
        let mut count = 0;
        // SAFETY: alive as long as `ends`; so much room is left.
        unsafe {
            let rest = place.add(filled).cast();
            if (ends.library.read)(ends.ssl, rest, room - filled, &mut count) != 1 {
                return (filled, why(ends));
            }
            filled += count;
            if input.is_used_up() && (ends.library.decrypted)(ends.ssl) == 0 {
                return (filled, Stop::Empty);
            }
        }
    }
    (filled, Stop::Full)
}

#[cold]
fn why(ends: &Ends) -> Stop {
    // SAFETY: alive as long as `ends`; the call before returned 0.
    match unsafe { (ends.library.why)(ends.ssl, 0) } {
        WANT_READ => Stop::Empty,
        ZERO_RETURN => Stop::Closed,
        _ => Stop::Failed,
    }
}

/// For a Protocol: `data_received` with all there is.
fn give_data(
    py: Python<'_>,
    ends: &Ends,
    application: &Ref,
    fresh: &mut Option<Fresh<'_>>,
) -> PyResult<Stop> {
    // SAFETY: alive as long as `ends`.
    let begun = unsafe { (ends.library.has_pending)(ends.ssl) } != 0;
    let unread = ends.pipe().unread();
    let room = Fresh::len(fresh.as_ref()) + unread + if begun { RECORD } else { 0 };
    let native = fresh.as_ref().map(|fresh| fresh.native);
    let spare = native.and_then(|native| native.state.with(py, |state| state.spare.take(room)));
    let read = |input: Input<'_>| decrypted(py, ends, input, room, spare);
    let (data, stop) = taking(py, ends, fresh, unread, read)??;
    // What comes before an error is lost with it, as in asyncio.
    if let Some((data, room)) = data
        && stop != Stop::Failed
    {
        if let (Some(native), Some(room)) = (native, room) {
            native.state.with(py, |state| state.spare.lend(&data, room));
        }
        // SAFETY: live objects; the receiver is the first argument.
        let result = unsafe {
            let name = intern!(py, "data_received").as_ptr();
            Ref::owned(call_method(name, &[application.as_ptr(), data.as_ptr()]))
        };
        if let Some(native) = native {
            let before = native.state.with(py, |state| state.spare.give_back(data));
            drop(before);
        }
        result.ok_or_else(|| crate::boundary::fetch(py))?;
    }
    Ok(stop)
}

/// A bytes object, and for how much it has room, unless that is known.
type Roomy = (Ref, Option<usize>);

/// An object with what can be decrypted. It is made as long as the ciphertext, and cut: the plaintext is
/// hardly shorter, and never longer but for what is left of the record before.
fn decrypted(
    py: Python<'_>,
    ends: &Ends,
    input: Input<'_>,
    room: usize,
    spare: Option<Ref>,
) -> PyResult<(Option<Roomy>, Stop)> {
    let is_known = spare.is_some();
    let data = spare.or_else(|| with_room(room)).ok_or_else(|| crate::boundary::fetch(py))?;
    // SAFETY: a bytes object with that much room, which nobody else has: it may be written to, and cut.
    unsafe {
        let (filled, stop) = decrypt(ends, input, place(&data), room);
        if filled == 0 {
            return Ok((None, stop));
        }
        if room - filled <= room / SLACK {
            set_len(&data, filled);
            return Ok((Some((data, (!is_known).then_some(room))), stop));
        }
        let data = cut(data, filled).ok_or_else(|| crate::boundary::fetch(py))?;
        Ok((Some((data, Some(filled))), stop))
    }
}

/// For a BufferedProtocol: decrypts into its own buffer.
fn give_buffer(
    py: Python<'_>,
    ends: &Ends,
    application: &Ref,
    fresh: &mut Option<Fresh<'_>>,
) -> PyResult<Stop> {
    let hint = Fresh::len(fresh.as_ref()) + ends.pipe().unread();
    let view = view_of_buffer(py, application.as_ptr(), hint as ffi::Py_ssize_t)?;
    // SAFETY: the view's own memory, which is not moved while it is held.
    let read = |input: Input<'_>| unsafe { decrypt(ends, input, view.place(), view.len()) };
    let (filled, stop) = taking(py, ends, fresh, ends.pipe().unread(), read)?;
    drop(view);
    if filled > 0 && stop != Stop::Failed {
        let name = intern!(py, "buffer_updated").as_ptr();
        // SAFETY: live objects, or null if there is no memory.
        let result = unsafe {
            let count = Ref::owned(ffi::PyLong_FromSize_t(filled));
            let count = count.ok_or_else(|| crate::boundary::fetch(py))?;
            Ref::owned(call_method(name, &[application.as_ptr(), count.as_ptr()]))
        };
        result.ok_or_else(|| crate::boundary::fetch(py))?;
    }
    Ok(stop)
}
