"""Calls of the kernel that not every build of Python passes on.

An interpreter that was built on an old system lacks os.pidfd_open, for one, though the kernel that
it runs on has it; so are many that are made to be downloaded. The core asks the kernel itself.

Linux 5.4 has all that is needed here.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress

from counterpoint import _core

__all__ = [
    "P_PIDFD",
    "UNKNOWN",
    "die_with_parent",
    "kill_group",
    "memfd_create",
    "pidfd_open",
    "pidfd_send_signal",
    "set_name",
    "wait_for",
]

P_PIDFD: int = getattr(os, "P_PIDFD", 3)

# The status of a child for which somebody else has waited, or the kernel by itself because SIGCHLD
# is ignored.
UNKNOWN = 255


def pidfd_open(pid: int) -> int:
    """A descriptor of a process, which is readable once that has ended."""
    return _call("pidfd_open", os)(pid)


def pidfd_send_signal(pidfd: int, number: int, flags: int = 0) -> None:
    """Signal what the descriptor stands for."""
    send = getattr(signal, "pidfd_send_signal", None)
    if send is not None:
        send(pidfd, number, None, flags)
    else:
        _call("pidfd_send_signal", signal)(pidfd, number, flags)


def memfd_create(name: str) -> int:
    """An anonymous file in memory, which no new program inherits."""
    return _call("memfd_create", os)(name)


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    ask = getattr(_core, "_die_with_parent", None)
    if ask is not None:
        ask()


def kill_group(pid: int) -> None:
    """Kill a process and all that it started; not reaped yet, it cannot be mistaken."""
    for kill in (os.killpg, os.kill):
        with suppress(OSError):
            kill(pid, signal.SIGKILL)


def set_name(name: str) -> str:
    """What `ps -o comm` and `top` call this process, in 15 bytes; what they have called it."""
    with suppress(OSError):  # no /proc, or one that cannot be written to
        fd = os.open("/proc/self/comm", os.O_RDWR)
        try:
            before = os.read(fd, 16).rstrip(b"\n")
            os.write(fd, os.fsencode(name))
            return os.fsdecode(before)
        finally:
            os.close(fd)
    return ""


def wait_for(pidfd: int, reap: bool) -> int:
    """How a child that has ended did, as multiprocessing counts: negative for a signal.

    UNKNOWN if nobody knows any more.
    """
    try:
        # Without WNOHANG: a debugger that has attached to the child may be told a moment earlier.
        ended = os.waitid(P_PIDFD, pidfd, os.WEXITED | (0 if reap else os.WNOWAIT))
    except ChildProcessError:
        return UNKNOWN
    assert ended is not None
    return ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status


def _call(name: str, home: object) -> Callable[..., int]:
    call: Callable[..., int] | None = getattr(home, name, None) or getattr(_core, f"_{name}", None)
    if call is None:
        raise OSError(errno.ENOSYS, f"neither this build of Python nor the core has {name}")
    return call
