//! [`Deadline`]: when the time of one who waits is up, and when it stands still.

use super::{Source, Wait};

/// The end of a timeout, for whoever drives a [`Wait`]. It stands still as long as the source does
/// not let the wait expire (before the door of a barrier whose action runs), and then goes on with
/// what was left.
pub struct Deadline {
    at: Option<u64>,
    /// What is left of it while it stands still.
    left: Option<u64>,
}

impl Deadline {
    /// One at this moment; `None`: never.
    pub fn new(at: Option<u64>) -> Self {
        Self { at, left: None }
    }

    /// To when to sleep, now that `wait` is pending; `now` is the current time.
    pub fn of<O: Source>(&mut self, wait: &Wait<O>, now: impl Fn() -> u64) -> Option<u64> {
        let at = self.at?;
        match (wait.is_timed(), self.left) {
            (true, None) => {}
            (true, Some(left)) => (self.at, self.left) = (Some(now() + left), None),
            (false, None) => self.left = Some(at.saturating_sub(now())),
            (false, Some(_)) => {}
        }
        self.at.filter(|_| self.left.is_none())
    }
}
