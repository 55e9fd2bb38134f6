//! Which descriptors a loop watches, and for whom.

use super::queue::Due;
use crate::boundary::prefetch;
use crate::executor::reference::Ref;
use counterpoint_reactor::poller::{EDGE, Event, ONCE, Poller, READ, WRITE};
use counterpoint_reactor::sizes::Sizes;
use counterpoint_reactor::vain::Vain;
use pyo3::ffi::PyObject;
use std::io;
use std::mem;
use std::os::fd::RawFd;

/// Who is told that a descriptor is ready.
pub enum Watcher {
    /// A handle, which is called; and the object by which the descriptor was named, if that is no
    /// number. It is kept as asyncio keeps it: it may be that nobody else does.
    Handle(Ref, Option<Ref>),
    /// A socket transport of ours, which reads or writes.
    Transport(Ref),
    /// An operation on a socket, which is tried again; told once for each time that it asks.
    Operation(Ref),
}

impl Watcher {
    /// The object.
    pub fn object(&self) -> &Ref {
        match self {
            Watcher::Handle(object, _)
            | Watcher::Transport(object)
            | Watcher::Operation(object) => object,
        }
    }

    /// The object by which the descriptor was named.
    pub fn file(&self) -> Option<&Ref> {
        if let Watcher::Handle(_, file) = self { file.as_ref() } else { None }
    }

    fn is_named(&self, file: *mut PyObject) -> bool {
        self.file().is_some_and(|known| known.as_ptr() == file)
    }

    /// What is due for it after that event.
    #[inline(always)]
    fn due(&self, what: u32) -> Due {
        match self {
            Watcher::Handle(handle, _) => Due::Call(handle.share()),
            Watcher::Transport(transport) if what == READ => Due::Read(transport.share()),
            Watcher::Transport(transport) => Due::Write(transport.share()),
            Watcher::Operation(operation) => Due::Operation(operation.share()),
        }
    }
}

/// Who is told that a descriptor is readable or writable.
#[derive(Default)]
pub struct Watchers {
    pub reader: Option<Watcher>,
    pub writer: Option<Watcher>,
    /// What the kernel was asked to watch for. `ONCE` alone: it knows the descriptor, and tells
    /// nothing of it.
    watched: u32,
    /// Whether an operation has tried to receive and there was nothing yet.
    vain: Vain,
    /// How much was received.
    pub sizes: Sizes,
    /// Which transport of ours has the descriptor, and is not closing; 0: none.
    held: u64,
    /// That transport need be told of news alone: it has always read all there was.
    drains: bool,
}

impl Watchers {
    /// What the kernel is to watch for: once, if only operations wait; for news alone, if only a
    /// transport reads that drains the socket.
    fn wanted(&self) -> u32 {
        if self.drains
            && self.writer.is_none()
            && matches!(self.reader, Some(Watcher::Transport(_)))
        {
            return READ | EDGE;
        }
        let wanted = |watcher: &Option<Watcher>, what| match watcher {
            Some(Watcher::Operation(_)) => (what, ONCE),
            Some(_) => (what, 0),
            None => (0, ONCE),
        };
        let ((reader, first), (writer, second)) =
            (wanted(&self.reader, READ), wanted(&self.writer, WRITE));
        let what = reader | writer;
        if what == 0 { 0 } else { what | (first & second) }
    }

    /// Has the kernel watch for what is wanted.
    fn settle(&mut self, poller: &Poller, fd: RawFd) -> io::Result<()> {
        let wanted = self.wanted();
        let anew = poller.watch(fd, self.watched, wanted)?;
        if anew && self.watched != 0 {
            self.forget(); // it is another file's by now
        }
        self.watched = wanted;
        Ok(())
    }

    /// Forgets what was seen of the file.
    fn forget(&mut self) {
        (self.vain, self.sizes) = (Vain::default(), Sizes::default());
    }

    /// The transport does not drain the socket, or may not have: the kernel tells it of what is there,
    /// not of news alone, from now on.
    #[cold]
    fn tell_again(&mut self, poller: &Poller, fd: RawFd) {
        self.drains = false;
        // That fails if it was closed, and then there is nothing to tell.
        let _ = self.settle(poller, fd);
    }

    /// The kernel tells of news alone.
    #[inline(always)]
    fn is_edge(&self) -> bool {
        self.watched & EDGE == EDGE
    }

