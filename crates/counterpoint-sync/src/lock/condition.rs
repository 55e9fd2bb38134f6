//! [`SignalState`]: who waits to be told, for `Condition` (told one by one) and `Event` (told all
//! at once, and the telling stays).

use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};
use counterpoint_trace::Durations;

/// A flag and those who wait for it, or for a notification.
pub struct SignalState<N> {
    set: bool,
    /// Who waits.
    pub waiters: WaitList<N>,
    /// How long those waited who had to.
    pub waits: Durations,
}

impl<N> Default for SignalState<N> {
    fn default() -> Self {
        Self { set: false, waiters: WaitList::new(), waits: Durations::new() }
    }
}

impl<N> SignalState<N> {
    /// Whether the flag is up.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set
    }

    /// Raises the flag and tells everyone. `Permission`, not `Granted`: nobody who came later is
    /// to inherit what one of these does not use.
    pub fn set(&mut self, wakes: &mut Wakes<N>) {
        self.set = true;
        self.waiters.claim_all(Claim::Permission, wakes);
    }

    /// Lowers the flag.
    pub fn clear(&mut self) {
        self.set = false;
    }

    /// Tells the first `n` in line; returns how many there were.
    pub fn notify(&mut self, n: usize, wakes: &mut Wakes<N>) -> usize {
        (0..n).take_while(|_| self.waiters.claim_first(Claim::Granted, wakes)).count()
    }

    /// Forgets flag and waiters, for a child after a fork.
    pub fn reset(&mut self) -> WaitList<N> {
        self.set = false;
        self.waiters.disband()
    }
}

impl<N: Notify> State for SignalState<N> {
    type Notify = N;

    /// A notification that its receiver will not act on goes to the next, as in asyncio.
    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        if waiter.claimed() == Claim::Granted {
            self.waiters.claim_first(Claim::Granted, wakes);
        }
    }
}

/// Waiting to be told, or for the flag.
pub struct AwaitSignal<N>(std::marker::PhantomData<fn(N)>);

impl<N> Default for AwaitSignal<N> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<N: Notify> Source for AwaitSignal<N> {
    type State = SignalState<N>;
    type Output = ();

    /// A notification that comes while a signal handler runs must find its receiver.
    const STAYS_IN_LINE: bool = true;

    fn take(&mut self, state: &mut SignalState<N>, claim: Claim, _: &mut Wakes<N>) -> Option<()> {
        (state.set || claim != Claim::None).then_some(())
    }

    fn list<'s>(&self, state: &'s mut SignalState<N>) -> &'s mut WaitList<N> {
        &mut state.waiters
    }

    fn waited(&mut self, state: &mut SignalState<N>, nanoseconds: u64) {
        state.waits.record(nanoseconds);
    }
}
