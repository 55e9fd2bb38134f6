//! Receiving: into a buffer of the loop, or, where much comes, into the object itself.

use super::spare::{place, set_len};
use crate::event_loop::native::Loop;
use crate::event_loop::registry::Watchers;
use crate::executor::reference::Ref;
use counterpoint_reactor::sizes::{Place, Sizes};
use pyo3::ffi::{self, Py_ssize_t, PyObject};
use pyo3::prelude::*;
use std::cell::Cell;
use std::ffi::c_int;
use std::io;
use std::os::fd::RawFd;

/// So much is received at once, at most.
pub const MOST: usize = 256 * 1024;

/// How large such an object is, at most. The C library maps and unmaps larger blocks each time.
const DIRECT: usize = 120 * 1024;

unsafe extern "C" {
    fn _PyBytes_Resize(bytes: *mut *mut PyObject, size: Py_ssize_t) -> c_int;
}

/// What the kernel has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Nobody knows.
    Unknown,
    Nothing,
    /// Something, most likely: what was expected was not all.
    More,
}

/// Where bytes come from, and whether that was all of them for now.
pub struct Source<'a> {
    pub fd: RawFd,
    pub left: &'a Cell<Left>,
    /// It is a pipe, or another file that does not make wait.
    pub is_pipe: bool,
}

impl Source<'_> {
    /// One system call. TCP gives less than there is room for only if it has no more, or tells of
    /// something that is no data.
    #[inline(always)]
    pub fn receive(&self, place: *mut u8, room: usize) -> io::Result<usize> {
        // SAFETY: so much room. The call does not wait, so the interpreter is kept.
        let count = unsafe {
            match self.is_pipe {
                false => libc::recv(self.fd, place.cast(), room, libc::MSG_DONTWAIT),
                true => libc::read(self.fd, place.cast(), room),
            }
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            if error.kind() == io::ErrorKind::WouldBlock {
                self.left.set(Left::Nothing);
            }
            return Err(error);
        };
        self.left.set(if count < room { Left::Nothing } else { Left::Unknown });
        Ok(count)
    }
}

/// Receives at most so many bytes, at the place that `place` names. `Ok(None)`: an exception is set.
///
/// With [`Sizes::place`], which is for streams, what is left though there would be room is
/// [`Left::More`].
#[inline(always)]
pub fn receive_bytes(
    py: Python<'_>,
    native: &Loop,
    source: &Source<'_>,
    most: usize,
    place: impl FnOnce(Sizes) -> Place,
) -> io::Result<Option<Ref>> {
    let sizes = |slot: &Watchers| slot.sizes;
    let sizes = native.state.with(py, |state| {
        state.spare.begin();
        state.registry.get(source.fd).map(sizes)
    });
    match place(sizes.unwrap_or_default()) {
        Place::Buffer => by_buffer(py, native, source, most),
        Place::Exactly(size) if size < most => exactly(py, native, source, size),
        _ => directly(py, native, source, most),
    }
}

/// Into an object of that size and one more, by which it is seen that this was all.
#[inline(never)]
fn exactly(
    py: Python<'_>,
    native: &Loop,
    source: &Source<'_>,
    size: usize,
) -> io::Result<Option<Ref>> {
    let room = size + 1;
    let spare = native.state.with(py, |state| state.spare.take(room));
    let is_new = spare.is_none();
    let Some(object) = spare.or_else(|| with_room(room)) else { return Ok(None) };
    let count = source.receive(place(&object), room)?;
    if count < size {
        note(py, native, source, count);
        return Ok(cut_and_lent(py, native, object, count));
    }
    if is_new {
        native.state.with(py, |state| state.spare.lend(&object, room));
    }
    if count == room {
        note(py, native, source, count);
        source.left.set(Left::More);
    } else {
        // SAFETY: it has more room, and nobody else has it.
        unsafe { set_len(&object, size) };
    }
    Ok(Some(object))
}

fn note(py: Python<'_>, native: &Loop, source: &Source<'_>, count: usize) {
    native.state.with(py, |state| state.registry.received(source.fd, count));
}

/// Through the loop's buffer, into an object of just the right size.
#[inline(always)]
fn by_buffer(
    py: Python<'_>,
    native: &Loop,
    source: &Source<'_>,
    most: usize,
) -> io::Result<Option<Ref>> {
    let mut buffer = native.take_buffer(py);
    let received = source.receive(buffer.as_mut_ptr(), buffer.len().min(most));
    let data = received.map(|count| {
        note(py, native, source, count);
        copied(py, native, &buffer[..count])
    });
    native.give_buffer(py, buffer);
    data
}

