//! [`ReentrantState`]: a lock that its owner may take again.

use super::mutex::{Acquire, Contended, LockState, NOBODY};
use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};

/// A lock and how often its owner took it.
pub struct ReentrantState<N> {
    /// The lock below.
    pub lock: LockState<N>,
    count: usize,
}

impl<N> Default for ReentrantState<N> {
    fn default() -> Self {
        Self { lock: LockState::default(), count: 0 }
    }
}

impl<N> ReentrantState<N> {
    /// How often `owner` holds it.
    #[inline]
    pub fn count_of(&self, owner: usize) -> usize {
        if self.lock.owner() == owner { self.count } else { 0 }
    }

    /// How often anybody holds it.
    #[inline]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes it if it is free or already the owner's.
    #[inline]
    pub fn try_acquire(&mut self, owner: usize) -> bool {
        let held = self.lock.owner() == owner || self.lock.try_acquire(owner);
        self.count += usize::from(held);
        held
    }

    /// Undoes one acquisition if nobody is to be woken for it; `false` asks for
    /// [`release`](Self::release).
    #[inline]
    pub fn try_release(&mut self) -> bool {
        let simple = self.count > 1 || self.lock.try_release();
        self.count -= usize::from(simple);
        simple
    }

    /// Undoes one acquisition by its owner, waking the next if it was the last.
    pub fn release(&mut self, now: impl FnOnce() -> u64, wakes: &mut Wakes<N>) {
        if !self.try_release() {
            self.pass_on(now, wakes);
        }
    }

    /// Whoever it is handed to holds it once from this moment on, and not from when it wakes:
    /// its thread may run a signal handler before, which may take the lock and release it.
    fn pass_on(&mut self, now: impl FnOnce() -> u64, wakes: &mut Wakes<N>) {
        self.lock.release(now, wakes);
        self.count = usize::from(self.lock.owner() != NOBODY);
    }

    /// Frees it however often it is held; returns how often that was.
    pub fn release_all(&mut self, now: impl FnOnce() -> u64, wakes: &mut Wakes<N>) -> usize {
        let count = self.count;
        self.pass_on(now, wakes);
        count
    }

    /// Forgets owner and waiters, for a child after a fork.
    pub fn reset(&mut self) -> Option<Box<Contended<N>>> {
        self.count = 0;
        self.lock.reset()
    }

    /// Says how often its owner holds it, after [`release_all`](Self::release_all) and a new
    /// acquisition.
    pub fn set_count(&mut self, count: usize) {
        self.count = count;
    }
}

impl<N: Notify> State for ReentrantState<N> {
    type Notify = N;

    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        if self.lock.is_granted_to(waiter) {
            self.count = 0;
        }
        self.lock.unclaimed(waiter, wakes);
    }
}

/// Acquiring a reentrant lock.
pub struct AcquireReentrant<N>(pub Acquire<N>);

impl<N: Notify> Source for AcquireReentrant<N> {
    type State = ReentrantState<N>;
    type Output = ();

    fn take(
        &mut self,
        state: &mut ReentrantState<N>,
        claim: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<()> {
        if claim == Claim::Granted {
            return Some(());
        }
        if state.count_of(self.0.0.owner()) > 0 {
            state.count += 1;
            return Some(());
        }
        self.0.take(&mut state.lock, claim, wakes)?;
        state.count = 1;
        Some(())
    }

    fn list<'s>(&self, state: &'s mut ReentrantState<N>) -> &'s mut WaitList<N> {
        self.0.list(&mut state.lock)
    }

    fn waited(&mut self, state: &mut ReentrantState<N>, nanoseconds: u64) {
        self.0.waited(&mut state.lock, nanoseconds);
    }
}
