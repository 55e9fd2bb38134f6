//! Which descriptors a loop watches, and for whom.

use super::turn::Due;
use crate::executor::reference::Ref;
use counterpoint_reactor::poller::{Event, Poller, READ, WRITE};
use std::io;
use std::os::fd::RawFd;

/// Who is told that a descriptor is ready.
pub enum Watcher {
    /// A handle, which is called.
    Handle(Ref),
    /// A socket transport of ours, which reads or writes.
    Transport(Ref),
}

impl Watcher {
    /// The object.
    pub fn object(&self) -> &Ref {
        match self {
            Watcher::Handle(object) | Watcher::Transport(object) => object,
        }
    }

    /// What is due for it after that event.
    #[inline(always)]
    fn due(&self, what: u32) -> Due {
        match self {
            Watcher::Handle(handle) => Due::Call(handle.share()),
            Watcher::Transport(transport) if what == READ => Due::Read(transport.share()),
            Watcher::Transport(transport) => Due::Write(transport.share()),
        }
    }
}

/// Who is told that a descriptor is readable or writable.
#[derive(Default)]
pub struct Watchers {
    pub reader: Option<Watcher>,
    pub writer: Option<Watcher>,
    /// What the kernel was asked to watch for.
    watched: u32,
    /// The file, where its owner named it by that; a name for comparison, and not a reference.
    file: usize,
}

impl Watchers {
    fn wanted(&self) -> u32 {
        let wanted = |watcher: &Option<Watcher>, what| if watcher.is_some() { what } else { 0 };
        wanted(&self.reader, READ) | wanted(&self.writer, WRITE)
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
        let before = self.slots.get(index).map_or(0, |slot| slot.watched);
        let wanted = before | what;
        // Also what is watched already: the descriptor may be another file's by now.
        poller.watch(fd, before, wanted)?;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Watchers::default);
        }
        let slot = &mut self.slots[index];
        slot.watched = wanted;
        Ok(slot.place(what).replace(watcher))
    }

    /// Notes by which object a descriptor was named.
    pub fn name(&mut self, fd: RawFd, file: usize) {
        if let Some(slot) = usize::try_from(fd).ok().and_then(|index| self.slots.get_mut(index)) {
            slot.file = file;
        }
    }

    /// The descriptor that was named by that object, which is closed and does not know it any more.
    pub fn named(&self, file: usize) -> Option<RawFd> {
        self.watched().find(|(_, slot)| slot.file == file).map(|(fd, _)| fd)
    }

    /// Takes the reader or writer of `fd` away.
    pub fn remove(&mut self, poller: Option<&Poller>, fd: RawFd, what: u32) -> Option<Watcher> {
        let slot = self.slots.get_mut(usize::try_from(fd).ok()?)?;
        let watcher = slot.place(what).take();
        let wanted = slot.wanted();
        if watcher.is_some() && slot.watched != wanted {
            // The kernel does not know a descriptor that was closed: nothing to take away then.
            let _ = poller.map(|poller| poller.watch(fd, slot.watched, wanted));
            slot.watched = wanted;
        }
        watcher
    }

    /// Has a new poller watch what the one before did.
    pub fn watch_again(&self, poller: &Poller) {
        for (fd, slot) in self.watched() {
            // One that was closed meanwhile is watched no more.
            let _ = poller.watch(fd, 0, slot.watched);
        }
    }

    /// Tells who watches for what happened.
    #[inline(always)]
    pub fn dispatch(&self, event: Event, mut tell: impl FnMut(Due)) {
        let Some(slot) = self.get(event.fd) else { return };
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
