//! [`Durations`]: a lazily allocated HDR histogram of nanoseconds.

use hdrhistogram::Histogram;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The longest duration told apart, in nanoseconds: about one day.
const LONGEST: u64 = 100_000_000_000_000;

/// One significant digit keeps a histogram under 8 KiB; quantiles are right to about 3 %.
const DIGITS: u8 = 1;

/// A recorder of durations. Empty it is one null pointer wide.
#[derive(Default)]
pub struct Durations(Option<Arc<Mutex<Recorded>>>);

struct Recorded {
    total: u64,
    longest: u64,
    histogram: Histogram<u64>,
}

/// What a [`Durations`] saw; every time in nanoseconds.
#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// How many durations were recorded.
    pub count: u64,
    /// Their sum.
    pub total: u64,
    /// The median.
    pub p50: u64,
    /// The 99th percentile.
    pub p99: u64,
    /// The longest, exact.
    pub longest: u64,
}

impl Recorded {
    fn new() -> Self {
        // The bounds are constants that the histogram accepts; nothing here depends on input.
        let histogram = Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("constant bounds");
        Self { total: 0, longest: 0, histogram }
    }

    fn add(&mut self, nanoseconds: u64, times: u64) {
        self.total = self.total.saturating_add(nanoseconds.saturating_mul(times));
        self.longest = self.longest.max(nanoseconds);
        self.histogram.saturating_record_n(nanoseconds.max(1), times);
    }
}

impl Durations {
    /// An empty recorder; allocates nothing.
    pub const fn new() -> Self {
        Self(None)
    }

    fn recorded(&mut self) -> MutexGuard<'_, Recorded> {
        lock(self.0.get_or_insert_with(|| Arc::new(Mutex::new(Recorded::new()))))
    }

    /// Counts one duration.
    pub fn record(&mut self, nanoseconds: u64) {
        self.recorded().add(nanoseconds, 1);
    }

    /// Counts several at the price of one lock; neighbours that are equal at the price of one.
    pub fn record_all(&mut self, durations: &[u64]) {
        let mut inner = self.recorded();
        for equal in durations.chunk_by(PartialEq::eq) {
            inner.add(equal[0], equal.len() as u64);
        }
    }

    /// A second handle on the same recorder: it sees what this one records, and outlives it.
    pub fn share(&mut self) -> Durations {
        drop(self.recorded());
        Durations(self.0.clone())
    }

    /// Adds all that `other`, another recorder, recorded.
    pub fn merge(&mut self, other: &Durations) {
        let Some(theirs) = &other.0 else { return };
        // One lock at a time: two that merge into each other must not wait for each other.
        let (total, longest, histogram) = {
            let theirs = lock(theirs);
            (theirs.total, theirs.longest, theirs.histogram.clone())
        };
        let mut ours = self.recorded();
        ours.total = ours.total.saturating_add(total);
        ours.longest = ours.longest.max(longest);
        // Both have the same constant bounds, the only way in which adding can fail.
        ours.histogram.add(&histogram).expect("same bounds");
    }

    /// Whether no recorder was allocated yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many durations were at most so many nanoseconds, and more than the entry before says:
    /// from a microsecond on, twice as many each.
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        let Some(inner) = &self.0 else { return Vec::new() };
        let inner = lock(inner);
        if inner.histogram.is_empty() {
            return Vec::new(); // it would have one bucket
        }
        let steps = inner.histogram.iter_log(1_000, 2.0);
        steps.map(|step| (step.value_iterated_to(), step.count_since_last_iteration())).collect()
    }

    /// What was recorded so far.
    pub fn summary(&self) -> Summary {
        let Some(inner) = &self.0 else { return Summary::default() };
        let inner = lock(inner);
        let quantile = |q| inner.histogram.value_at_quantile(q).min(inner.longest);
        Summary {
            count: inner.histogram.len(),
            total: inner.total,
            p50: quantile(0.5),
            p99: quantile(0.99),
            longest: inner.longest,
        }
    }
}

/// A panic while recording leaves plain numbers behind: they stay readable.
fn lock(recorded: &Mutex<Recorded>) -> MutexGuard<'_, Recorded> {
    recorded.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[u64]) -> Durations {
        let mut durations = Durations::new();
        values.iter().for_each(|&value| durations.record(value));
        durations
    }

    #[test]
    fn empty_is_a_pointer_and_all_zero() {
        assert_eq!(size_of::<Durations>(), size_of::<usize>());
        assert!(Durations::new().is_empty());
        assert_eq!(Durations::new().summary(), Summary::default());
    }

    #[test]
    fn quantiles_are_close_and_the_longest_is_exact() {
        let seen = of(&(1..=1000).map(|n| n * 1000).collect::<Vec<_>>()).summary();
        assert_eq!((seen.count, seen.total, seen.longest), (1000, 500_500_000, 1_000_000));
        assert!((470_000..=530_000).contains(&seen.p50), "{seen:?}");
        assert!((950_000..=1_000_000).contains(&seen.p99), "{seen:?}");
    }

    #[test]
    fn out_of_range_is_counted_at_the_end() {
        let seen = of(&[0, u64::MAX]).summary();
        assert_eq!((seen.count, seen.longest), (2, u64::MAX));
    }

    #[test]
    fn a_share_sees_what_is_recorded_later() {
        let mut durations = Durations::new();
        let share = durations.share();
        durations.record(5);
        drop(durations);
        assert_eq!(share.summary().total, 5);
    }

    #[test]
    fn several_at_once_are_the_same_as_one_by_one() {
        let values = [7, 7, 7, 9, 0, u64::MAX, 9];
        let mut at_once = Durations::new();
        at_once.record_all(&values);
        assert_eq!(at_once.summary(), of(&values).summary());
    }

    #[test]
    fn counts_beyond_the_range_of_32_bits() {
        let mut durations = of(&[10]);
        let share = durations.share();
        (0..33).for_each(|_| durations.merge(&share));
        durations.merge(&of(&[1000]));
        assert_eq!(durations.summary().count, (1 << 33) + 1);
        assert_eq!(durations.recorded().histogram.count_at(10), 1 << 33);
    }

    #[test]
    fn a_histogram_is_as_small_as_it_says() {
        let mut durations = of(&[1]);
        assert!(durations.recorded().histogram.distinct_values() * size_of::<u64>() < 8192);
    }

    #[test]
    fn merge_adds_up() {
        let mut left = of(&[10, 20]);
        left.merge(&of(&[30]));
        left.merge(&Durations::new());
        assert_eq!((left.summary().count, left.summary().total), (3, 60));
    }

    #[test]
    fn buckets_count_everything_once() {
        let mut durations = Durations::new();
        assert!(durations.buckets().is_empty());
        assert!(durations.share().buckets().is_empty());
        [1, 900, 1_500, 3_000, 50_000].iter().for_each(|one| durations.record(*one));
        let buckets = durations.buckets();
        assert_eq!(buckets.iter().map(|(_, count)| count).sum::<u64>(), 5);
        assert_eq!(buckets[0].1, 2);
        assert!(buckets.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