    /// The kernel tells nothing more of the descriptor; whoever was not told now is to be told yet.
    fn told_once(&mut self, poller: &Poller, event: Event) {
        self.watched = ONCE;
        let rest = self.wanted() & (READ | WRITE) & !event.what;
        if rest != 0 && poller.watch(event.fd, ONCE, rest | ONCE).is_ok() {
            self.watched = rest | ONCE;
        }
    }

    /// Who is told that.
    fn told(&self, what: u32) -> Option<&Watcher> {
        if what == READ { self.reader.as_ref() } else { self.writer.as_ref() }
    }

    fn place(&mut self, what: u32) -> &mut Option<Watcher> {
        if what == READ { &mut self.reader } else { &mut self.writer }
    }
}

/// Watchers by descriptor: the kernel gives out the lowest numbers, so they lie close.
#[derive(Default)]
pub struct Registry {
    slots: Vec<Watchers>,
}

impl Registry {
    /// The watchers of `fd`, if it has or had some.
    pub fn get(&self, fd: RawFd) -> Option<&Watchers> {
        self.slots.get(usize::try_from(fd).ok()?)
    }

    /// Has the processor fetch what is known of `fd`.
    #[inline(always)]
    pub fn prefetch(&self, fd: RawFd) {
        prefetch(self.slots.as_ptr().wrapping_offset(fd as isize));
    }

    #[inline(always)]
    fn get_mut(&mut self, fd: RawFd) -> Option<&mut Watchers> {
        self.slots.get_mut(usize::try_from(fd).ok()?)
    }

    /// Sets the reader or writer of `fd`; the one before, to be dropped outside the lock.
    pub fn set(
        &mut self,
        poller: &Poller,
        fd: RawFd,
        what: u32,
        watcher: Watcher,
    ) -> io::Result<Option<Watcher>> {
        let Ok(index) = usize::try_from(fd) else {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        };
        self.grow(fd, index)?;
        let slot = &mut self.slots[index];
        let before = slot.place(what).replace(watcher);
        // Also what is watched already: the descriptor may be another file's by now.
        if let Err(error) = slot.settle(poller, fd) {
            // Whoever asks holds its watcher still.
            drop(mem::replace(slot.place(what), before));
            return Err(error);
        }
        Ok(before)
    }

    /// Has a place for that descriptor, if it is one: any number may be given.
    fn grow(&mut self, fd: RawFd, index: usize) -> io::Result<()> {
        let Some(more @ 1..) = (index + 1).checked_sub(self.slots.len()) else { return Ok(()) };
        // SAFETY: a system call without pointers.
        if unsafe { libc::fcntl(fd, libc::F_GETFD) } < 0 {
            return Err(io::Error::last_os_error());
        }
        self.slots.try_reserve(more).map_err(|_| io::Error::from_raw_os_error(libc::ENOMEM))?;
        self.slots.resize_with(index + 1, Watchers::default);
        Ok(())
    }

    /// A transport has that descriptor from now on; of a TCP socket it knows when it is drained.
    pub fn hold(&mut self, fd: RawFd, by: u64, is_tcp: bool) -> io::Result<()> {
        let index = usize::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
        self.grow(fd, index)?;
        (self.slots[index].held, self.slots[index].drains) = (by, is_tcp);
        Ok(())
    }

    /// A transport that is told of news alone is told of what is there from now on.
    pub fn tell_again(&mut self, poller: &Poller, fd: RawFd) {
        if let Some(slot) = self.get_mut(fd).filter(|slot| slot.is_edge()) {
            slot.tell_again(poller, fd);
        }
    }

    /// Whether a transport is told of news alone.
    pub fn tells_of_news(&self, fd: RawFd) -> bool {
        self.get(fd).is_some_and(Watchers::is_edge)
    }

    /// A transport has it no more; whether it had.
    pub fn release(&mut self, fd: RawFd, by: u64) -> bool {
        let slot = self.get_mut(fd).filter(|slot| slot.held == by);
        slot.map(|slot| slot.held = 0).is_some()
    }

    /// Whether a transport has it.
    #[inline(always)]
    pub fn is_held(&self, fd: RawFd) -> bool {
        self.get(fd).is_some_and(|slot| slot.held != 0)
    }

