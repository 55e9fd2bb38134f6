//! [`BarrierState`]: so many parties wait until all have arrived, again and again.
//!
//! The semantics are those of `threading.Barrier`; the mechanism is not. There a party that is
//! released leaves through a draining phase during which nobody may arrive. Here a generation
//! ends the moment it is complete: its waiters are granted their passage in one go, and the next
//! generation fills at once, because what a waiter is told is in the waiter and not in the state
//! of the barrier.
//!
//! The last to arrive may have something to do before the others go on (the *action*), which is
//! code of others and so runs outside the lock. Until [`BarrierState::finish`] the complete
//! generation waits in a list of its own; whoever comes meanwhile waits at the door and has not
//! arrived yet; and no timeout ends either wait, just as it does not while `threading.Barrier`
//! keeps its lock during the action. The time of one who waits at the door begins when it arrives.

use crate::wait::{Leaving, Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};
use counterpoint_trace::Durations;

/// The barrier was aborted, or reset, or somebody's time was up, or the action failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// How the wait of one party ended well; with the place in which it arrived, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    /// Go on.
    Go(usize),
    /// Run the action with no lock held, and report to [`BarrierState::finish`].
    Act(usize),
}

/// Who has arrived, and whether the barrier is whole.
pub struct BarrierState<N> {
    parties: usize,
    acts: bool,
    arrived: usize,
    /// The number of the generation that is filling.
    generation: u64,
    broken: bool,
    /// The generation before is complete and its action runs.
    acting: bool,
    /// The barrier was broken during the action that runs.
    disturbed: bool,
    filling: WaitList<N>,
    passing: WaitList<N>,
    entering: WaitList<N>,
    /// How long those waited who were not the last.
    pub waits: Durations,
}

impl<N> BarrierState<N> {
    /// For `parties`, at least 1; `acts` if the last one runs an action.
    pub fn new(parties: usize, acts: bool) -> Self {
        Self {
            parties,
            acts,
            arrived: 0,
            generation: 0,
            broken: false,
            acting: false,
            disturbed: false,
            filling: WaitList::new(),
            passing: WaitList::new(),
            entering: WaitList::new(),
            waits: Durations::new(),
        }
    }

    /// How many must arrive.
    pub fn parties(&self) -> usize {
        self.parties
    }

    /// How many have arrived and not gone on.
    pub fn waiting(&self) -> usize {
        if self.acting && !self.disturbed { self.parties } else { self.arrived }
    }

    /// Whether nobody can pass before a reset.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Everybody who waits is sent away, and whoever comes, until a reset.
    pub fn abort(&mut self, wakes: &mut Wakes<N>) {
        self.broken = true;
        self.disturbed = true;
        self.passing.claim_all(Claim::Refused, wakes);
        self.entering.claim_all(Claim::Refused, wakes);
        self.send_away(wakes);
    }

    /// Those who have arrived are sent away, and the barrier is whole again. A complete
    /// generation, whose action runs, is not disturbed.
    pub fn reset(&mut self, wakes: &mut Wakes<N>) {
        self.broken = false;
        self.send_away(wakes);
    }

    fn send_away(&mut self, wakes: &mut Wakes<N>) {
        self.arrived = 0;
        self.generation += 1;
        self.filling.claim_all(Claim::Refused, wakes);
    }

    /// One arrives; `Some` for the last.
    fn arrive(&mut self, wakes: &mut Wakes<N>) -> Option<Passage> {
        self.arrived += 1;
        if self.arrived < self.parties {
            return None;
        }
        let last = std::mem::take(&mut self.arrived) - 1;
        self.generation += 1;
        if !self.acts {
            self.filling.claim_all(Claim::Granted, wakes);
            return Some(Passage::Go(last));
        }
        (self.acting, self.disturbed) = (true, false);
        self.passing = std::mem::take(&mut self.filling);
        Some(Passage::Act(last))
    }

