//! [`State`]: the one word that is a semaphore.
//!
//! | bits  | content                                                                     |
//! |-------|-----------------------------------------------------------------------------|
//! | 0-19  | how many permits there are                                                  |
//! | 20-22 | the *change*: what somebody's account is to be changed by, -3 to 3, or `ALL`; |
//! |       | 3 is added, so that one permit more for him and one less here is one addition |
//! | 23    | *closed*: the change is being entered there, nothing is added to it any more |
//! | 24-31 | the *place* of that account in the table                                    |
//! | 32-62 | the *turn*: tells the change from any other                                 |
//! | 63    | a *counter*: nobody holds anything, and bits 0-30 are how many there are    |
//!
//! The turn comes round after 2^31 changes of somebody else's making. Who was held up for all of
//! them, and no more, between a look and a compare-and-swap, would take one for the other.

const PERMITS: u64 = (1 << 20) - 1;
const CHANGE: u32 = 20;
const CLOSED: u64 = 1 << 23;
const PLACE: u32 = 24;
const TURN: u32 = 32;
const COUNTER: u64 = 1 << 63;

/// The change that leaves the dead nothing.
pub(super) const ALL: i32 = 4;

/// The permits that can have holders; with more it is a counter.
const MOST_HELD: u32 = PERMITS as u32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State(pub(super) u64);

impl State {
    /// Of so many permits, all of which are there.
    pub(super) fn new(permits: u32) -> Self {
        if permits > MOST_HELD {
            return Self::counter(permits);
        }
        // Turn 0 is that of accounts which were never used.
        Self(1 << TURN | Self::bits(0)).with_permits(permits)
    }

    pub(super) fn counter(permits: u32) -> Self {
        Self(COUNTER).with_permits(permits)
    }

    pub(super) fn is_counter(self) -> bool {
        self.0 & COUNTER != 0
    }

    fn mask(self) -> u64 {
        if self.is_counter() { u64::from(u32::MAX >> 1) } else { PERMITS }
    }

    pub(super) fn permits(self) -> u32 {
        (self.0 & self.mask()) as u32
    }

    pub(super) fn with_permits(self, permits: u32) -> Self {
        let mask = self.mask();
        Self(self.0 & !mask | u64::from(permits) & mask)
    }

    pub(super) fn change(self) -> i32 {
        (self.0 >> CHANGE & 7) as i32 - 3
    }

    pub(super) fn place(self) -> usize {
        (self.0 >> PLACE & 0xff) as usize
    }

    pub(super) fn turn(self) -> u32 {
        (self.0 >> TURN) as u32 & (u32::MAX >> 1)
    }

    pub(super) fn closed(self) -> Self {
        Self(self.0 | CLOSED)
    }

    /// One permit goes to (1) or comes from (-1) the holder whose change this is. `None`: that is
    /// another change.
    #[inline]
    pub(super) fn plus(self, one: i32) -> Option<Self> {
        // With the bit for closed: 0 to 5, or 1 to 6, and an open one that is not `ALL`.
        let change = self.0 >> CHANGE & 15;
        let fits = if one > 0 { change <= 5 } else { change.wrapping_sub(1) <= 5 };
        let both = (1 << CHANGE) - 1;
        fits.then(|| Self(self.0.wrapping_add_signed(i64::from(one) * both)))
    }

    /// The next change, after this one was entered.
    pub(super) fn next(self, place: usize, change: i32) -> Self {
        let turn = u64::from(self.turn().wrapping_add(1) & (u32::MAX >> 1));
        let place = (place as u64 & 0xff) << PLACE;
        Self(self.0 & PERMITS | Self::bits(change) | place | turn << TURN)
    }

    fn bits(change: i32) -> u64 {
        ((change + 3) as u64 & 7) << CHANGE
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_kept_apart() {
        for change in -3..=ALL {
            let state = State::new(MOST_HELD).next(255, change);
            assert_eq!((state.permits(), state.place()), (MOST_HELD, 255));
            assert_eq!((state.change(), state.turn()), (change, 2));
            let empty = state.closed().with_permits(0);
            assert_eq!((empty.permits(), empty.place(), empty.change()), (0, 255, change));
            assert_eq!(empty.plus(1), None);
            assert!(!empty.is_counter());
        }
    }

    #[test]
    fn a_change_is_added_to_as_long_as_it_fits() {
        let state = State::new(5).next(1, 2);
        let more = state.plus(1).unwrap();
        assert_eq!((more.change(), more.permits(), more.place()), (3, 4, 1));
        assert_eq!(state.plus(1).unwrap().plus(1), None);
        assert_eq!(state.next(1, -3).plus(-1), None);
        assert_eq!(state.next(1, -3).plus(1).map(State::change), Some(-2));
        assert_eq!(state.next(1, ALL).plus(1), None);
    }

    #[test]
    fn the_turn_comes_round_and_leaves_the_rest() {
        let last = State(u64::from(u32::MAX >> 1) << TURN).with_permits(7);
        let next = last.next(3, 1);
        assert_eq!((next.turn(), next.permits(), next.is_counter()), (0, 7, false));
    }

    #[test]
    fn a_million_permits_have_no_holders() {
        assert!(!State::new(MOST_HELD).is_counter());
        let many = State::new(MOST_HELD + 1);
        assert!(many.is_counter());
        assert_eq!(many.permits(), MOST_HELD + 1);
        assert_eq!(State::counter(i32::MAX as u32).permits(), i32::MAX as u32);
    }
}
