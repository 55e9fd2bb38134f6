//! The few system calls of a dispatcher: epoll, an eventfd, and signals through a pidfd.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Linux 6.9: to the group that the process leads, exactly, even after its own end.
const PROCESS_GROUP: libc::c_uint = 4;

/// A set of descriptors to wait for.
pub struct Poller(OwnedFd);

impl Poller {
    /// An empty one.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed; the result is checked, and owned by nobody else.
        unsafe { own(libc::epoll_create1(libc::EPOLL_CLOEXEC)).map(Self) }
    }

    /// Adds a descriptor. `edge`: it is reported once for each change, not as long as it is
    /// readable.
    pub fn add(&self, fd: BorrowedFd<'_>, token: u64, edge: bool) -> io::Result<()> {
        let events = libc::EPOLLIN as u32 | if edge { libc::EPOLLET as u32 } else { 0 };
        let mut event = libc::epoll_event { events, u64: token };
        let (set, operation) = (self.0.as_raw_fd(), libc::EPOLL_CTL_ADD);
        // SAFETY: the event lives through the call.
        let result = unsafe { libc::epoll_ctl(set, operation, fd.as_raw_fd(), &mut event) };
        check(result)
    }

    /// Waits so many nanoseconds at most; gives each token to `f`.
    pub fn wait(&self, timeout: Option<u64>, mut f: impl FnMut(u64)) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let set = self.0.as_raw_fd();
        let count = wait_exactly(set, &mut events, timeout)
            .unwrap_or_else(|| wait_roughly(set, &mut events, timeout));
        events.iter().take(count.max(0) as usize).for_each(|event| f(event.u64));
    }
}

/// How many events there are; `None` where the kernel (before Linux 5.11) or a sandbox has no such
/// call. As a bare system call, since older C libraries have no name for it.
fn wait_exactly(set: i32, events: &mut [libc::epoll_event], timeout: Option<u64>) -> Option<i64> {
    static MISSING: AtomicBool = AtomicBool::new(false);
    if MISSING.load(Ordering::Relaxed) {
        return None;
    }
    let time = timeout.map(|nanoseconds| libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
    });
    let time = time.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    let (first, len) = (events.as_mut_ptr(), events.len());
    let no_mask = std::ptr::null::<libc::sigset_t>();
    // SAFETY: the events and the time live through the call; the kernel writes at most so many
    // events as there are.
    let count =
        unsafe { libc::syscall(libc::SYS_epoll_pwait2, set, first, len, time, no_mask, 0usize) };
    let error = io::Error::last_os_error().raw_os_error();
    if count < 0 && matches!(error, Some(libc::ENOSYS | libc::EPERM)) {
        MISSING.store(true, Ordering::Relaxed);
        return None;
    }
    Some(count)
}

/// The same in milliseconds, rounded up.
fn wait_roughly(set: i32, events: &mut [libc::epoll_event], timeout: Option<u64>) -> i64 {
    let most = i32::MAX as u64;
    let time = timeout.map_or(-1, |nanoseconds| nanoseconds.div_ceil(1_000_000).min(most) as i32);
    // SAFETY: as above.
    unsafe { libc::epoll_wait(set, events.as_mut_ptr(), events.len() as i32, time) }.into()
}

/// A descriptor that becomes readable when somebody says so.
pub struct Doorbell(OwnedFd);

impl Doorbell {
    /// One that is silent.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed; the result is checked, and owned by nobody else.
        unsafe { own(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK)).map(Self) }
    }

    /// Makes it readable.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight bytes that live through the call. It fails only when it is readable anyway.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Makes it unreadable.
    pub fn silence(&self) {
        let mut count = [0u8; 8];
        // SAFETY: eight bytes that live through the call. It fails only when it is silent anyway.
        unsafe { libc::read(self.0.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
    }

    /// To be polled.
    pub fn fd(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.0.as_fd()
    }
}

/// A pipe whose reading end does not wait: that, and the other.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: the call fills in both numbers, which then nobody else owns, or fails.
    unsafe {
        check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))?;
        let pair = (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1]));
        check(libc::fcntl(ends[0], libc::F_SETFL, libc::O_NONBLOCK))?;
        Ok(pair)
    }
}

/// Reads what there is; `None`: nothing, now or ever.
pub fn read(fd: BorrowedFd<'_>, bytes: &mut [u8]) -> Option<usize> {
    // SAFETY: the bytes are exclusive, and live through the call.
    let len = unsafe { libc::read(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
    usize::try_from(len).ok().filter(|len| *len > 0)
}

/// How many bytes of memory a process has for itself; `None`: it is gone.
pub fn private_memory(pid: i32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let mut pages = text.split(' ').skip(1).map(|number| number.parse::<u64>().ok());
    let (resident, shared) = (pages.next()??, pages.next()??);
    // SAFETY: a plain call.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(resident.saturating_sub(shared) * u64::try_from(page).ok()?)
}

/// Kills a process and its group. `pid` must not have been reaped.
pub fn kill(pidfd: BorrowedFd<'_>, pid: i32) {
    if !send(pidfd, PROCESS_GROUP) {
        // SAFETY: plain system calls. The number is that of a process that was not reaped, which
        // leads a group of the same number, or has left it.
        unsafe {
            if libc::getpgid(pid) == pid {
                libc::killpg(pid, libc::SIGKILL);
            }
        }
    }
    send(pidfd, 0);
}

fn send(pidfd: BorrowedFd<'_>, flags: libc::c_uint) -> bool {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open; no information is passed.
    unsafe {
        let number = libc::SYS_pidfd_send_signal;
        libc::syscall(number, pidfd.as_raw_fd(), libc::SIGKILL, info, flags) == 0
    }
}

/// # Safety
/// `fd` is the result of a system call that nobody else owns.
unsafe fn own(fd: i32) -> io::Result<OwnedFd> {
    check(fd.min(0))?;
    // SAFETY: the caller's promise; it is not negative.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends a signal to one process.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: the descriptor is open; no information is passed.
    unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
}
