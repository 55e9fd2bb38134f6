"""Why a worker died: what the kernel counts, and what the process itself left behind."""

from __future__ import annotations

import os
from collections.abc import Iterator

from counterpoint._worker import kernel

__all__ = ["Dump", "OomWatch"]

# How much of a dump is shown.
_LONGEST = 8000


class Dump:
    """Memory into which a worker's faulthandler writes if it crashes.

    Attributes:
        fd: for the worker.
    """

    def __init__(self) -> None:
        self.fd = kernel.memfd_create("counterpoint-dump")

    def read(self) -> str:
        """What was written, in which the crashed thread comes first; usually nothing."""
        return os.pread(self.fd, _LONGEST, 0).decode(errors="backslashreplace").rstrip()

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)


class OomWatch:
    """Counts what the kernel's out-of-memory killer does. Used by one thread."""

    def __init__(self) -> None:
        self._seen = _oom_kills()
        self._unexplained = 0

    def claim(self) -> bool:
        """Whether it has killed a process of which nobody has said so yet."""
        seen = _oom_kills()
        self._unexplained += max(0, seen - self._seen)
        self._seen = seen
        if self._unexplained == 0:
            return False
        self._unexplained -= 1
        return True


def _oom_kills() -> int:
    """Kills so far: of this control group if that can be known, else of the whole system."""
    for path in _counters():
        try:
            with open(path) as file:
                for line in file:
                    if line.startswith("oom_kill "):
                        return int(line.split()[1])
        except (OSError, ValueError):
            continue
    return 0


def _counters() -> Iterator[str]:
    try:
        with open("/proc/self/cgroup") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        groups = []
    for _, controllers, path in groups:
        if not controllers:
            yield f"/sys/fs/cgroup{path}/memory.events"
        elif "memory" in controllers.split(","):
            yield f"/sys/fs/cgroup/memory{path}/memory.oom_control"
            # In a container the path may be that outside of it.
            yield "/sys/fs/cgroup/memory/memory.oom_control"
    yield "/proc/vmstat"
