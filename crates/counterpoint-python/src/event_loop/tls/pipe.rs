//! [`Pipe`]: the BIO through which libssl reads and writes, instead of the two `MemoryBIO`s.
//!
//! While a call of ours lasts, it reads what the socket has given, where that lies, and writes where
//! it is sent from, or to the socket itself. At all other times it leads to and from the `MemoryBIO`s, so that asyncio's code
//! finds there what it would find without it.

use super::library::{Bio, Library, Method, Ssl};
use crate::event_loop::stream::send;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use std::cell::Cell;
use std::ffi::{c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::RawFd;
use std::ptr;

/// All of `BIO_FLAGS_RWS` and `BIO_FLAGS_SHOULD_RETRY`.
const RETRY_FLAGS: c_int = 15;
/// `BIO_FLAGS_READ` and `BIO_FLAGS_SHOULD_RETRY`.
const RETRY_READ: c_int = 9;
/// `BIO_TYPE_SOURCE_SINK`.
const SOURCE_SINK: c_int = 0x400;
// `BIO_CTRL_PENDING`, `_FLUSH` and `_WPENDING`.
const PENDING: c_int = 10;
const FLUSH: c_int = 11;
const UNSENT: c_int = 13;

/// What the BIO knows; it owns this, and libssl's object the BIO.
pub struct Pipe {
    library: &'static Library,
    /// What is behind the `MemoryBIO`s; a reference to each.
    incoming: *mut Bio,
    outgoing: *mut Bio,
    /// There may be something in the one to be sent from, which only libssl writes to.
    may_be_unsent: Cell<bool>,
    /// What is read first, while a call lasts; the other is empty then.
    input: Cell<*const u8>,
    input_left: Cell<usize>,
    /// Where ciphertext goes, as far as there is room, while a call lasts.
    output: Cell<*mut u8>,
    output_room: Cell<usize>,
    output_used: Cell<usize>,
    /// The socket that it goes to instead, while a call lasts.
    socket: Cell<Option<RawFd>>,
    sent: Cell<usize>,
    refused: Cell<Option<c_int>>,
}

impl Pipe {
    /// Puts one between an SSL and its two memory BIOs; `None`: there is no memory.
    ///
    /// # Safety
    /// They belong together, and the library is theirs. The pipe lives as long as the SSL.
    pub unsafe fn lay(
        py: Python<'_>,
        library: &'static Library,
        ssl: *mut Ssl,
        [incoming, outgoing]: [*mut Bio; 2],
    ) -> Option<*const Self> {
        let pipe = Self {
            library,
            incoming,
            outgoing,
            may_be_unsent: Cell::new(true),
            input: Cell::new(ptr::null()),
            input_left: Cell::new(0),
            output: Cell::new(ptr::null_mut()),
            output_room: Cell::new(0),
            output_used: Cell::new(0),
            socket: Cell::new(None),
            sent: Cell::new(0),
            refused: Cell::new(None),
        };
        // SAFETY: the caller's promise; the SSL takes the only reference to the new BIO, and gives
        // back those that it had to the other two.
        unsafe {
            let bio = (library.new)(method(py, library)?);
            if bio.is_null() {
                return None;
            }
            (library.share)(incoming);
            (library.share)(outgoing);
            let pipe = Box::into_raw(Box::new(pipe));
            (library.set_data)(bio, pipe.cast());
            (library.set_ready)(bio, 1);
            (library.set_bios)(ssl, bio, bio);
            Some(pipe)
        }
    }

    /// How much ciphertext waits in the memory BIO.
    #[inline(always)]
    pub fn unread(&self) -> usize {
        // SAFETY: this has a reference.
        unsafe { self.library.pending(self.incoming) }
    }

    /// How much ciphertext is to be sent from the memory BIO.
    #[inline(always)]
    pub fn unsent(&self) -> usize {
        if !self.may_be_unsent.get() {
            return 0;
        }
        // SAFETY: this has a reference.
        let unsent = unsafe { self.library.pending(self.outgoing) };
        self.may_be_unsent.set(unsent != 0);
        unsent
    }

    /// Puts ciphertext into the memory BIO; false: there is no memory.
    pub fn feed(&self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            return true;
        }
        let len = bytes.len() as c_int;
        // SAFETY: this has a reference; so many bytes.
        unsafe { (self.library.put)(self.incoming, bytes.as_ptr().cast(), len) == len }
    }

    /// Takes ciphertext out of the memory BIO; how much.
    pub fn drain(&self, room: &mut [u8]) -> usize {
        let len = c_int::try_from(room.len()).unwrap_or(c_int::MAX);
        // SAFETY: this has a reference; so much room.
        let count = unsafe { (self.library.take)(self.outgoing, room.as_mut_ptr().cast(), len) };
        usize::try_from(count).unwrap_or(0)
    }

    /// Has `bytes` read by the calls that `f` makes, behind the so much that is unread; it is given a way to
    /// see that they are used up. What is left goes into the memory BIO; false: there is no memory.
    pub fn reading<R>(
        &self,
        bytes: &[u8],
        unread: usize,
        f: impl FnOnce(Input<'_>) -> R,
    ) -> (R, bool) {
        if bytes.is_empty() || unread != 0 {
            let fed = self.feed(bytes); // behind what came before
            return (f(Input { pipe: self, lent: false }), fed);
        }
        self.input.set(bytes.as_ptr());
        self.input_left.set(bytes.len());
        let done = f(Input { pipe: self, lent: true });
        let left = self.input_left.replace(0);
        self.input.set(ptr::null());
        (done, self.feed(&bytes[bytes.len() - left..]))
    }

    /// Has the calls that `f` makes write into `room`; how much of it they used. What does not fit
    /// goes into the memory BIO.
    pub fn writing<R>(&self, room: &mut [u8], f: impl FnOnce() -> R) -> (R, usize) {
        self.output.set(room.as_mut_ptr());
        self.output_room.set(room.len());
        let done = f();
        self.output.set(ptr::null_mut());
        self.output_room.set(0);
        (done, self.output_used.replace(0))
    }

    /// Has the calls that `f` makes write to a socket; how much that took, and what it refused the rest
    /// with. What it does not take now goes into the memory BIO.
    pub fn sending<R>(
        &self,
        socket: RawFd,
        f: impl FnOnce() -> R,
    ) -> (R, usize, Option<io::Error>) {
        self.socket.set(Some(socket));
        let done = f();
        self.socket.set(None);
        let refused = self.refused.take().map(io::Error::from_raw_os_error);
        (done, self.sent.replace(0), refused)
    }

    /// # Safety
    /// So much room.
    unsafe fn read(&self, place: *mut u8, room: usize) -> Option<usize> {
        let left = self.input_left.get();
        if left == 0 {
            let room = c_int::try_from(room).unwrap_or(c_int::MAX);
            // SAFETY: this has a reference; so much room.
            let count = unsafe { (self.library.take)(self.incoming, place.cast(), room) };
            return usize::try_from(count).ok().filter(|&count| count > 0);
        }
        let count = left.min(room);
        // SAFETY: so much is left of what lives as long as the call does.
        unsafe {
            ptr::copy_nonoverlapping(self.input.get(), place, count);
            self.input.set(self.input.get().add(count));
        }
        self.input_left.set(left - count);
        Some(count)
    }

    /// # Safety
    /// So many bytes.
    unsafe fn write(&self, bytes: *const u8, len: usize) -> Option<usize> {
        if let Some(socket) = self.socket.get() {
            // SAFETY: the caller's promise.
            return unsafe { self.send(socket, bytes, len) };
        }
        let used = self.output_used.get();
        if len > self.output_room.get() - used {
            self.output_room.set(used); // what follows goes the same way
            // SAFETY: the caller's promise.
            return unsafe { self.keep(bytes, len) };
        }
        // SAFETY: there is room, in what lives as long as the call does.
        unsafe { ptr::copy_nonoverlapping(bytes, self.output.get().add(used), len) };
        self.output_used.set(used + len);
        Some(len)
    }

    /// Puts ciphertext into the memory BIO that it is sent from later.
    ///
    /// # Safety
    /// So many bytes.
    unsafe fn keep(&self, bytes: *const u8, len: usize) -> Option<usize> {
        self.may_be_unsent.set(true);
        let len = c_int::try_from(len).unwrap_or(c_int::MAX);
        // SAFETY: this has a reference; so many bytes.
        let count = unsafe { (self.library.put)(self.outgoing, bytes.cast(), len) };
        usize::try_from(count).ok().filter(|&count| count > 0)
    }

    /// What is refused is lost, and the connection at its end: libssl need not know.
    ///
    /// # Safety
    /// So many bytes.
    unsafe fn send(&self, socket: RawFd, bytes: *const u8, len: usize) -> Option<usize> {
        if self.refused.get().is_some() {
            return Some(len);
        }
        // SAFETY: the caller's promise.
        let sent = match unsafe { send(socket, bytes, len) } {
            Ok(sent) => sent,
            Err(error) => {
                self.refused.set(error.raw_os_error());
                return Some(len);
            }
        };
        self.sent.set(self.sent.get() + sent);
        if sent < len {
            self.socket.set(None); // what follows goes the same way
            // SAFETY: what is left of so many bytes.
            if unsafe { self.keep(bytes.add(sent), len - sent) }.is_none() {
                self.refused.set(Some(libc::ENOMEM)); // its beginning must not be sent twice
            }
        }
        Some(len)
    }
}

/// What is being read.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    pipe: &'a Pipe,
    lent: bool,
}

