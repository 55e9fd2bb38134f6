//! [`Owner`]: who holds something, in one word, so that anybody can tell whether that process is
//! gone.
//!
//! | bits  | content                                                         |
//! |-------|-----------------------------------------------------------------|
//! | 0-21  | process id; Linux has none of 2^22 or more                       |
//! | 22-43 | thread id                                                       |
//! | 44-63 | when the process started, in the kernel's ticks, modulo 2^20     |
//!
//! The start tells a process from a later one with the same number: one time in a million it does
//! not, and then a lock is waited for that nobody will release.

const ID_BITS: u32 = 22;
const ID: u64 = (1 << ID_BITS) - 1;

/// A thread of a process. Never zero, which in memory stands for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u64);

impl Owner {
    /// The word for it.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whose word this is; `None`: nobody's.
    pub fn of(bits: u64) -> Option<Self> {
        (bits != 0).then_some(Self(bits))
    }

    /// The process id.
    pub fn pid(self) -> u32 {
        (self.0 & ID) as u32
    }

    /// The process, whichever thread of it.
    #[inline]
    pub fn process(self) -> Self {
        Self(self.0 & !(ID << ID_BITS))
    }

    /// Whether both are threads of one process.
    pub fn shares_process_with(self, other: Self) -> bool {
        self.process() == other.process()
    }
}

/// Where a model may have a process die; see `Owner::does`.
#[cfg(not(loom))]
#[inline]
pub(super) fn mortal() {}
#[cfg(loom)]
pub(super) use modelled::mortal;

#[cfg(not(loom))]
mod real {
    use super::{ID, ID_BITS, Owner};
    // Private to this process, and outside of every model.
    use std::cell::Cell;
    use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

    /// Counts the forks between this process and the first of its ancestors that asked.
    static FORKS: AtomicU32 = AtomicU32::new(1);
    /// Whether forks are counted.
    static WATCHED: AtomicBool = AtomicBool::new(false);
    /// The number and the start of the process that asked last, packed as an owner without a thread.
    /// In a child that is its parent, so the number is looked at: the handler below may not have been
    /// called in a fork that was under way when it was registered.
    static START: AtomicU64 = AtomicU64::new(0);

    thread_local! {
        /// This thread's word, and after how many forks it was made.
        static ME: Cell<(u32, u64)> = const { Cell::new((0, 0)) };
    }

    /// Has forks counted from now on. Threads that come here at the same time have each counted
    /// twice, which does no harm; one waiting for the other could, in a fork, wait for ever.
    fn watch_forks() {
        // ORDERING: the pair makes the registration happen before what is done on its strength.
        if !WATCHED.load(Ordering::Acquire) {
            // SAFETY: the handler only stores to atomics. Should it be refused for want of memory,
            // a forked child would take itself for its parent.
            let refused = unsafe { libc::pthread_atfork(None, None, Some(forked)) };
            assert_eq!(refused, 0, "no memory for a fork handler");
            WATCHED.store(true, Ordering::Release);
        }
    }

    impl Owner {
        /// The calling thread.
        #[inline]
        pub fn me() -> Self {
            let (forks, bits) = ME.get();
            if forks == FORKS.load(Ordering::Relaxed) { Self(bits) } else { Self::look_up() }
        }

        #[cold]
        fn look_up() -> Self {
            watch_forks();
            // SAFETY: plain system calls.
            let (pid, thread) = unsafe { (libc::getpid(), libc::syscall(libc::SYS_gettid)) };
            let bits = pack(pid as u64, thread as u64, own_start(pid));
            ME.set((FORKS.load(Ordering::Relaxed), bits));
            Self(bits)
        }

        fn start(self) -> u64 {
            self.0 & !(ID | ID << ID_BITS)
        }

        /// Whether its process has ended, whether or not its parent has heard of it. Slow: it asks
        /// the kernel.
        pub fn is_over(self) -> bool {
            match read_stat(self.pid()) {
                Some((b'Z' | b'X' | b'x', _)) => true,
                // A process that could not find out its own is told by its number alone.
                Some((_, start)) => self.start() != 0 && self.start() != pack(0, 0, start),
                None => !exists(self.pid()),
            }
        }
    }

