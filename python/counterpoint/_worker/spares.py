"""The zygote's children, and those of them that wait to be hired.

A spare is a worker that was forked ahead. All that it lacks comes in one message: then it is like
any other, some tenths of a millisecond after it was asked for instead of some milliseconds.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

from . import kernel, wire

__all__ = ["CALM", "LONG", "MOST", "NAME", "PROBE", "Child", "Spares"]

MOST = min(4, len(os.sched_getaffinity(0)))

# How long after a launch they are made: what was launched comes first. Not so after a worker's end,
# which leaves a CPU to it.
CALM = 0.02
# After the end of one that nobody has hired: the next may end like it.
DEATH = 0.1
# After a fork that failed, or while a module is tried whose import would end them all.
LONG = 1.0

# What `ps -o comm` calls one, and a fork that tries an import.
NAME = "spare-worker"
PROBE = "import-probe"


class Child:
    """A worker, or one that has no channel: a spare with an inbox, or a probe without."""

    def __init__(
        self, pid: int, channel: socket.socket | None, inbox: socket.socket | None = None
    ) -> None:
        self.pid = pid
        self.pidfd = kernel.pidfd_open(pid)
        self.channel = channel
        self.inbox = inbox
        self.ended = False

    def kill_group(self) -> None:
        """Kill it and all that it started; not reaped yet, it cannot be mistaken."""
        kernel.kill_group(self.pid)

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self.pidfd)
        for end in (self.channel, self.inbox):
            if end is not None:
                end.close()


class Spares:
    """The spares, and when the next is due."""

    def __init__(self) -> None:
        self._waiting: list[Child] = []
        self._due = 0.0
        # Whether somebody has asked for what a spare can be, and one can be made.
        self.wanted = False

    def patience(self) -> float | None:
        """Milliseconds until one is to be made."""
        if not self.wanted or len(self._waiting) >= MOST:
            return None
        return max(0.0, self._due - time.monotonic()) * 1000

    def put_off(self, seconds: float) -> None:
        """Make the next in so many seconds."""
        self._due = time.monotonic() + seconds

    def add(self, child: Child) -> None:
        """One more that waits."""
        self._waiting.append(child)

    def hire(self, channel: socket.socket, fds: Sequence[int]) -> Child | None:
        """Give these descriptors to one that waits; the channel is its own from now on."""
        while self._waiting:
            child = self._waiting.pop()
            assert child.inbox is not None
            try:
                wire.send(child.inbox, wire.WARM, [channel.fileno(), *fds])
            except (BrokenPipeError, ConnectionResetError):
                continue  # killed by somebody; buried when its end is seen
            child.inbox.close()
            child.channel = channel
            return child
        return None

    def forget(self, child: Child) -> None:
        """A child is buried."""
        if child in self._waiting:
            self._waiting.remove(child)
            self.put_off(DEATH)
        elif child.channel is not None:
            self.put_off(0)

    def dismiss(self) -> None:
        """Kill all; those to come have what these lack."""
        for child in self._waiting:
            child.kill_group()
        self._waiting.clear()
