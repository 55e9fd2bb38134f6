//! [`LimiterState`]: so many tokens, each lent to a known borrower, strictly first come first.
//!
//! The capacity limiter of trio and anyio. A token that is free while somebody waits is handed
//! over at once: there is no barging, because a limiter bounds long work, not a critical section.
//! Ours differs in that the tokens may grow or shrink from any thread, and that a borrower which
//! waits twice is refused when its second turn comes.

use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};
use counterpoint_trace::Durations;
use std::collections::HashSet;

/// As many tokens as anybody wants.
pub const UNLIMITED: usize = usize::MAX;

/// The borrower has a token already, and nobody may have two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyBorrowing;

/// The one who returns a token has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBorrowing;

/// The tokens, who has one, and who waits for one.
pub struct LimiterState<N> {
    total: usize,
    borrowers: HashSet<usize>,
    /// Who waits; a waiter's owner is the borrower.
    pub waiters: WaitList<N>,
    /// How long those waited who had to.
    pub waits: Durations,
}

impl<N> LimiterState<N> {
    /// With `total` tokens; [`UNLIMITED`] is allowed, and so is 0.
    pub fn new(total: usize) -> Self {
        let (waiters, waits) = (WaitList::new(), Durations::new());
        Self { total, borrowers: HashSet::new(), waiters, waits }
    }

    /// How many tokens there are, [`UNLIMITED`] if no end.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many are lent; more than the total after that shrank.
    pub fn borrowed(&self) -> usize {
        self.borrowers.len()
    }

    /// Whether `borrower` has a token.
    pub fn is_borrowing(&self, borrower: usize) -> bool {
        self.borrowers.contains(&borrower)
    }

    /// Who has a token, in no order.
    pub fn borrowers(&self) -> impl Iterator<Item = usize> {
        self.borrowers.iter().copied()
    }

    fn is_free(&self) -> bool {
        self.borrowers.len() < self.total
    }

    /// Changes how many tokens there are. What is lent stays lent.
    pub fn set_total(&mut self, total: usize, wakes: &mut Wakes<N>) {
        self.total = total;
        self.serve(wakes);
    }

    /// Takes a token if one is free and nobody waits; `None` if it has to wait.
    pub fn try_borrow(
        &mut self,
        borrower: usize,
        wakes: &mut Wakes<N>,
    ) -> Option<Result<(), AlreadyBorrowing>> {
        if self.is_borrowing(borrower) {
            return Some(Err(AlreadyBorrowing));
        }
        let now = self.is_free() && !self.waiters.is_awaited(wakes);
        now.then(|| {
            self.borrowers.insert(borrower);
            Ok(())
        })
    }

    /// Takes the token of `borrower` back.
    pub fn give_back(&mut self, borrower: usize, wakes: &mut Wakes<N>) -> Result<(), NotBorrowing> {
        if !self.borrowers.remove(&borrower) {
            return Err(NotBorrowing);
        }
        self.serve(wakes);
        Ok(())
    }

    fn serve(&mut self, wakes: &mut Wakes<N>) {
        while self.is_free()
            && let Some(first) = self.waiters.first(wakes)
        {
            let fresh = !self.is_borrowing(first.owner());
            let claim = if fresh { Claim::Granted } else { Claim::Refused };
            if self.waiters.claim_first(claim, wakes) && fresh {
                self.borrowers.insert(first.owner());
            }
            wakes.discard(first);
        }
    }

    /// Forgets borrowers and waiters, for a child after a fork.
    pub fn reset(&mut self) -> WaitList<N> {
        self.borrowers.clear();
        self.waiters.disband()
    }
}

impl<N: Notify> State for LimiterState<N> {
    type Notify = N;

    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        if waiter.claimed() == Claim::Granted {
            self.borrowers.remove(&waiter.owner());
            self.serve(wakes);
        }
    }
}

/// Borrowing one token. The waiter must be made with the borrower as its owner.
pub struct Borrow<N> {
    borrower: usize,
    notify: std::marker::PhantomData<fn(N)>,
}

impl<N> Borrow<N> {
    /// On behalf of `borrower`: any number that stands for one party.
    pub fn new(borrower: usize) -> Self {
        Self { borrower, notify: std::marker::PhantomData }
    }
}

impl<N: Notify> Source for Borrow<N> {
    type State = LimiterState<N>;
    type Output = Result<(), AlreadyBorrowing>;

    fn take(
        &mut self,
        state: &mut LimiterState<N>,
        claim: Claim,
        wakes: &mut Wakes<N>,
    ) -> Option<Self::Output> {
        match claim {
            Claim::Granted => Some(Ok(())),
            Claim::Refused => Some(Err(AlreadyBorrowing)),
            Claim::None | Claim::Permission => state.try_borrow(self.borrower, wakes),
        }
    }

