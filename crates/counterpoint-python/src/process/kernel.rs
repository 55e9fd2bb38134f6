//! System calls that some builds of Python leave out.

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use std::ffi::{CString, c_long};
use std::io;

fn check(result: c_long) -> PyResult<i32> {
    if result < 0 {
        // pyo3 picks the subclass, such as ProcessLookupError, and keeps the number.
        return Err(PyErr::from(io::Error::last_os_error()));
    }
    Ok(result as i32)
}

/// `os.pidfd_open(pid)`.
#[pyfunction]
pub fn _pidfd_open(pid: i32) -> PyResult<i32> {
    // SAFETY: a plain system call.
    check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
}

/// `signal.pidfd_send_signal(pidfd, signal, None, flags)`.
#[pyfunction]
pub fn _pidfd_send_signal(pidfd: i32, signal: i32, flags: u32) -> PyResult<()> {
    let info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: no information is passed.
    let sent = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd, signal, info, flags) };
    check(sent).map(drop)
}

/// `os.memfd_create(name)`.
#[pyfunction]
pub fn _memfd_create(name: &str) -> PyResult<i32> {
    let name = CString::new(name).map_err(|_| PyOSError::new_err("a name with a zero byte"))?;
    // SAFETY: a C string that lives through the call.
    check(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) }.into())
}

/// Asks the kernel to kill this process when its parent ends.
#[pyfunction]
pub fn _die_with_parent() {
    // SAFETY: a plain system call.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}
