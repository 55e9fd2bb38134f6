//! Forks come between two turns of every dispatcher.
//!
//! The child of a fork has one thread. What a pool's dispatcher had locked at that moment would
//! stay locked there, and it locks jobs, whose futures the child may ask. Every thread that has an
//! interpreter does so only while the forking one cannot fork; the dispatcher has none. So whoever
//! forks holds the state of every pool meanwhile, and with it all that is locked under it.

use crate::shared::Shared;
use crate::state::PoolState;
use counterpoint_sync::waiter::Notify;
use std::any::Any;
use std::cell::RefCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

static POOLS: Mutex<Vec<Weak<dyn Hold>>> = Mutex::new(Vec::new());

thread_local! {
    /// By the thread that forks.
    static HELD: RefCell<Option<Everything>> = const { RefCell::new(None) };
}

struct Everything {
    _states: Vec<Box<dyn Any>>,
    _pools: MutexGuard<'static, Vec<Weak<dyn Hold>>>,
}

trait Hold: Send + Sync {
    /// The state, locked until the result is dropped; `None`: it is a parent's.
    fn hold(self: Arc<Self>) -> Option<Box<dyn Any>>;
}

struct Held<N: 'static, K: 'static> {
    // Dropped first.
    _state: MutexGuard<'static, PoolState<N, K>>,
    _pool: Arc<Shared<N, K>>,
}

impl<N: Notify + Send + Sync + 'static, K: Send + Sync + 'static> Hold for Shared<N, K> {
    fn hold(self: Arc<Self>) -> Option<Box<dyn Any>> {
        if !self.is_ours() {
            return None;
        }
        let state = self.lock();
        // SAFETY: what it borrows from is kept with it, and dropped after it.
        let state = unsafe {
            std::mem::transmute::<MutexGuard<'_, _>, MutexGuard<'static, PoolState<N, K>>>(state)
        };
        Some(Box::new(Held { _state: state, _pool: self }))
    }
}

/// Has this pool held by whoever forks, as long as it is there.
pub fn watch<N, K>(pool: &Arc<Shared<N, K>>)
where
    N: Notify + Send + Sync + 'static,
    K: Send + Sync + 'static,
{
    let weak = Arc::downgrade(pool);
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    pools.retain(|pool| pool.strong_count() > 0);
    pools.push(weak);
}

/// To be called before a fork, by the thread that makes it.
pub fn prepare() {
    let pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    let states = pools.iter().filter_map(|pool| pool.upgrade()?.hold()).collect();
    HELD.set(Some(Everything { _states: states, _pools: pools }));
}

/// To be called after it, in both processes.
pub fn release() {
    drop(HELD.take());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Job, Record};
    use crate::tests::{LIMITS, Pool};
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Whether a fork can take the lock within two seconds.
    fn fork_locks<N, K>(job: &Job<N, K>) -> bool {
        prepare();
        // SAFETY: the child takes a lock and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        release();
        if pid == 0 {
            // SAFETY: plain system calls.
            unsafe { libc::alarm(2) };
            drop(job.lock());
            // SAFETY: ends the process.
            unsafe { libc::_exit(0) };
        }
        let mut status = 1;
        // SAFETY: `status` is valid and exclusive for the duration of the call.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        status == 0
    }

    #[test]
    fn no_job_is_locked_in_a_fork() {
        let (pool, over) = (Pool::new(LIMITS), AtomicBool::new(false));
        watch(&pool.0);
        let nothing = Record {
            bytes: Box::new([]),
            blocks: Box::new([]),
            apart: false,
            parcels: Box::new([]),
        };
        let job = Job::new(nothing, None, 0, pool.0.clone(), None);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    pool.0.with(|_| {
                        let _cell = job.lock();
                        std::thread::yield_now();
                    });
                }
            });
            let good = (0..100).all(|_| fork_locks(&job));
            over.store(true, Ordering::Relaxed);
            assert!(good);
        });
    }
}
