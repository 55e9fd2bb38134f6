//! [`Holders`]: the accounts of who holds how many permits, one for each process.

use super::state::{ALL, State};
use crate::door::{AtomicU64, Ordering};
use crate::sync::life::{self, Owner};

/// How many processes can hold permits of one semaphore: as many as a state has places for.
#[cfg(not(loom))]
pub const HOLDERS: usize = 256;
/// Three are enough for a model.
#[cfg(loom)]
pub const HOLDERS: usize = 3;

#[derive(Default)]
#[repr(C)]
struct Holder {
    /// The process. Changes from nobody to a process, and from a dead one without permits to
    /// another; so what looks like one's own is.
    owner: AtomicU64,
    /// Bits 0-31: how many permits it holds; 32-63: the turn of the last change that was entered.
    account: AtomicU64,
}

/// In memory that processes share. All zeros: nobody holds any.
#[repr(C, align(64))]
pub(super) struct Holders([Holder; HOLDERS]);

impl Default for Holders {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Holder::default()))
    }
}

impl Holders {
    /// Whatever a damaged state says, it is one of these.
    fn at(&self, place: usize) -> &Holder {
        &self.0[place % HOLDERS]
    }

    pub(super) fn owner(&self, place: usize) -> Option<Owner> {
        // ORDERING: none. Whose account this is was settled before the first change to it, and
        // comes with the state that has the change.
        Owner::of(self.at(place).owner.load(Ordering::Relaxed))
    }

    #[inline]
    pub(super) fn is_at(&self, place: usize, me: Owner) -> bool {
        self.at(place).owner.load(Ordering::Relaxed) == me.bits()
    }

    /// How many permits its process holds, as long as `state` is the state.
    pub(super) fn held(&self, place: usize, state: State) -> u32 {
        // ORDERING: Acquire keeps the caller's second look at the state behind this.
        let account = self.at(place).account.load(Ordering::Acquire);
        let pending = state.place() == place && turn(account) != state.turn();
        if pending { after(account, state.change()) } else { account as u32 }
    }

    /// Enters the change of a closed state in the account. `false`: it is no more the state.
    pub(super) fn enter(&self, closed: State, is_state: impl FnOnce() -> bool) -> bool {
        let cell = &self.at(closed.place()).account;
        // ORDERING: Acquire keeps the second look behind this: with it, what was read is the
        // account before or after this very change.
        let account = cell.load(Ordering::Acquire);
        if turn(account) == closed.turn() {
            return true;
        }
        if !is_state() {
            return false;
        }
        let new = u64::from(after(account, closed.change())) | u64::from(closed.turn()) << 32;
        life::mortal();
        // If that fails somebody else has entered it. The turn keeps those away who are late.
        // ORDERING: AcqRel, and Acquire, pair with each other: whoever goes on to the next state
        // hands on that the change is in the account.
        let _ = cell.compare_exchange(account, new, Ordering::AcqRel, Ordering::Acquire);
        true
    }

    /// The place that a process has unless another had it before.
    #[inline]
    pub(super) fn usual(&self, me: Owner) -> usize {
        me.pid() as usize % HOLDERS
    }

    /// All places, the likeliest first.
    pub(super) fn places(&self, me: Owner) -> impl Iterator<Item = usize> {
        let first = self.usual(me);
        (first..first + HOLDERS).map(|place| place % HOLDERS)
    }

    /// The place of a process, from now on. `None`: all are used.
    pub(super) fn place(&self, me: Owner) -> Option<usize> {
        self.places(me).find(|place| match self.owner(*place) {
            // Another thread of this process may be doing the same.
            None => self.settle_owner(*place, 0, me) || self.owner(*place) == Some(me),
            Some(owner) => owner == me,
        })
    }

    /// Gives the place of one process, which is dead and holds nothing, to another.
    pub(super) fn succeed(&self, place: usize, dead: Owner, me: Owner) -> bool {
        self.settle_owner(place, dead.bits(), me)
    }

    fn settle_owner(&self, place: usize, from: u64, me: Owner) -> bool {
        life::mortal();
        let (owner, relaxed) = (&self.at(place).owner, Ordering::Relaxed);
        owner.compare_exchange(from, me.bits(), relaxed, relaxed).is_ok()
    }
}

fn turn(account: u64) -> u32 {
    (account >> 32) as u32
}

fn after(account: u64, change: i32) -> u32 {
    if change == ALL { 0 } else { (account as u32).saturating_add_signed(change) }
}
