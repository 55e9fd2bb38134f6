//! [`CollectorState`]: what `wait` and `as_completed` wait on: how many futures have settled.
//!
//! One collector is told by many futures; one or more threads or tasks wait for it, and take what
//! settled, all or one at a time. What nobody has taken is here and nowhere else: whoever is woken, or
//! is about to wait, finds it, and of several who were woken for one the others wait again.

use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};
use std::collections::VecDeque;

/// What settled, how much of that is awaited, and who waits for it.
pub struct CollectorState<T, N> {
    settled: VecDeque<T>,
    /// How many must have settled before anybody is woken.
    needed: usize,
    /// Somebody said that this is enough, whatever the count.
    enough: bool,
    waiters: WaitList<N>,
}

impl<T, N> Default for CollectorState<T, N> {
    fn default() -> Self {
        Self {
            settled: VecDeque::new(),
            needed: usize::MAX,
            enough: false,
            waiters: WaitList::new(),
        }
    }
}

impl<T, N> CollectorState<T, N> {
    /// One more settled; `enough` ends the waiting whatever the count.
    pub fn tell(&mut self, item: T, enough: bool, wakes: &mut Wakes<N>) {
        self.settled.push_back(item);
        self.enough |= enough;
        self.wake_if_ready(wakes);
    }

    /// These had settled before it could watch them.
    pub fn put(&mut self, items: impl IntoIterator<Item = T>, wakes: &mut Wakes<N>) {
        self.settled.extend(items);
        self.wake_if_ready(wakes);
    }

    /// There is nothing to wait for any more: nobody waits from now on.
    pub fn release(&mut self, wakes: &mut Wakes<N>) {
        self.needed = 0;
        self.wake_if_ready(wakes);
    }

    fn wake_if_ready(&mut self, wakes: &mut Wakes<N>) {
        if self.is_ready() {
            self.waiters.claim_all(Claim::Permission, wakes);
        }
    }

    /// From now on, waits until so many have settled.
    pub fn need(&mut self, needed: usize) {
        self.needed = needed;
    }

    /// Whether enough have settled.
    pub fn is_ready(&self) -> bool {
        self.enough || self.settled.len() >= self.needed
    }

    /// Takes what settled so far, in order.
    pub fn take(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.settled)
    }

    /// Takes what settled first.
    pub fn pop(&mut self) -> Option<T> {
        self.settled.pop_front()
    }

    /// What settled and was not taken.
    pub fn settled(&self) -> impl Iterator<Item = &T> {
        self.settled.iter()
    }

    /// Who waits.
    pub fn waiters(&self) -> &WaitList<N> {
        &self.waiters
    }
}

impl<T, N: Notify> State for CollectorState<T, N> {
    type Notify = N;

    // Everybody who waits was told; there is nothing to pass on.
    fn unclaimed(&mut self, _: &Waiter<N>, _: &mut Wakes<N>) {}
}

/// Waiting until enough futures have settled.
pub struct Ready<T, N>(std::marker::PhantomData<fn(T, N)>);

impl<T, N> Default for Ready<T, N> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<T, N: Notify> Source for Ready<T, N> {
    type State = CollectorState<T, N>;
    type Output = ();

    fn take(&mut self, state: &mut Self::State, _: Claim, _: &mut Wakes<N>) -> Option<()> {
        state.is_ready().then_some(())
    }

    fn list<'s>(&self, state: &'s mut Self::State) -> &'s mut WaitList<N> {
        &mut state.waiters
    }
}