impl Input<'_> {
    /// Whether all of it has been.
    #[inline(always)]
    pub fn is_used_up(self) -> bool {
        if self.lent { self.pipe.input_left.get() == 0 } else { self.pipe.unread() == 0 }
    }
}

/// What libcrypto calls for such a BIO.
fn method(py: Python<'_>, library: &'static Library) -> Option<*mut Method> {
    /// Made once, and shared by all threads, which only read it.
    struct Made(*mut Method);
    // SAFETY: as above.
    unsafe impl Send for Made {}
    // SAFETY: as above.
    unsafe impl Sync for Made {}
    static METHOD: PyOnceLock<Option<Made>> = PyOnceLock::new();
    // SAFETY: the functions have the types that are asked for.
    let make = || unsafe {
        let method =
            (library.new_method)(SOURCE_SINK | (library.new_index)(), c"counterpoint".as_ptr());
        if method.is_null() {
            return None;
        }
        (library.set_read)(method, read);
        (library.set_write)(method, write);
        (library.set_control)(method, control);
        (library.set_destroy)(method, destroy);
        Some(Made(method))
    };
    METHOD.get_or_init(py, make).as_ref().map(|made| made.0)
}

/// # Safety
/// A BIO of ours: libcrypto calls these for no other.
unsafe fn pipe_of<'a>(bio: *mut Bio) -> Option<(&'static Library, &'a Pipe)> {
    let library = Library::loaded()?;
    // SAFETY: the caller's promise; null before it is laid.
    unsafe { (library.data)(bio).cast::<Pipe>().as_ref() }.map(|pipe| (library, pipe))
}

