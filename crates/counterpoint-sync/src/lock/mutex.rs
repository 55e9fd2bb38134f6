//! [`LockState`]: a mutual exclusion lock with an owner; barging allowed, starvation not.
//!
//! A release frees the lock and lets the first in line try for it, while whoever comes along may
//! take it first: that keeps throughput up. Once the first in line has waited
//! [`HAND_OFF_AFTER`], a release makes it the owner directly. The
//! scheme is WebKit's `WTF::Lock` with eventual fairness, as in Go's mutex and CPython's; ours
//! differs in that the waiter may be an asyncio task, and that an overtaken waiter keeps its
//! place.

use super::Who;
use crate::clock::HAND_OFF_AFTER;
use crate::door::Arc;
use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};
use counterpoint_trace::Durations;

/// The lock is free.
pub const NOBODY: usize = 0;

/// What only a lock that was waited for, or that a task holds, needs.
pub struct Contended<N> {
    /// Who waits.
    pub waiters: WaitList<N>,
    /// The task that holds the lock, by its waiter.
    pub holder: Option<Arc<Waiter<N>>>,
    /// Threads that a condition told while the lock was held: woken by the release, because
    /// they need the lock first of all.
    told: Vec<Arc<Waiter<N>>>,
    /// How long those waited who got it or gave up.
    pub waits: Durations,
}

impl<N> Default for Contended<N> {
    fn default() -> Self {
        let (waiters, waits) = (WaitList::new(), Durations::new());
        Self { waiters, holder: None, told: Vec::new(), waits }
    }
}

impl<N> Contended<N> {
    /// Takes out every reference to others, to be dropped outside the lock.
    pub fn clear(&mut self) -> (WaitList<N>, Option<Arc<Waiter<N>>>) {
        (self.waiters.disband(), self.holder.take())
    }

    fn is_quiet(&self) -> bool {
        self.waiters.is_empty() && self.holder.is_none() && self.told.is_empty()
    }
}

/// A lock: two words until somebody waits.
pub struct LockState<N> {
    owner: usize,
    contended: Option<Box<Contended<N>>>,
}

impl<N> Default for LockState<N> {
    fn default() -> Self {
        Self { owner: NOBODY, contended: None }
    }
}

impl<N> LockState<N> {
    /// Who holds it; [`NOBODY`] if it is free.
    #[inline]
    pub fn owner(&self) -> usize {
        self.owner
    }

    /// Takes it if it is free.
    #[inline]
    pub fn try_acquire(&mut self, owner: usize) -> bool {
        let free = self.owner == NOBODY;
        if free {
            self.owner = owner;
        }
        free
    }

    /// Frees it if that needs nothing else; `false` asks for [`release`](Self::release).
    #[inline]
    pub fn try_release(&mut self) -> bool {
        let simple = match &self.contended {
            None => true,
            Some(contended) => contended.is_quiet(),
        };
        if simple {
            self.owner = NOBODY;
        }
        simple
    }

    /// What it has beyond its owner, made now if need be.
    pub fn contended_mut(&mut self) -> &mut Contended<N> {
        self.contended.get_or_insert_default()
    }

    /// What it has beyond its owner.
    pub fn contended(&self) -> Option<&Contended<N>> {
        self.contended.as_deref()
    }

    /// How many wait.
    pub fn waiters(&self) -> usize {
        self.contended().map_or(0, |contended| contended.waiters.len())
    }

    /// Puts off the waking of threads, claimed by a condition of this lock, until its release;
    /// at once if nobody holds it.
    pub fn wake_on_release(&mut self, threads: Vec<Arc<Waiter<N>>>, wakes: &mut Wakes<N>) {
        if self.owner == NOBODY {
            wakes.remind(threads);
        } else if !threads.is_empty() {
            self.contended_mut().told.extend(threads);
        }
    }

    /// Remembers the task that took it, by the waiter with which it came.
    pub fn set_holder(&mut self, holder: Arc<Waiter<N>>, wakes: &mut Wakes<N>) {
        if let Some(old) = self.contended_mut().holder.replace(holder) {
            wakes.discard(old);
        }
    }

    /// Frees it, and lets the first in line try, or makes that one the owner if it is due.
    pub fn release(&mut self, now: impl FnOnce() -> u64, wakes: &mut Wakes<N>) {
        self.owner = NOBODY;
        let Some(contended) = &mut self.contended else { return };
        if let Some(holder) = contended.holder.take() {
            wakes.discard(holder);
        }
        wakes.remind(std::mem::take(&mut contended.told));
        let Some(first) = contended.waiters.first(wakes) else { return };
        if now().saturating_sub(first.since()) < HAND_OFF_AFTER {
            contended.waiters.claim_first(Claim::Permission, wakes);
        } else if contended.waiters.claim_first(Claim::Granted, wakes) {
            self.owner = first.owner();
            contended.holder = first.notify().is_some().then(|| first.clone());
        }
        wakes.discard(first);
    }

    /// Whether `waiter` was made the owner, and nobody has released that since.
    pub(super) fn is_granted_to(&self, waiter: &Waiter<N>) -> bool {
        waiter.claimed() == Claim::Granted && waiter.owner() == self.owner
    }

    /// Forgets owner and waiters, for a child after a fork.
    pub fn reset(&mut self) -> Option<Box<Contended<N>>> {
        self.owner = NOBODY;
        let mut contended = self.contended.take()?;
        contended.told.clear();
        contended.waiters = contended.waiters.disband();
        Some(contended)
    }
}

impl<N: Notify> State for LockState<N> {
    type Notify = N;

    /// What was granted may be gone: anybody may release a lock, also that of one who has not come
    /// for it yet. Then who holds it now goes on holding it.
    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        if self.is_granted_to(waiter) || self.owner == NOBODY {
            self.release(|| 0, wakes);
        }
    }
}

/// Acquiring a lock. A task is remembered as the holder.
pub struct Acquire<N>(pub Who<N>);

impl<N: Notify> Source for Acquire<N> {
    type State = LockState<N>;
    type Output = ();

    fn take(&mut self, lock: &mut LockState<N>, claim: Claim, wakes: &mut Wakes<N>) -> Option<()> {
        if claim == Claim::Granted {
            return Some(());
        }
        if !lock.try_acquire(self.0.owner()) {
            return None;
        }
        if let Some(task) = self.0.task() {
            lock.set_holder(task.clone(), wakes);
        }
        Some(())
    }

    fn list<'s>(&self, lock: &'s mut LockState<N>) -> &'s mut WaitList<N> {
        &mut lock.contended_mut().waiters
    }

    fn waited(&mut self, lock: &mut LockState<N>, nanoseconds: u64) {
        lock.contended_mut().waits.record(nanoseconds);
    }
}
