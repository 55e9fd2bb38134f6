"""What the kernel's out-of-memory killer counts, for the control group of a process."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Kills", "kills", "kills_by"]

_ROOT = "/sys/fs/cgroup/"
_SYSTEM = "/proc/vmstat"


class Kills(NamedTuple):
    """A counter, and what it says."""

    path: str
    number: int

    def pack(self) -> bytes:
        """For `unpack`."""
        return f"{self.number} {self.path}".encode(errors="surrogateescape")

    @classmethod
    def unpack(cls, packed: bytes) -> Kills | None:
        """What another process has packed; None for what nobody has."""
        number, _, path = packed.decode(errors="surrogateescape").partition(" ")
        known = path == _SYSTEM or (path.startswith(_ROOT) and path == os.path.normpath(path))
        return cls(path, int(number)) if number.isascii() and number.isdigit() and known else None


def kills() -> Kills:
    """Those of this process's group so far; of the whole system, if it is in none that counts."""
    for path in _counters():
        number = kills_by(path)
        if number is not None:
            return Kills(path, number)
    return Kills(_SYSTEM, 0)


def kills_by(path: str) -> int | None:
    """What a counter says now; None if it is gone."""
    try:
        with open(path) as file:
            for line in file:
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    except (OSError, ValueError):
        pass
    return None


def _counters() -> Iterator[str]:
    try:
        with open("/proc/self/cgroup", errors="surrogateescape") as file:
            groups = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        groups = []
    for _, controllers, path in groups:
        if not controllers:
            # Of the group alone, without those below it; older kernels do not tell them apart.
            yield _in(path, "memory.events.local")
            yield _in(path, "memory.events")
        elif "memory" in controllers.split(","):
            yield _in(f"/memory{path}", "memory.oom_control")
            # In a container the path may be that outside of it.
            yield _in("/memory", "memory.oom_control")
    yield _SYSTEM


def _in(group: str, name: str) -> str:
    return os.path.normpath(f"{_ROOT}{group}/{name}")