/// Says how much was done, or that it is to be tried again, as all BIOs do.
///
/// # Safety
/// A BIO of ours.
unsafe fn answer(
    bio: *mut Bio,
    library: &Library,
    done: Option<usize>,
    count: *mut usize,
) -> c_int {
    // SAFETY: the caller's promise; libcrypto passes a place for the count.
    unsafe {
        (library.clear_flags)(bio, RETRY_FLAGS);
        *count = done.unwrap_or(0);
    }
    c_int::from(done.is_some())
}

unsafe extern "C" fn read(
    bio: *mut Bio,
    place: *mut c_char,
    room: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: libcrypto passes a BIO of ours, and so much room.
    unsafe {
        let Some((library, pipe)) = pipe_of(bio) else { return 0 };
        let done = pipe.read(place.cast(), room);
        let answer = answer(bio, library, done, count);
        if done.is_none() {
            (library.set_flags)(bio, RETRY_READ);
        }
        answer
    }
}

unsafe extern "C" fn write(
    bio: *mut Bio,
    bytes: *const c_char,
    len: usize,
    count: *mut usize,
) -> c_int {
    // SAFETY: libcrypto passes a BIO of ours, and so many bytes.
    unsafe {
        let Some((library, pipe)) = pipe_of(bio) else { return 0 };
        let done = if len == 0 { Some(0) } else { pipe.write(bytes.cast(), len) };
        answer(bio, library, done, count)
    }
}

unsafe extern "C" fn control(bio: *mut Bio, what: c_int, _: c_long, _: *mut c_void) -> c_long {
    // SAFETY: libcrypto passes a BIO of ours.
    let Some((_, pipe)) = (unsafe { pipe_of(bio) }) else { return 0 };
    match what {
        FLUSH => 1,
        PENDING => (pipe.unread() + pipe.input_left.get()) as c_long,
        UNSENT => pipe.unsent() as c_long,
        _ => 0, // among them whether it is at its end: more may always come
    }
}

unsafe extern "C" fn destroy(bio: *mut Bio) -> c_int {
    // SAFETY: libcrypto passes a BIO of ours, for the last time: its pipe is nobody else's then,
    // and gives back its references.
    unsafe {
        if let Some((library, pipe)) = pipe_of(bio) {
            (library.set_data)(bio, ptr::null_mut());
            (library.free)(pipe.incoming);
            (library.free)(pipe.outgoing);
            drop(Box::from_raw(ptr::from_ref(pipe).cast_mut()));
        }
    }
    1
}
