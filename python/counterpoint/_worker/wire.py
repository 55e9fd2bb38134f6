"""What the user's process, its zygote and a new worker say to each other.

A request is one byte and descriptors, so it is sent whole or not at all, never waits for a reader,
and gives the zygote nothing to parse: everything else is pickled in a memfd that only the worker
opens.

A report comes over a socket of its own for each worker: first BORN from the worker itself, with a
descriptor of it, or FAILED from the zygote; in the end ENDED from the zygote. The zygote reaps the
worker when the receiver has closed its end, and until then the number of the process stays taken.
If the zygote dies, the socket ends.
"""

from __future__ import annotations

import array
import fcntl
import os
import pickle
import select
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from . import kernel

__all__ = [
    "BORN",
    "COLD",
    "ENDED",
    "FAILED",
    "FRESH",
    "PRELOAD",
    "WARM",
    "Report",
    "Start",
    "above",
    "close_all",
    "opened",
    "pair",
    "read_report",
    "receive",
    "report",
    "seal",
    "send",
    "unseal",
    "wait_readable",
]

# Requests, with what their descriptors are: a WARM worker is a fork of the zygote, a FRESH one a
# fork that is made now, a COLD one a new interpreter; all get report, payload, stdout, stderr, then
# those of the worker. PRELOAD gets the payload alone.
WARM, FRESH, COLD, PRELOAD = b"W", b"F", b"C", b"P"

# Reports, with what their number is: the process's, an errno, an exit status.
BORN, FAILED, ENDED = range(3)

_REPORT = struct.Struct("=Bi")
_MOST_FDS = 64


class Start(NamedTuple):
    """What a worker must know to begin."""

    target: str
    # Called with the same before the program's main module is imported; of this package.
    early: str | None
    config: bytes
    # What multiprocessing prepares a child with; None: it has all of that by inheritance.
    preparation: dict[str, Any] | None
    environment: dict[str, str]
    name: str
    parent_pid: int
    parent_name: str
    # Whether the last descriptor is that of multiprocessing's resource tracker.
    tracker: bool


class Report(NamedTuple):
    """One report, and the descriptor that came with it, or -1."""

    kind: int
    number: int
    fd: int


def seal(value: object) -> int:
    """A descriptor from which `unseal` reads the value, as often as wanted."""
    fd = above(kernel.memfd_create("counterpoint-start"))
    try:
        os.write(fd, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
    except BaseException:
        os.close(fd)
        raise
    return fd


def unseal(fd: int) -> Any:
    """What was sealed."""
    return pickle.loads(os.pread(fd, os.fstat(fd).st_size, 0))


def above(fd: int) -> int:
    """The descriptor under a number that is no standard stream's.

    In a process that has closed its standard streams the first descriptors have their numbers, and
    would be handed to a worker as its output.
    """
    if fd > 2:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return moved


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected sockets."""
    ours, theirs = (opened(above(end.detach())) for end in socket.socketpair())
    return ours, theirs


def opened(fd: int) -> socket.socket:
    """The socket of a descriptor, of the kind that `pair` makes; the kernel need not be asked."""
    return socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fd)


def send(channel: socket.socket, data: bytes, fds: Sequence[int]) -> None:
    """Send data and copies of the descriptors, which stay the caller's."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    channel.sendmsg([data], rights)


def receive(channel: socket.socket, size: int, flags: int = 0) -> tuple[bytes, list[int], bool]:
    """Data, the descriptors that came with it, and whether all did; no data at the end.

    The kernel drops those for which this process has no room.
    """
    room = socket.CMSG_SPACE(_MOST_FDS * array.array("i").itemsize)
    # Close-on-exec from the start: another thread may start a program at any time.
    data, rights, got, _ = channel.recvmsg(size, room, flags | socket.MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, list(fds), not got & socket.MSG_CTRUNC


def report(channel: socket.socket, kind: int, number: int, fds: Sequence[int] = ()) -> bool:
    """Send a report; whether there is still somebody to read it."""
    try:
        send(channel, _REPORT.pack(kind, number), fds)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def read_report(channel: socket.socket, flags: int = 0) -> Report | None:
    """The next report, or None if there will be none.

    Raises:
        BlockingIOError: there is none yet.
    """
    try:
        data, fds, _ = receive(channel, _REPORT.size, flags | socket.MSG_DONTWAIT)
    except ConnectionResetError:
        return None
    if not data:
        return None
    # The reports are smaller than anything that a socket would split.
    kind, number = _REPORT.unpack(data)
    return Report(kind, number, above(fds[0]) if fds else -1)


def wait_readable(fd: int, timeout: float | None, *others: int) -> bool:
    """Wait until the descriptor, or one of the others, is readable or at its end."""
    poll = select.poll()
    for each in (fd, *others):
        poll.register(each, select.POLLIN)
    if timeout is None:
        return bool(poll.poll())
    end = time.monotonic() + timeout
    while True:
        # The kernel counts milliseconds; rounded up, or the last one would be spun away.
        left = max(0.0, end - time.monotonic())
        if poll.poll(min(-(-left * 1000 // 1), 2**31 - 1)):
            return True
        if left <= 0:
            return False


def close_all(fds: Sequence[int]) -> None:
    """Close every descriptor."""
    for fd in fds:
        os.close(fd)
