//! What the tests share: chance, and worker processes.
#![allow(dead_code)]

use counterpoint_shm::clock;
use counterpoint_shm::lane::{HOLD, ParentEnd, WorkerEnd};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

pub const TASK: u8 = 1;
pub const RESULT: u8 = 2;
pub const STOP: u8 = 3;

/// Chance that can be repeated (xorshift).
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A task's payload: its number, and bytes that follow from it.
pub fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|i| (number as usize + i) as u8));
    bytes
}

/// The number in a payload that nobody damaged.
pub fn number(bytes: &[u8]) -> u64 {
    let number = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(bytes, payload(number, bytes.len() - 8), "a damaged record");
    number
}

/// A worker process, which echoes its tasks.
pub struct Worker {
    pub lane: ParentEnd,
    pub pid: i32,
    pidfd: OwnedFd,
}

impl Worker {
    pub fn start() -> Self {
        let lane = ParentEnd::create().unwrap();
        let ours = [lane.fd(), lane.event_fd()].map(|fd| fd.try_clone_to_owned().unwrap());
        // SAFETY: the child allocates at most (glibc keeps its heap usable over a fork), works on
        // its lane and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        assert!(pid >= 0);
        if pid == 0 {
            let [lane, event] = ours;
            let status = serve(lane, event);
            // SAFETY: ends the process.
            unsafe { libc::_exit(status) };
        }
        // SAFETY: a plain system call; the child is not reaped, so the number is still its.
        let pidfd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        assert!(pidfd >= 0);
        // SAFETY: the call just returned it; nobody else has it.
        Self { lane, pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd as i32) } }
    }

    /// Sleeps as a dispatcher does, at most a second; `false`: the worker is dead.
    pub fn doze(&mut self) -> bool {
        let until = self.lane.prepare_sleep();
        let now = clock::now();
        let nanoseconds = match until {
            _ if self.lane.pending() => 0,
            Some(moment) => moment.saturating_sub(now).min(HOLD),
            None => 1_000_000_000,
        };
        let poll = |fd: i32| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut fds = [poll(self.pidfd.as_raw_fd()), poll(self.lane.event_fd().as_raw_fd())];
        let limit = libc::timespec {
            tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
            tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: the array and the timespec outlive the call.
        let ready = unsafe { libc::ppoll(fds.as_mut_ptr(), 2, &limit, ptr::null()) };
        // A whole second without a word is a lost wake-up, unless nothing was to be done.
        assert!(ready != 0 || until.is_some() || self.lane.pending() || nanoseconds == 0);
        self.lane.awake();
        fds[0].revents == 0
    }

    pub fn kill(&self) {
        // SAFETY: a plain system call; the process is our child and not reaped.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
    }

    /// Waits for the end. Returns the status, or the signal, negative.
    pub fn reap(&self) -> i32 {
        let mut status = 0;
        // SAFETY: `status` is valid and exclusive for the duration of the call.
        assert_eq!(unsafe { libc::waitpid(self.pid, &mut status, 0) }, self.pid);
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
    }
}

/// The worker's whole life.
fn serve(lane: OwnedFd, event: OwnedFd) -> i32 {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    let Ok(mut worker) = WorkerEnd::adopt(lane, event) else { return 10 };
    let mut bytes = Vec::new();
    loop {
        let (kind, entry) = match worker.next() {
            Err(_) => return 11,
            Ok(Some(task)) => {
                bytes.clear();
                bytes.extend_from_slice(task.bytes);
                (task.kind, task.entry)
            }
            Ok(None) => {
                let _ = worker.sleep(None);
                continue;
            }
        };
        if kind == STOP {
            return 0;
        }
        worker.begin(clock::now());
        while !worker.publish(RESULT, entry, &[&bytes]) {
            let _ = worker.room_sleep(bytes.len(), None);
        }
        let now = clock::now();
        worker.end(now);
        worker.flush(now, false);
    }
}

/// A test that hangs is killed, with everything it started.
pub fn limit(seconds: u32) {
    // SAFETY: a plain system call.
    unsafe { libc::alarm(seconds) };
}

/// Runs `work` in a fork of this process.
pub fn fork(work: impl FnOnce()) -> i32 {
    // SAFETY: the child works on what it is given and leaves by `_exit`; glibc keeps its heap
    // usable over a fork.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        // SAFETY: a plain system call.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        work();
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) };
    }
    pid
}

pub fn kill(pid: i32) {
    // SAFETY: a plain system call; the process is our child and not reaped.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Waits for the end; whether it was by `_exit(0)`.
pub fn reap(pid: i32) -> bool {
    let mut status = 0;
    // SAFETY: `status` is valid and exclusive for the duration of the call.
    assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
    status == 0
}
