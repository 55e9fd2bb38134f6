//! [`Patience`]: how long somebody sleeps before looking for himself.

#[cfg(not(loom))]
use crate::clock;

/// The first look, after so many nanoseconds.
const FIRST: u64 = 5_000_000;

/// The longest sleep between two looks.
const LONGEST: u64 = 100_000_000;

/// The looks of one wait. They are what a death cannot take away: whoever was to wake us may have
/// been killed before it did, and a lock's holder before it released it.
pub struct Patience(u64);

impl Default for Patience {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Patience {
    /// When to look next, or the deadline if that is sooner. In a model there is no such help: a
    /// wake-up that is lost without a death is to be found.
    #[cfg(not(loom))]
    pub fn until(&self, deadline: Option<u64>, longest: u64) -> Option<u64> {
        let look = clock::now() + self.0.min(longest);
        Some(deadline.map_or(look, |deadline| deadline.min(look)))
    }

    /// To be called after a look in vain.
    pub fn lengthen(&mut self) {
        self.0 = (self.0 * 2).min(LONGEST);
    }
}
