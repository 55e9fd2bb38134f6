//! Summaries of durations as Python sees them: seconds.

use counterpoint_trace::{Durations, Summary};

/// (count, total, p50, p99, max), times in seconds.
pub type Waits = (u64, f64, f64, f64, f64);

/// A histogram: how many were at most so many seconds, and more than the entry before says.
pub type Buckets = Vec<(f64, u64)>;

/// The histogram of these durations.
pub fn buckets(durations: &Durations) -> Buckets {
    let counted = durations.buckets().into_iter();
    counted.map(|(bound, count)| (bound as f64 / 1e9, count)).collect()
}

/// From nanoseconds to Python's seconds.
pub fn seconds(summary: Summary) -> Waits {
    let [total, p50, p99, longest] =
        [summary.total, summary.p50, summary.p99, summary.longest].map(|ns| ns as f64 / 1e9);
    (summary.count, total, p50, p99, longest)
}
