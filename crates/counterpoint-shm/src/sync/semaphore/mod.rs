//! [`Semaphore`]: a counter of permits that knows which process holds how many, and gets them back
//! from the dead.
//!
//! A permit is taken, and noted as this process's, by one compare-and-swap on one word, the
//! [`state`]. The note goes on to the table of [`holders`] when somebody else has one to make. So
//! there is no moment in which a permit is taken and nobody knows by whom, and a death at any
//! instant leaves a state that whoever comes next can go on from. The README beside this says how,
//! and when a semaphore is a mere *counter*, whose permits have no holders.

mod holders;
mod state;

pub use holders::HOLDERS;

use super::gate::Gate;
use super::life::{self, Owner};
use super::mutex::Locked;
use crate::bell::Slept;
use crate::door::{AtomicU32, AtomicU64, Ordering};
use holders::Holders;
use state::{ALL, State};

/// The largest value, `_multiprocessing.SemLock.SEM_VALUE_MAX`.
pub const MOST: u32 = i32::MAX as u32;

/// In memory that processes share. All zeros: no permits, and none allowed.
#[derive(Default)]
#[repr(C)]
pub struct Semaphore {
    state: AtomicU64,
    /// Whose permits were taken back, until somebody who gets one is told.
    news: AtomicU64,
    limit: AtomicU32,
    deaths: AtomicU32,
    gate: Gate,
    holders: Holders,
}