/// An object with those bytes: the spare one, if it is of that size.
#[inline(always)]
fn copied(py: Python<'_>, native: &Loop, bytes: &[u8]) -> Option<Ref> {
    let len = bytes.len();
    if let Some(object) = native.state.with(py, |state| state.spare.take(len)) {
        // SAFETY: an object of that length, which nobody else has.
        unsafe { place(&object).copy_from_nonoverlapping(bytes.as_ptr(), len) };
        return Some(object);
    }
    let start = bytes.as_ptr().cast();
    // SAFETY: so many bytes; a new reference, or null with an exception set.
    let object = unsafe { Ref::owned(ffi::PyBytes_FromStringAndSize(start, len as Py_ssize_t)) };
    if let Some(object) = &object {
        native.state.with(py, |state| state.spare.lend(object, len));
    }
    object
}

/// Into the object, which is cut to size unless the last one came back: then it does as it is for the
/// next time.
fn directly(
    py: Python<'_>,
    native: &Loop,
    source: &Source<'_>,
    most: usize,
) -> io::Result<Option<Ref>> {
    if most < DIRECT {
        let Some(object) = with_room(most) else { return Ok(None) };
        let count = source.receive(place(&object), most)?;
        note(py, native, source, count);
        return Ok(cut_and_lent(py, native, object, count));
    }
    let spare = native.state.with(py, |state| state.spare.take_any());
    let came_back = spare.is_some();
    let spare = spare.filter(|(_, room)| *room == DIRECT).map(|(object, _)| object);
    let Some(object) = spare.or_else(|| with_room(DIRECT)) else { return Ok(None) };
    let count = source.receive(place(&object), DIRECT)?;
    note(py, native, source, count);
    if came_back && count >= DIRECT / 2 {
        // SAFETY: it has that much room, and nobody else has it.
        unsafe { set_len(&object, count) };
        native.state.with(py, |state| state.spare.lend(&object, DIRECT));
        return Ok(Some(object));
    }
    Ok(cut_and_lent(py, native, object, count))
}

fn cut_and_lent(py: Python<'_>, native: &Loop, object: Ref, count: usize) -> Option<Ref> {
    let object = cut(object, count);
    if let Some(object) = &object {
        native.state.with(py, |state| state.spare.lend(object, count));
    }
    object
}

/// Whether what is received at once is not all that was asked for, and the kernel throws the rest away:
/// that of a message. Of a stream it keeps it.
pub fn is_cut(fd: RawFd, most: usize) -> bool {
    most > DIRECT && option(fd, libc::SO_TYPE).is_some_and(|kind| kind != libc::SOCK_STREAM)
}

/// Whether it is a socket of TCP's.
pub fn is_tcp(fd: RawFd) -> bool {
    option(fd, libc::SO_PROTOCOL) == Some(libc::IPPROTO_TCP)
}

/// Of which family a socket is; -1 if it is none.
pub fn domain(fd: RawFd) -> c_int {
    option(fd, libc::SO_DOMAIN).unwrap_or(-1)
}

fn option(fd: RawFd, name: c_int) -> Option<c_int> {
    let (mut value, mut size): (c_int, libc::socklen_t) = (0, size_of::<c_int>() as _);
    // SAFETY: a place for the value, of that size.
    let failed =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, name, (&raw mut value).cast(), &mut size) };
    (failed == 0).then_some(value)
}

/// Receives a message of at most so many bytes, whole. `Ok(None)`: an exception is set.
pub fn receive_message(source: &Source<'_>, most: usize) -> io::Result<Option<Ref>> {
    into_object(source, most)
}

/// Receives into an object with so much room, which is cut to size.
fn into_object(source: &Source<'_>, room: usize) -> io::Result<Option<Ref>> {
    let Some(object) = with_room(room) else { return Ok(None) };
    let count = source.receive(place(&object), room)?;
    Ok(cut(object, count))
}

/// A new object of that length; `None`: an exception is set.
pub fn with_room(len: usize) -> Option<Ref> {
    // SAFETY: a new reference, or null with an exception set.
    unsafe { Ref::owned(ffi::PyBytes_FromStringAndSize(std::ptr::null(), len as Py_ssize_t)) }
}

/// The same object, cut to size, as far as memory is concerned too; `None`: an exception is set.
pub fn cut(object: Ref, len: usize) -> Option<Ref> {
    let mut object = object.into_ptr();
    // SAFETY: nobody else knows the object. The call leaves null if it fails.
    unsafe {
        _PyBytes_Resize(&mut object, len as Py_ssize_t);
        Ref::owned(object)
    }
}
