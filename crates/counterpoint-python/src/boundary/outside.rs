//! [`block_outside`]: how a thread waits for what other processes do to shared memory.

use super::blocking::GLANCE;
use super::task::runs_signal_handlers;
use counterpoint_shm::clock;
use counterpoint_shm::lane::Slept;
use counterpoint_shm::sync::Patience;
use pyo3::prelude::*;

/// Tries until it succeeds, detached while it sleeps. `None`: the deadline passed.
///
/// `attempt` is told whether to insist, which is to look whether the process that is in the way
/// still lives; it is the first time and whenever a sleep has ended without a wake-up. Why it
/// failed is what `sleep` is told, which sleeps for a while. An error: a signal handler raised.
pub fn block_outside<T, R: Copy + Send + Sync>(
    py: Python<'_>,
    deadline: Option<u64>,
    mut attempt: impl FnMut(bool) -> Result<T, R>,
    sleep: impl Fn(R, Option<u64>) -> Slept + Sync,
) -> PyResult<Option<T>> {
    let longest = if runs_signal_handlers() { GLANCE } else { u64::MAX };
    let (mut patience, mut insist) = (Patience::default(), false);
    loop {
        let refusal = match attempt(insist) {
            Ok(done) => return Ok(Some(done)),
            Err(refusal) => refusal,
        };
        if deadline.is_some_and(|deadline| clock::now() >= deadline) {
            if insist {
                return Ok(None);
            }
            // Once more, and then at the dead too: whatever the timeout, they are no holders.
            insist = true;
            continue;
        }
        let until = patience.until(deadline, longest);
        let slept = py.detach(|| sleep(refusal, until));
        insist = slept == Slept::TimedOut;
        if insist {
            patience.lengthen();
        }
        // Whoever was woken uses it first: nobody else was.
        if slept != Slept::Woken {
            py.check_signals()?;
        }
    }
}

/// The deadline for a wait of so many seconds, as `multiprocessing` takes them: None is for ever,
/// what is negative is not at all.
pub fn outside_deadline(block: bool, timeout: Option<f64>) -> PyResult<Option<u64>> {
    match timeout {
        _ if !block => Ok(Some(0)),
        None => Ok(None),
        Some(seconds) => match super::Timeout::seconds(seconds)? {
            super::Timeout::Now => Ok(Some(0)),
            timeout => Ok(timeout.deadline()),
        },
    }
}
