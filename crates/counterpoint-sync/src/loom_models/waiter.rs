//! The waiter's word: one decides, one spends, and one who sleeps is woken.

use super::{Racy, Tell, check};
use crate::waiter::{Claim, Parked, Waiter};
use loom::thread;

#[test]
fn either_the_claim_or_the_cancellation_comes_first() {
    check(|| {
        let waiter = Waiter::<Tell>::thread(1, 1);
        let claimer = waiter.clone();
        let claim = thread::spawn(move || claimer.claim(Claim::Permission));
        let cancelled = waiter.cancel();
        let claimed = claim.join().unwrap();
        assert!(cancelled != claimed);
        assert_eq!(waiter.claimed() == Claim::Permission, claimed);
    });
}

#[test]
fn of_two_claims_one_counts() {
    check(|| {
        let waiter = Waiter::<Tell>::thread(1, 1);
        let other = waiter.clone();
        let granted = thread::spawn(move || other.claim(Claim::Granted));
        let refused = waiter.claim(Claim::Refused);
        assert!(granted.join().unwrap() != refused);
    });
}

#[test]
fn a_claim_is_spent_once() {
    check(|| {
        let waiter = Waiter::<Tell>::thread(1, 1);
        assert!(waiter.claim(Claim::Granted));
        let other = waiter.clone();
        let theirs = thread::spawn(move || other.spend());
        let ours = waiter.spend();
        let both = [ours, theirs.join().unwrap()];
        assert!(both.contains(&Claim::Granted) && both.contains(&Claim::None));
    });
}

#[test]
fn one_who_sleeps_is_woken_and_sees_what_the_claimer_did() {
    check(|| {
        let waiter = Waiter::<Tell>::thread(1, 1);
        let told = loom::sync::Arc::new(Racy::default());
        let (claimer, tell) = (waiter.clone(), told.clone());
        let claim = thread::spawn(move || {
            tell.increment();
            assert!(claimer.claim(Claim::Permission) && claimer.wake());
        });
        assert_eq!(waiter.park(None), Parked::Woken);
        assert_eq!(told.read(), 1);
        claim.join().unwrap();
    });
}
