//! [`Spare`]: the bytes objects that protocols and streams were given last, for what is received next.
//!
//! Most protocols are done with what they were given when `data_received` returns. An object that
//! nobody else has then is used again: one of a kilobyte, which the C library makes and frees, takes a
//! fifth of the instructions of an echo. Who reads a stream mostly has what it read until it reads on, so
//! of what streams were given the last few are kept, to see whether the oldest is nobody else's by now.
//! Without a GIL it cannot be told whether somebody else has it.

use crate::executor::reference::Ref;
use pyo3::ffi::{self, Py_ssize_t, PyBytesObject};
use std::mem;

/// Smaller ones come from the interpreter, which is as fast.
const LEAST: usize = 512;

/// So many are kept of those that streams were given, and how large they are at most.
const HANDED: usize = 32;
const LARGEST: usize = 16 * 1024;

/// An object and for how many bytes it has room, which may be more than it is long.
type Roomy = (Ref, usize);

/// What is kept of it.
#[derive(Default)]
pub struct Spare {
    kept: Option<Roomy>,
    /// Where the last object is that was handed out, and its room, until it comes back or another is received.
    /// So it is no object's that died before whatever comes back was made.
    lent: (usize, usize),
    /// What streams were given, and which of it is the oldest.
    handed: [Option<Roomy>; HANDED],
    oldest: usize,
}

impl Spare {
    /// An object of that length, if the one that is kept is large enough and not much too large. What
    /// it holds is to be written.
    #[inline(always)]
    pub fn take(&mut self, len: usize) -> Option<Ref> {
        let fits = |&mut (_, room): &mut Roomy| len <= room && room - len <= room / 4;
        let is_free = |object: &Ref| {
            // SAFETY: a live object.
            cfg!(not(Py_GIL_DISABLED)) && unsafe { ffi::Py_REFCNT(object.as_ptr()) } == 1
        };
        let handed = |roomy: &mut Roomy| fits(roomy) && is_free(&roomy.0);
        let kept = self.kept.take_if(fits);
        let (object, room) = kept.or_else(|| self.handed[self.oldest].take_if(handed))?;
        self.lend(&object, room);
        // SAFETY: it has that much room, and nobody else has it.
        unsafe { set_len(&object, len) };
        Some(object)
    }

    /// The one that is kept, whatever its room, which is told.
    pub fn take_any(&mut self) -> Option<Roomy> {
        self.kept.take()
    }

    /// Another object is about to be made: what was handed out may be gone, and its place the next one's.
    #[inline(always)]
    pub fn begin(&mut self) {
        self.lent = (0, 0);
    }

    /// An object with so much room is handed out.
    #[inline(always)]
    pub fn lend(&mut self, object: &Ref, room: usize) {
        self.lent = (object.as_ptr() as usize, room);
    }

    /// An object that was handed out is a stream's now; what is to be dropped now.
    #[inline(always)]
    #[must_use]
    pub fn hand(&mut self, object: &Ref) -> Option<Ref> {
        let (place, room) = mem::take(&mut self.lent);
        if cfg!(Py_GIL_DISABLED)
            || object.as_ptr() as usize != place
            || !(LEAST..=LARGEST).contains(&room)
        {
            return None;
        }
        let before = self.handed[self.oldest].replace((object.share(), room));
        self.oldest = (self.oldest + 1) % HANDED;
        before.map(|(before, _)| before)
    }

    /// An object that was handed out is not needed any more by whoever calls; what is to be dropped
    /// now.
    #[inline(always)]
    #[must_use]
    pub fn give_back(&mut self, object: Ref) -> Option<Ref> {
        let (place, room) = mem::take(&mut self.lent);
        // SAFETY: a live object.
        let unshared = unsafe { ffi::Py_REFCNT(object.as_ptr()) } == 1;
        if cfg!(Py_GIL_DISABLED) || !unshared || object.as_ptr() as usize != place || room < LEAST {
            return Some(object);
        }
        self.kept.replace((object, room)).map(|(before, _)| before)
    }
}

/// Makes a bytes object shorter or longer.
///
/// # Safety
/// It has room for that, and the caller has the only reference.
pub unsafe fn set_len(object: &Ref, len: usize) {
    let bytes: *mut PyBytesObject = object.as_ptr().cast();
    // SAFETY: the caller's promise. A bytes object ends with a zero, for which there is room besides.
    unsafe {
        (*bytes).ob_base.ob_size = len as Py_ssize_t;
        forget_hash(bytes);
        *place(object).add(len) = 0;
    }
}

/// What is not computed yet is -1, which is no hash.
#[expect(deprecated, reason = "it is to be computed anew as long as it is kept")]
unsafe fn forget_hash(bytes: *mut PyBytesObject) {
    // SAFETY: a bytes object of which the caller has the only reference.
    unsafe { (*bytes).ob_shash = -1 };
}

/// Where its bytes are.
#[inline(always)]
pub fn place(object: &Ref) -> *mut u8 {
    // SAFETY: a bytes object.
    unsafe { ffi::PyBytes_AS_STRING(object.as_ptr()) }.cast_mut().cast()
}