    extern "C" fn forked() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }

    fn exists(pid: u32) -> bool {
        // SAFETY: signal 0 only asks.
        let refused = unsafe { libc::kill(pid as i32, 0) } != 0;
        !refused || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
    }

    fn pack(pid: u64, thread: u64, start: u64) -> u64 {
        pid & ID | (thread & ID) << ID_BITS | start << (2 * ID_BITS)
    }

    fn own_start(pid: i32) -> u64 {
        let known = START.load(Ordering::Relaxed);
        if known & ID == pid as u64 & ID {
            return known >> (2 * ID_BITS);
        }
        // Where /proc is not there, or not to be opened now, the process id has to do.
        let Some((_, start)) = read_stat(pid as u32) else { return 0 };
        START.store(pack(pid as u64, 0, start), Ordering::Relaxed);
        start
    }

    /// State and start of a process; `None` if there is none, or no /proc.
    fn read_stat(pid: u32) -> Option<(u8, u64)> {
        let text = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may have any character.
        let name_end = text.iter().rposition(|byte| *byte == b')')?;
        let mut fields = text.get(name_end + 2..)?.split(|byte| *byte == b' ');
        let state = *fields.next()?.first()?;
        let start = std::str::from_utf8(fields.nth(18)?).ok()?.parse().ok()?;
        Some((state, start))
    }

    #[cfg(all(test, not(miri)))]
    mod tests {
        use super::*;

        #[test]
        fn a_live_process_is_not_over_and_each_thread_is_its_own() {
            let me = Owner::me();
            assert_eq!(me.pid(), std::process::id());
            assert!(!me.is_over());
            let other = std::thread::spawn(Owner::me).join().unwrap();
            assert_ne!(me, other);
            assert!(me.shares_process_with(other));
        }

        #[test]
        fn a_zombie_is_over_and_so_is_what_was_reaped() {
            // SAFETY: the child leaves at once.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // SAFETY: ends the process.
                unsafe { libc::_exit(0) };
            }
            let (_, start) = read_stat(pid as u32).unwrap();
            let child = Owner(pack(pid as u64, pid as u64, start));
            while !child.is_over() {
                std::thread::yield_now();
            }
            let mut status = 0;
            // SAFETY: `status` is valid and exclusive for the duration of the call.
            assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
            assert!(child.is_over());
        }

        #[test]
        fn a_later_process_of_the_same_number_is_another_one() {
            let me = Owner::me();
            let unknown = Owner(me.0 & !me.start());
            assert!(!unknown.is_over());
            let earlier = Owner(me.0 ^ 1 << (2 * ID_BITS));
            assert!(earlier.is_over() && !me.shares_process_with(earlier));
        }
    }
}

/// In a model an owner is a number, and dies when the model says so.
#[cfg(loom)]
mod modelled {
    use super::{ID_BITS, Owner};
    use crate::door::{AtomicU64, Ordering};
    use std::cell::Cell;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    loom::lazy_static! {
        static ref DEAD: AtomicU64 = AtomicU64::new(0);
    }

    loom::thread_local! {
        /// Before which of its next steps this thread's process dies.
        static STEPS: Cell<u32> = Cell::new(u32::MAX);
    }

    struct Killed;

    /// Called before each step that others could see.
    pub(in crate::sync) fn mortal() {
        let left = STEPS.with(|steps| steps.replace(steps.get().wrapping_sub(1)));
        if left == 0 {
            resume_unwind(Box::new(Killed));
        }
    }

    impl Owner {
        /// Process number `pid`, of one thread.
        pub fn numbered(pid: u64) -> Self {
            Self(pid | pid << ID_BITS)
        }

        /// Does so many steps of some work. Whether it was all of it.
        pub fn does(steps: u32, work: impl FnOnce()) -> bool {
            STEPS.with(|left| left.set(steps));
            let ended = catch_unwind(AssertUnwindSafe(work));
            STEPS.with(|left| left.set(u32::MAX));
            match ended {
                Err(panic) if !panic.is::<Killed>() => resume_unwind(panic),
                ended => ended.is_ok(),
            }
        }

        /// Ends the process.
        pub fn die(self) {
            // After all that it did, which whoever finds it dead may rely on.
            DEAD.fetch_or(1 << self.pid(), Ordering::SeqCst);
        }

        /// Whether its process has ended.
        pub fn is_over(self) -> bool {
            DEAD.fetch_or(0, Ordering::SeqCst) & 1 << self.pid() != 0
        }
    }
}
