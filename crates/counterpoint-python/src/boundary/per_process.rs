//! [`PerProcess`]: something with a lock that a forked child has anew.
//!
//! A thread that stayed with the parent may have held the lock when the child was made. So what a
//! parent made is never touched in a child, and never freed.

use counterpoint_sync::waiter::fork;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A value of its own for each process, made when it is first asked for.
pub struct PerProcess<T>(AtomicPtr<(u32, T)>);

impl<T: Default + Sync> PerProcess<T> {
    /// Nothing made yet.
    pub const fn new() -> Self {
        Self(AtomicPtr::new(ptr::null_mut()))
    }

    /// That of this process.
    pub fn get(&self) -> &'static T {
        // ORDERING: acquire and release: what the pointer leads to was written by another thread.
        let known = self.0.load(Ordering::Acquire);
        let generation = fork::generation();
        // SAFETY: null or leaked.
        if let Some((made_in, value)) = unsafe { known.as_ref() }
            && *made_in == generation
        {
            return value;
        }
        let made = Box::into_raw(Box::new((generation, T::default())));
        // ORDERING: as above.
        match self.0.compare_exchange(known, made, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: leaked from now on.
            Ok(_) => unsafe { &(*made).1 },
            Err(other) => {
                // SAFETY: nobody else has seen it.
                drop(unsafe { Box::from_raw(made) });
                // SAFETY: another thread of this process was first; what it put there is leaked.
                unsafe { &(*other).1 }
            }
        }
    }
}