    fn list<'s>(&self, state: &'s mut LimiterState<N>) -> &'s mut WaitList<N> {
        &mut state.waiters
    }

    fn waited(&mut self, state: &mut LimiterState<N>, nanoseconds: u64) {
        state.waits.record(nanoseconds);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::{Guarded, Party, Task};

    type Shared = Guarded<LimiterState<Task>>;

    fn limiter(total: usize) -> Shared {
        Guarded::new(LimiterState::new(total))
    }

    fn party(borrower: usize) -> Party<Borrow<Task>> {
        Party::thread(borrower, borrower as u64, Borrow::new(borrower))
    }

    fn give_back(limiter: &Shared, borrower: usize) -> Result<(), NotBorrowing> {
        limiter.change(|state, wakes| state.give_back(borrower, wakes))
    }

    #[test]
    fn lends_in_order_and_nobody_overtakes() {
        let limiter = limiter(1);
        assert_eq!(party(1).done(&limiter), Ok(()));
        let (mut second, mut third) = (party(2).queue(&limiter), party(3).queue(&limiter));
        assert_eq!(give_back(&limiter, 1), Ok(()));
        // The token is the second's, who has not run yet.
        assert!(party(4).queue(&limiter).waits(&limiter));
        assert_eq!(second.done(&limiter), Ok(()));
        assert!(third.waits(&limiter));
    }

    #[test]
    fn lends_nobody_two() {
        let limiter = limiter(2);
        assert_eq!(party(1).done(&limiter), Ok(()));
        assert_eq!(party(1).done(&limiter), Err(AlreadyBorrowing));
        assert_eq!(party(2).done(&limiter), Ok(()));
        let (mut once, mut twice) = (party(3).queue(&limiter), party(3).queue(&limiter));
        let mut last = party(4).queue(&limiter);
        assert_eq!(give_back(&limiter, 1), Ok(()));
        assert_eq!(give_back(&limiter, 2), Ok(()));
        assert_eq!((once.done(&limiter), twice.done(&limiter)), (Ok(()), Err(AlreadyBorrowing)));
        assert_eq!(last.done(&limiter), Ok(()));
    }

    #[test]
    fn takes_back_only_what_it_lent() {
        let limiter = limiter(1);
        assert_eq!(give_back(&limiter, 1), Err(NotBorrowing));
        assert_eq!(party(1).done(&limiter), Ok(()));
        assert_eq!(give_back(&limiter, 2), Err(NotBorrowing));
        assert_eq!((give_back(&limiter, 1), give_back(&limiter, 1)), (Ok(()), Err(NotBorrowing)));
    }

    #[test]
    fn grows_to_those_who_wait_and_shrinks_without_taking_back() {
        let limiter = limiter(0);
        let mut parties: Vec<_> = (1..=4).map(|number| party(number).queue(&limiter)).collect();
        limiter.change(|state, wakes| state.set_total(2, wakes));
        assert!(parties[0].done(&limiter).is_ok() && parties[1].done(&limiter).is_ok());
        assert!(parties[2].waits(&limiter));
        limiter.change(|state, wakes| state.set_total(1, wakes));
        assert_eq!(give_back(&limiter, 1), Ok(()));
        assert!(parties[2].waits(&limiter));
        limiter.change(|state, wakes| state.set_total(UNLIMITED, wakes));
        assert!(parties[2].done(&limiter).is_ok() && parties[3].done(&limiter).is_ok());
        assert_eq!(limiter.change(|state, _| (state.borrowed(), state.total())), (3, UNLIMITED));
    }

    #[test]
    fn one_who_gives_up_passes_its_token_on() {
        let limiter = limiter(1);
        assert_eq!(party(1).done(&limiter), Ok(()));
        let (mut second, mut third) = (party(2).queue(&limiter), party(3).queue(&limiter));
        let (mut fourth, mut fifth) = (party(4).queue(&limiter), party(5).queue(&limiter));
        second.abandon(&limiter);
        assert_eq!(give_back(&limiter, 1), Ok(()));
        third.abandon(&limiter);
        assert_eq!(fourth.expire(&limiter), Some(Ok(())));
        assert_eq!(fifth.expire(&limiter), None);
        assert_eq!(limiter.change(|state, _| state.borrowers().collect::<Vec<_>>()), [4]);
    }

    #[test]
    fn a_dead_task_gets_nothing_for_good() {
        let limiter = limiter(1);
        assert_eq!(party(1).done(&limiter), Ok(()));
        let mut dead = Party::task(2, 2, Borrow::new(2), Task::Dead).queue(&limiter);
        let mut next = party(3).queue(&limiter);
        assert_eq!(give_back(&limiter, 1), Ok(()));
        dead.abandon(&limiter);
        assert_eq!(next.done(&limiter), Ok(()));
        assert_eq!(limiter.change(|state, _| state.borrowed()), 1);
    }
}
