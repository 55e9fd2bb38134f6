//! Summaries of durations as Python sees them: seconds.

use counterpoint_trace::Summary;

/// (count, total, p50, p99, max), times in seconds.
pub type Waits = (u64, f64, f64, f64, f64);

/// From nanoseconds to Python's seconds.
pub fn seconds(summary: Summary) -> Waits {
    let [total, p50, p99, longest] =
        [summary.total, summary.p50, summary.p99, summary.longest].map(|ns| ns as f64 / 1e9);
    (summary.count, total, p50, p99, longest)
}
