//! [`SemaphoreState`]: a counter of permits, handed over to those who waited long.

use crate::clock::HAND_OFF_AFTER;
use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};
use counterpoint_trace::Durations;

/// A count of permits and those who wait for one.
pub struct SemaphoreState<N> {
    value: usize,
    /// Who waits.
    pub waiters: WaitList<N>,
    /// How long those waited who had to.
    pub waits: Durations,
}

impl<N> SemaphoreState<N> {
    /// With `value` permits.
    pub fn new(value: usize) -> Self {
        Self { value, waiters: WaitList::new(), waits: Durations::new() }
    }

    /// How many permits are free.
    #[inline]
    pub fn value(&self) -> usize {
        self.value
    }

    /// Takes a permit if there is one.
    #[inline]
    pub fn try_acquire(&mut self) -> bool {
        let free = self.value > 0;
        self.value -= usize::from(free);
        free
    }

    /// Returns `permits`; those who wait may try, or have one at once if they waited long.
    #[inline]
    pub fn release(&mut self, permits: usize, now: impl FnOnce() -> u64, wakes: &mut Wakes<N>) {
        self.value += permits;
        if !self.waiters.is_empty() {
            self.serve(permits, now(), wakes);
        }
    }

    fn serve(&mut self, permits: usize, now: u64, wakes: &mut Wakes<N>) {
        for _ in 0..permits {
            let Some(first) = self.waiters.first(wakes) else { return };
            let due = self.value > 0 && now.saturating_sub(first.since()) >= HAND_OFF_AFTER;
            let claim = if due { Claim::Granted } else { Claim::Permission };
            self.value -= usize::from(self.waiters.claim_first(claim, wakes) && due);
            wakes.discard(first);
        }
    }

    /// Sets the number of free permits, for a child after a fork.
    pub fn reset(&mut self, value: usize) -> WaitList<N> {
        self.value = value;
        self.waiters.disband()
    }
}

impl<N: Notify> State for SemaphoreState<N> {
    type Notify = N;

    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        self.value += usize::from(waiter.claimed() == Claim::Granted);
        if self.value > 0 {
            self.waiters.claim_first(Claim::Permission, wakes);
        }
    }
}

/// Acquiring one permit.
pub struct AcquirePermit<N>(std::marker::PhantomData<fn(N)>);

impl<N> Default for AcquirePermit<N> {
    fn default() -> Self {
        Self(std::marker::PhantomData)
    }
}

impl<N: Notify> Source for AcquirePermit<N> {
    type State = SemaphoreState<N>;
    type Output = ();

    fn take(
        &mut self,
        state: &mut SemaphoreState<N>,
        claim: Claim,
        _: &mut Wakes<N>,
    ) -> Option<()> {
        (claim == Claim::Granted || state.try_acquire()).then_some(())
    }

    fn list<'s>(&self, state: &'s mut SemaphoreState<N>) -> &'s mut WaitList<N> {
        &mut state.waiters
    }

    fn waited(&mut self, state: &mut SemaphoreState<N>, nanoseconds: u64) {
        state.waits.record(nanoseconds);
    }
}
