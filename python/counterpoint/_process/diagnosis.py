"""Why a worker died: what the kernel counts, and what the process itself left behind."""

from __future__ import annotations

import os

from counterpoint._worker import kernel

from .groups import Kills, kills, kills_by

__all__ = ["Dump", "OomWatch", "keep_dump", "note_kills"]

# How much of a dump is shown.
_LONGEST = 8000

# Where a dump begins: behind what the worker says of its control group.
_HEAD = 4096


class Dump:
    """Memory for what is to be known of a worker after its end.

    It says in which control group it is, and its faulthandler writes there if it crashes.

    Attributes:
        fd: for the worker.
    """

    def __init__(self) -> None:
        self.fd = kernel.memfd_create("counterpoint-dump")

    def read(self) -> str:
        """What was written, in which the crashed thread comes first; usually nothing."""
        return os.pread(self.fd, _LONGEST, _HEAD).decode(errors="backslashreplace").rstrip()

    def kills(self) -> Kills | None:
        """What the kernel had killed in the worker's group when it was set up, if it said so."""
        return Kills.unpack(os.pread(self.fd, _HEAD, 0).rstrip(b"\0"))

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


def keep_dump(fd: int) -> None:
    """In the worker: have a dump written behind the head."""
    os.lseek(fd, _HEAD, os.SEEK_SET)


def note_kills(fd: int) -> None:
    """In the worker: say what the kernel has killed in this process's group so far."""
    os.pwrite(fd, kills().pack()[:_HEAD], 0)


class OomWatch:
    """Tells which deaths are the kernel's out-of-memory killer's. Used by one thread."""

    def __init__(self) -> None:
        # For a worker that dies before it says where it is: where its parent is.
        self._here = kills()
        # By counter: up to which kill it is known of whom it was.
        self._explained: dict[str, int] = {}

    def claim(self, begun: Kills | None) -> bool:
        """Whether it killed somebody in the worker's group of whom nobody has said so yet.

        Args:
            begun: the group, and its kills before the worker was there.
        """
        path, before = begun or self._here
        explained = max(before, self._explained.get(path, 0))
        if (kills_by(path) or 0) <= explained:
            return False
        self._explained[path] = explained + 1
        return True
