//! [`LimiterState`]: so many tokens, each lent to a known borrower, strictly first come first.
//!
//! The capacity limiter of trio and anyio. A token that is free while somebody waits is handed
//! over at once: there is no barging, because a limiter bounds long work, not a critical section.
//! Ours differs in that the tokens may grow or shrink from any thread, and that a borrower which
//! waits twice is refused when its second turn comes.

use super::Who;
use crate::door::Arc;
use crate::wait::{Source, State};
use crate::waiter::{Claim, Notify, WaitList, Waiter, Wakes};
use counterpoint_trace::Durations;
use std::collections::HashMap;

/// As many tokens as anybody wants.
pub const UNLIMITED: usize = usize::MAX;

/// The borrower has a token already, and nobody may have two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadyBorrowing;

/// The one who returns a token has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBorrowing;

/// Who has a token, each with the task that it is, if it is one.
pub type Borrowers<N> = HashMap<usize, Option<Arc<Waiter<N>>>>;

/// The tokens, who has one, and who waits for one.
pub struct LimiterState<N> {
    total: usize,
    borrowers: Borrowers<N>,
    /// Who waits; a waiter's owner is the borrower.
    pub waiters: WaitList<N>,
    /// How long those waited who had to.
    pub waits: Durations,
}

impl<N> LimiterState<N> {
    /// With `total` tokens; [`UNLIMITED`] is allowed, and so is 0.
    pub fn new(total: usize) -> Self {
        let (waiters, waits) = (WaitList::new(), Durations::new());
        Self { total, borrowers: HashMap::new(), waiters, waits }
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
        self.borrowers.contains_key(&borrower)
    }

    /// The tasks that have a token, in no order.
    pub fn tasks(&self) -> impl Iterator<Item = &Arc<Waiter<N>>> {
        self.borrowers.values().flatten()
    }

    /// The tasks on all of which it is that somebody has to wait; none where a thread may end the
    /// wait, or no token that is returned would.
    pub fn culprits(&self) -> Vec<Arc<Waiter<N>>> {
        if self.is_free() || self.total == 0 {
            return Vec::new();
        }
        self.borrowers.values().cloned().collect::<Option<_>>().unwrap_or_default()
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
        who: &Who<N>,
        wakes: &mut Wakes<N>,
    ) -> Option<Result<(), AlreadyBorrowing>> {
        if self.is_borrowing(who.owner()) {
            return Some(Err(AlreadyBorrowing));
        }
        let now = self.is_free() && !self.waiters.is_awaited(wakes);
        now.then(|| {
            self.borrowers.insert(who.owner(), who.task().cloned());
            Ok(())
        })
    }

    /// Takes the token of `borrower` back.
    pub fn give_back(&mut self, borrower: usize, wakes: &mut Wakes<N>) -> Result<(), NotBorrowing> {
        let task = self.borrowers.remove(&borrower).ok_or(NotBorrowing)?;
        task.into_iter().for_each(|task| wakes.discard(task));
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
                let task = first.notify().is_some().then(|| first.clone());
                self.borrowers.insert(first.owner(), task);
            }
            wakes.discard(first);
        }
    }

    /// Forgets borrowers and waiters, for a child after a fork; the result is to be dropped
    /// outside the lock.
    pub fn reset(&mut self) -> (WaitList<N>, Borrowers<N>) {
        (self.waiters.disband(), std::mem::take(&mut self.borrowers))
    }
}

impl<N: Notify> State for LimiterState<N> {
    type Notify = N;

    fn unclaimed(&mut self, waiter: &Waiter<N>, wakes: &mut Wakes<N>) {
        if waiter.claimed() == Claim::Granted {
            // It has a token, which goes to the next.
            let _ = self.give_back(waiter.owner(), wakes);
        }
    }
}

/// Borrowing one token. The waiter must be made with the borrower as its owner.
pub struct Borrow<N>(pub Who<N>);

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
            Claim::None | Claim::Permission => state.try_borrow(&self.0, wakes),
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
    use std::collections::BTreeSet;

    type Shared = Guarded<LimiterState<Task>>;

    fn limiter(total: usize) -> Shared {
        Guarded::new(LimiterState::new(total))
    }

    fn party(borrower: usize) -> Party<Borrow<Task>> {
        Party::thread(borrower, borrower as u64, Borrow(Who::thread(borrower)))
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
        assert!(limiter.change(|state, _| state.borrowed() == 1 && state.is_borrowing(4)));
    }

    #[test]
    fn culprits_are_the_tasks_where_nobody_else_could_end_the_wait() {
        let limiter = limiter(2);
        let culprits = || {
            limiter.change(|state, _| {
                state.culprits().iter().map(|task| task.owner()).collect::<BTreeSet<_>>()
            })
        };
        let task = |owner: usize| {
            let identity = Waiter::task(owner, 0, Task::Alive);
            Party::task(owner, owner as u64, Borrow(Who::task_of(identity)), Task::Alive)
        };
        assert_eq!(task(3).done(&limiter), Ok(()));
        assert!(culprits().is_empty(), "a token is free");
        assert_eq!(party(2).done(&limiter), Ok(()));
        assert!(culprits().is_empty(), "a thread has one");
        let mut next = task(5).queue(&limiter);
        assert_eq!(give_back(&limiter, 2), Ok(()));
        // Handed over, though its task has not run since.
        assert_eq!(culprits(), [3, 5].into());
        limiter.change(|state, wakes| state.set_total(0, wakes));
        assert!(culprits().is_empty(), "to return one is not enough");
        limiter.change(|state, wakes| state.set_total(1, wakes));
        assert_eq!(culprits(), [3, 5].into());
        assert_eq!(next.done(&limiter), Ok(()));
        assert_eq!(limiter.change(|state, _| state.tasks().count()), 2);
    }

    #[test]
    fn a_dead_task_gets_nothing_for_good() {
        let limiter = limiter(1);
        assert_eq!(party(1).done(&limiter), Ok(()));
        let mut dead = Party::task(2, 2, Borrow(Who::thread(2)), Task::Dead).queue(&limiter);
        let mut next = party(3).queue(&limiter);
        assert_eq!(give_back(&limiter, 1), Ok(()));
        dead.abandon(&limiter);
        assert_eq!(next.done(&limiter), Ok(()));
        assert_eq!(limiter.change(|state, _| state.borrowed()), 1);
    }
}