    /// Watches again for an operation that was told, and for whoever else waits for `fd`.
    pub fn watch_on(&mut self, poller: &Poller, fd: RawFd) -> io::Result<()> {
        match self.get_mut(fd) {
            Some(slot) if slot.watched != slot.wanted() => slot.settle(poller, fd),
            _ => Ok(()),
        }
    }

    /// Whether that object is told of `fd`.
    pub fn is_told(&self, fd: RawFd, what: u32, object: *mut PyObject) -> bool {
        let watcher = self.get(fd).and_then(|slot| slot.told(what));
        watcher.is_some_and(|watcher| watcher.object().as_ptr() == object)
    }

    /// Whether there will be nothing to receive, as it was the last times.
    pub fn expects_nothing(&mut self, fd: RawFd) -> bool {
        self.get_mut(fd).is_some_and(|slot| slot.vain.is_expected())
    }

    /// Notes whether an attempt to receive, which nobody had told to make, was in vain.
    pub fn tried(&mut self, fd: RawFd, in_vain: bool) {
        if let Some(slot) = self.get_mut(fd) {
            slot.vain.tried(in_vain);
        }
    }

    /// Notes how much was received.
    #[inline(always)]
    pub fn received(&mut self, fd: RawFd, count: usize) {
        if let Some(slot) = self.get_mut(fd) {
            slot.sizes.received(count);
        }
    }

    /// The descriptor that was named by that object, which is closed and does not know it any more;
    /// unless somebody else is told what it is asked for.
    pub fn named(&self, file: *mut PyObject, what: u32) -> Option<RawFd> {
        let is_named = |slot: &Watchers| {
            [&slot.reader, &slot.writer].into_iter().flatten().any(|w| w.is_named(file))
        };
        let (fd, slot) = self.watched().find(|(_, slot)| is_named(slot))?;
        matches!(slot.told(what), Some(Watcher::Handle(..)) | None).then_some(fd)
    }

    /// Takes the reader or writer of `fd` away.
    pub fn remove(&mut self, poller: Option<&Poller>, fd: RawFd, what: u32) -> Option<Watcher> {
        let slot = self.get_mut(fd)?;
        let watcher = slot.place(what).take();
        let wanted = slot.wanted();
        // Who is told once at most need not be told never.
        let quiet = wanted == 0 && slot.watched & ONCE != 0;
        if watcher.is_some() && !quiet && slot.watched != wanted {
            // The kernel does not know a descriptor that was closed: nothing to take away then.
            let _ = poller.map(|poller| poller.watch(fd, slot.watched, wanted));
            slot.watched = wanted;
            if wanted == 0 {
                slot.forget();
            }
        }
        watcher
    }

    /// Has a new poller watch what the one before did.
    pub fn watch_again(&mut self, poller: &Poller) {
        for (fd, slot) in self.slots.iter_mut().enumerate() {
            slot.watched = 0;
            if slot.wanted() != 0 {
                // One that was closed meanwhile is watched no more.
                let _ = slot.settle(poller, fd as RawFd);
            }
        }
    }

    /// Tells who watches for what happened.
    #[inline(always)]
    pub fn dispatch(&mut self, poller: &Poller, event: Event, mut tell: impl FnMut(Due)) {
        let Some(slot) = self.get_mut(event.fd) else { return };
        if slot.watched & ONCE != 0 {
            slot.told_once(poller, event);
        }
        // Urgent data, an end or an error: a short read is not the last then.
        if slot.is_edge() && event.what != READ {
            slot.tell_again(poller, event.fd);
        }
        if event.what & READ != 0
            && let Some(reader) = &slot.reader
        {
            tell(reader.due(READ));
        }
        if event.what & WRITE != 0
            && let Some(writer) = &slot.writer
        {
            tell(writer.due(WRITE));
        }
    }

    /// The descriptors that are watched.
    pub fn watched(&self) -> impl Iterator<Item = (RawFd, &Watchers)> {
        let slots = self.slots.iter().enumerate();
        slots.filter(|(_, slot)| slot.wanted() != 0).map(|(fd, slot)| (fd as RawFd, slot))
    }

    /// Takes everything out, to be dropped outside the lock.
    #[must_use]
    pub fn clear(&mut self) -> Vec<Watchers> {
        std::mem::take(&mut self.slots)
    }
}
