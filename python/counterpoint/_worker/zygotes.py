"""The user's process's end of its zygote: starts it, sends to it, and forgets it in a fork.

One zygote serves all pools of a process. It is started at the first need and never waited for:
requests lie in the socket until it reads them. One that died is replaced at the next request.
"""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Iterable, Sequence
from typing import Protocol

from counterpoint._core import Guard

from . import commands, kernel, wire

__all__ = [
    "ZygoteHandle",
    "current",
    "ensure",
    "forget_in_child",
    "is_open",
    "preload",
    "stop",
]


class _Inherited(Protocol):
    def forget(self) -> None: ...


class ZygoteHandle:
    """A zygote that was started.

    Attributes:
        pid: its process number.
        pidfd: a descriptor of it, open as long as this object is referred to; -1 in a fork.
        status: how it ended, once `has_ended()` was true.
    """

    def __init__(self) -> None:
        self.pidfd = -1
        self.status: int | None = None
        self.control, theirs = wire.pair()
        try:
            self.pid = _start(theirs)
        except BaseException:
            self.control.close()
            raise
        finally:
            theirs.close()
        self.pidfd = wire.above(kernel.pidfd_open(self.pid))

    def send(self, kind: bytes, fds: Sequence[int]) -> bool:
        """Whether there is still somebody who may read it."""
        try:
            wire.send(self.control, kind, fds)
        except OSError as error:
            # The last is a socket that another thread has closed, in `stop()` or `ensure()`.
            if error.errno not in (errno.EPIPE, errno.ECONNRESET, errno.EBADF):
                raise
            return False
        return True

    def has_ended(self, timeout: float | None = 0) -> bool:
        """Wait for its end."""
        if self.status is None and wire.wait_readable(self.pidfd, timeout):
            with _lock.held():
                if self.status is None:
                    self.status = kernel.wait_for(self.pidfd, reap=True)
        return self.status is not None

    def forget(self) -> None:
        """Close the descriptors in a fork of this process."""
        self.control.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def __del__(self) -> None:
        if hasattr(self, "control"):
            self.forget()


def _start(control: socket.socket) -> int:
    """Start a zygote with the other end of its control socket, and a pidfd of this process."""
    own = wire.above(kernel.pidfd_open(os.getpid()))
    path = commands.importable(sys.path, _directory())
    command = commands.command(f"{__package__}.zygote", (control.fileno(), own), path)
    try:
        process = subprocess.Popen(
            command.arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # By number: it may have been closed and be something else now, and not be inherited.
            stderr=2 if is_open(2) else subprocess.DEVNULL,
            pass_fds=command.fds,
            process_group=0,
        )
    finally:
        wire.close_all([own, *command.extra])
    # Nobody but ZygoteHandle waits for it, least of all the finalizer of Popen.
    process.returncode = 0
    return process.pid


def is_open(fd: int) -> bool:
    """Whether the number stands for a descriptor."""
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return os.sep


# Reentrant, for a signal handler that launches; the interpreter's own, which no observer is shown.
_lock = Guard()
_zygote: ZygoteHandle | None = None
_modules: dict[str, None] = {}
_inherited: weakref.WeakSet[_Inherited] = weakref.WeakSet()


def ensure() -> ZygoteHandle:
    """The zygote of this process, started if there is none that lives. Does not wait for it."""
    global _zygote
    with _lock.held():
        if _zygote is not None and _zygote.has_ended():
            _zygote.control.close()
            _zygote = None
        if _zygote is None:
            _zygote = ZygoteHandle()
            if _modules:
                _send_modules(_zygote, _modules)
        return _zygote


def current() -> ZygoteHandle | None:
    """The zygote of this process, if it has one; it may have died."""
    return _zygote


def stop(timeout: float | None = None) -> bool:
    """End the zygote, and with it every worker; whether it has ended. The next launch starts one.

    Programs need not call it: the zygote ends with the process.
    """
    global _zygote
    with _lock.held():
        zygote, _zygote = _zygote, None
    if zygote is None:
        return True
    zygote.control.close()
    return zygote.has_ended(timeout)


def preload(modules: Iterable[str]) -> None:
    """Have modules imported by the zygote, and by every one that follows it, while it is idle."""
    with _lock.held():
        new = [module for module in modules if module not in _modules]
        if new:
            _modules.update(dict.fromkeys(new))
            if _zygote is not None:
                _send_modules(_zygote, new)


def _send_modules(zygote: ZygoteHandle, modules: Iterable[str]) -> None:
    payload = wire.seal((commands.importable(sys.path, _directory()), list(modules)))
    try:
        zygote.send(wire.PRELOAD, [payload])
    finally:
        os.close(payload)


def forget_in_child(holder: _Inherited) -> None:
    """Have `holder.forget()` called in a fork of this process, which holds what is not its own."""
    _inherited.add(holder)


def _forked() -> None:
    # The zygote and the workers are the parent's. Their descriptors, kept open here, would hide
    # from them that the parent has ended.
    global _zygote
    zygote, _zygote = _zygote, None
    if zygote is not None:
        zygote.forget()
    for holder in list(_inherited):
        holder.forget()
    _inherited.clear()


os.register_at_fork(after_in_child=_forked)