impl Semaphore {
    /// Sets it up, before anybody else sees it.
    pub fn set_up(&self, value: u32, limit: u32) {
        self.state.store(State::new(value).0, Ordering::Relaxed);
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes a permit if there is one.
    #[inline]
    pub fn try_acquire(&self, me: Owner) -> Option<Locked> {
        let me = me.process();
        loop {
            let state = self.state();
            let left = state.permits().checked_sub(1)?;
            if self.step(state, me, 1, left) {
                return Some(self.tell());
            }
        }
    }

    /// Takes a permit if there is one, or a dead process holds some.
    pub fn take(&self, me: Owner) -> Option<Locked> {
        self.try_acquire(me).or_else(|| self.reclaim(me).then(|| self.try_acquire(me)).flatten())
    }

    /// Returns a permit; `false`: there are as many as there may be.
    #[inline]
    pub fn release(&self, me: Owner) -> bool {
        let me = me.process();
        loop {
            let state = self.state();
            let permits = state.permits();
            if permits >= self.limit() {
                return false;
            }
            if self.step(state, me, -1, permits + 1) {
                self.gate.ring(1);
                return true;
            }
        }
    }

    /// Sleeps until there may be a permit, to `until` at most.
    pub fn sleep(&self, until: Option<u64>) -> Slept {
        self.gate.sleep_unless(until, || self.value() > 0)
    }

    /// How many permits there are.
    pub fn value(&self) -> u32 {
        State(self.state.load(Ordering::Relaxed)).permits()
    }

    /// How many there may be.
    pub fn limit(&self) -> u32 {
        self.limit.load(Ordering::Relaxed)
    }

    /// How many processes died with permits that were taken back.
    pub fn deaths(&self) -> u32 {
        self.deaths.load(Ordering::Relaxed)
    }

    /// Whether it has no holders, so that who dies with a permit has lost it.
    pub fn is_counter(&self) -> bool {
        self.state().is_counter()
    }

    #[inline]
    fn state(&self) -> State {
        // ORDERING: Acquire pairs with `replace`: the accounts are at least as new as the state.
        State(self.state.load(Ordering::Acquire))
    }

    #[inline]
    fn replace(&self, state: State, new: State) -> bool {
        life::mortal();
        let (order, relaxed) = (Ordering::AcqRel, Ordering::Relaxed);
        // ORDERING: AcqRel pairs with itself: what was done before a release is visible after the
        // acquisition that takes that permit; so is what was entered in the accounts.
        self.state.compare_exchange(state.0, new.0, order, relaxed).is_ok()
    }

    /// A process gets (1) or returns (-1) a permit, which leaves so many. `false`: the state is
    /// another one now.
    #[inline]
    fn step(&self, state: State, me: Owner, one: i32, left: u32) -> bool {
        if state.is_counter() {
            return self.replace(state, state.with_permits(left));
        }
        // The usual place first: it can be looked up while the state is still on its way.
        let (usual, place) = (self.holders.usual(me), state.place());
        let mine = place == usual && self.holders.is_at(usual, me) || self.holders.is_at(place, me);
        let may = one > 0 || state.change() > 0 || self.holders.held(place, state) > 0;
        match state.plus(one) {
            Some(new) if mine && may => self.replace(state, new),
            _ => self.step_after_another(state, me, one, left),
        }
    }

    fn step_after_another(&self, state: State, me: Owner, one: i32, left: u32) -> bool {
        let place = if one > 0 { self.place(me) } else { self.place_that_holds(state, me) };
        let Some(place) = place else { return self.replace(state, State::counter(left)) };
        self.settle(state).is_some_and(|settled| {
            self.replace(settled, settled.next(place, one).with_permits(left))
        })
    }

    /// The state after its change was entered; `None`: it is another one now.
    fn settle(&self, state: State) -> Option<State> {
        if state.change() == 0 {
            return Some(state);
        }
        let closed = state.closed();
        let is_closed = state == closed || self.replace(state, closed);
        (is_closed && self.holders.enter(closed, || self.state() == closed)).then_some(closed)
    }

    /// Where a process is noted, from now on. `None`: there is no room.
    fn place(&self, me: Owner) -> Option<usize> {
        self.holders.place(me).or_else(|| {
            (0..HOLDERS).find(|place| {
                let dead = self.holders.owner(*place).filter(|owner| owner.is_over());
                dead.is_some_and(|dead| {
                    self.reclaim_at(*place, dead);
                    // Nobody adds to the account of the dead: if it is empty it stays so.
                    self.held(*place) == Some(0) && self.holders.succeed(*place, dead, me)
                })
            })
        })
    }

    /// Where a process is noted with permits; it may be at several places.
    fn place_that_holds(&self, state: State, me: Owner) -> Option<usize> {
        self.holders.places(me).find(|place| {
            self.holders.owner(*place) == Some(me) && self.holders.held(*place, state) > 0
        })
    }

    /// How many permits are held at a place; `None`: it is a counter.
    fn held(&self, place: usize) -> Option<u32> {
        loop {
            let state = self.state();
            if state.is_counter() {
                return None;
            }
            let held = self.holders.held(place, state);
            if self.state() == state {
                return Some(held);
            }
        }
    }

    /// Takes back what a dead process holds.
    fn reclaim(&self, me: Owner) -> bool {
        (0..HOLDERS).any(|place| {
            let holder = self.holders.owner(place).filter(|owner| *owner != me.process());
            // The kernel is asked last, and about those who matter.
            holder.is_some_and(|holder| {
                self.held(place) > Some(0) && holder.is_over() && self.reclaim_at(place, holder)
            })
        })
    }

    fn reclaim_at(&self, place: usize, dead: Owner) -> bool {
        loop {
            let state = self.state();
            // Somebody may have done it, and another have got the place: he was there before his
            // first permit was in the state.
            if state.is_counter() || self.holders.owner(place) != Some(dead) {
                return false;
            }
            let held = self.holders.held(place, state);
            let Some(settled) = self.settle(state) else { continue };
            if held == 0 {
                return false;
            }
            let new = settled.next(place, ALL).with_permits(state.permits().saturating_add(held));
            if self.replace(settled, new) {
                self.news.store(dead.bits(), Ordering::Relaxed);
                self.deaths.fetch_add(1, Ordering::Relaxed);
                self.gate.ring(held);
                return true;
            }
        }
    }

    #[inline]
    fn tell(&self) -> Locked {
        if self.news.load(Ordering::Relaxed) == 0 { Locked::Free } else { self.tell_the_news() }
    }

    #[cold]
    fn tell_the_news(&self) -> Locked {
        Owner::of(self.news.swap(0, Ordering::Relaxed)).map_or(Locked::Free, Locked::FromDead)
    }
}