    /// The action has ended: the others go on, or the barrier breaks if it failed. An error if
    /// the barrier was broken meanwhile, so that the one who acted does not go on alone.
    pub fn finish(&mut self, succeeded: bool, wakes: &mut Wakes<N>) -> Result<(), Broken> {
        self.acting = false;
        if !succeeded {
            self.abort(wakes);
        }
        if self.disturbed {
            self.entering.claim_all(Claim::Permission, wakes);
            return Err(Broken);
        }
        self.passing.claim_all(Claim::Granted, wakes);
        self.entering.claim_all(Claim::Permission, wakes);
        Ok(())
    }

    /// Everyone who waits: for the others, for the action, or at the door.
    pub fn lists(&self) -> [&WaitList<N>; 3] {
        [&self.filling, &self.passing, &self.entering]
    }

    /// Forgets everybody, for a child after a fork.
    pub fn forget(&mut self) -> [WaitList<N>; 3] {
        (self.broken, self.acting, self.arrived) = (false, false, 0);
        self.generation += 1;
        [&mut self.filling, &mut self.passing, &mut self.entering].map(WaitList::disband)
    }
}

impl<N: Notify> State for BarrierState<N> {
    type Notify = N;

    /// A passage is nobody else's.
    fn unclaimed(&mut self, _: &Waiter<N>, _: &mut Wakes<N>) {}
}

/// Passing a barrier. A timeout breaks it; a cancellation takes the arrival back, as in the
/// stdlib, where an interrupted thread or a cancelled task is no longer counted.
pub struct Pass<N> {
    /// Its index and its generation, once it has arrived.
    arrival: Option<(usize, u64)>,
    notify: std::marker::PhantomData<fn(N)>,
}

impl<N> Default for Pass<N> {
    fn default() -> Self {
        Self { arrival: None, notify: std::marker::PhantomData }
    }
}

impl<N> Pass<N> {
    fn enter(&mut self, state: &mut BarrierState<N>, wakes: &mut Wakes<N>) -> Option<Passage> {
        if state.acting {
            return None;
        }
        self.arrival = Some((state.arrived, state.generation));
        state.arrive(wakes)
    }
}

impl<N: Notify> Source for Pass<N> {
    type State = BarrierState<N>;
    type Output = Result<Passage, Broken>;

    const STAYS_IN_LINE: bool = true;

    fn take(
        &mut self,
        state: &mut BarrierState<N>,
        claim: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        match (claim, self.arrival) {
            (Claim::Granted, Some((index, _))) => Some(Ok(Passage::Go(index))),
            (Claim::Refused, _) => Some(Err(Broken)),
            _ if state.broken => Some(Err(Broken)),
            // In a child after a fork: counted already, out of line, not told anything.
            (_, Some((_, generation))) if generation == state.generation => None,
            // A task whose time is over and which may not leave now: it queues anew.
            (_, Some(_)) if state.acting && !state.disturbed => None,
            (_, Some(_)) => Some(Err(Broken)),
            (_, None) => self.enter(state, wakes).map(Ok),
        }
    }

    fn list<'s>(&self, state: &'s mut BarrierState<N>) -> &'s mut WaitList<N> {
        match self.arrival {
            None => &mut state.entering,
            Some((_, generation)) if generation == state.generation => &mut state.filling,
            Some(_) => &mut state.passing,
        }
    }

    fn may_expire(&self, state: &BarrierState<N>) -> bool {
        self.arrival.is_some_and(|(_, at)| !state.acting || at == state.generation)
    }

    fn left(&mut self, state: &mut BarrierState<N>, why: Leaving, wakes: &mut Wakes<N>) {
        let counted = self.arrival.is_some_and(|(_, at)| at == state.generation);
        match why {
            Leaving::TimedOut if counted => state.abort(wakes),
            Leaving::Cancelled if counted => state.arrived -= 1,
            _ => {}
        }
    }

    fn waited(&mut self, state: &mut BarrierState<N>, nanoseconds: u64) {
        state.waits.record(nanoseconds);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
