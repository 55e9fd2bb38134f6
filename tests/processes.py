"""What the tests of process pools share: meetings with tasks, and a look at what is left behind."""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from counterpoint._process import executor
from counterpoint._worker import zygotes
from counterpoint._worker.spares import NAME, PROBE
from tests.support import DEADLINE, eventually

METHODS = ("fork", "spawn", "forkserver")

__all__ = ["METHODS", "Meeting", "ProcessPoolExecutor", "clean", "descendants", "state_of"]


class ProcessPoolExecutor(executor.ProcessPoolExecutor):
    """The real one; but a test that fails does not wait for tasks that it would have let go."""

    def __exit__(self, kind: Any, *rest: Any) -> bool | None:
        if kind is not None:
            self.kill_workers()
        return super().__exit__(kind, *rest)


class Meeting:
    """A place where tasks arrive, say a number, and wait until they are let go.

    Two named pipes, so that it can be sent to a process of any kind.
    """

    def __init__(self, directory: Path, name: str = "meeting") -> None:
        self.paths = [str(directory / f"{name}.{end}") for end in ("arrivals", "permits")]
        for path in self.paths:
            os.mkfifo(path)
        # For reading and writing: neither end waits for the other.
        self._arrivals, self._permits = (os.open(path, os.O_RDWR) for path in self.paths)
        self._pending = b""

    def __reduce__(self) -> tuple[Any, ...]:
        return Guest, tuple(self.paths)

    def arrived(self, count: int = 1) -> list[int]:
        """What so many tasks said, as soon as they are there."""
        end = time.monotonic() + DEADLINE
        while self._pending.count(b"\n") < count:
            left = max(0.0, end - time.monotonic())
            assert select.select([self._arrivals], [], [], left)[0], "nobody came"
            self._pending += os.read(self._arrivals, 65536)
        *lines, rest = self._pending.split(b"\n", count)
        self._pending = rest
        return [int(line) for line in lines]

    def let_go(self, count: int = 1) -> None:
        """Permits so many to go on."""
        os.write(self._permits, b"." * count)

    def close(self) -> None:
        """Forget about it."""
        os.close(self._arrivals)
        os.close(self._permits)


class Guest(NamedTuple):
    """A meeting as a task sees it."""

    arrivals: str
    permits: str

    def arrive(self, number: int | None = None) -> None:
        """Say a number, or the process's."""
        fd = os.open(self.arrivals, os.O_WRONLY)
        os.write(fd, b"%d\n" % (os.getpid() if number is None else number))
        os.close(fd)

    def stay(self, number: int | None = None) -> int:
        """Arrive and wait until let go; the process's number."""
        # Opened first: a permit is lost with the pipe, once nobody has it open.
        fd = os.open(self.permits, os.O_RDWR)
        self.arrive(number)
        os.read(fd, 1)
        os.close(fd)
        return os.getpid()


def stay(meeting: Any, value: Any = None) -> Any:
    """A task that is at the meeting."""
    meeting.stay()
    return value


def fail(text: str) -> None:
    error = LookupError(text)
    error.add_note("a note")
    try:
        raise OSError("underneath")
    except OSError as cause:
        raise error from cause


def identity(value: Any) -> Any:
    return value


def square(value: int) -> int:
    return value * value


def own_pid(_: object = None) -> int:
    return os.getpid()


def die(number: int = signal.SIGKILL) -> None:
    """A task whose process is killed."""
    os.kill(os.getpid(), number)


def state_of(pid: int) -> str:
    """One letter, as `ps` has it; empty if there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text[text.rindex(")") + 2]


def descendants(root: int) -> set[int]:
    """All processes below one, whatever their state, but for the zygote's spares and probes."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                text = Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            if f"({NAME})" in text or f"({PROBE})" in text:
                continue
            parent = int(text[text.rindex(")") + 2 :].split()[1])
            parents.setdefault(parent, []).append(int(entry))
    found: set[int] = set()
    waiting = [root]
    while waiting:
        for child in parents.get(waiting.pop(), ()):
            found.add(child)
            waiting.append(child)
    return found


class Holdings(NamedTuple):
    """What a process has that it might leave behind."""

    fds: int
    threads: int
    processes: frozenset[int]

    @classmethod
    def now(cls) -> Holdings:
        return cls(
            len(os.listdir("/proc/self/fd")),
            len(os.listdir("/proc/self/task")),
            frozenset(descendants(os.getpid())),
        )

    def exceeds(self, before: Holdings) -> bool:
        return (
            self.fds > before.fds
            or self.threads > before.threads
            or not self.processes <= before.processes
        )


@contextmanager
def clean() -> Iterator[None]:
    """Checks that nothing is left of what happens within: descriptors, threads, processes."""
    zygotes.ensure()
    gc.collect()
    before = Holdings.now()
    yield

    def nothing_left() -> bool:
        gc.collect()
        now = Holdings.now()
        # A zygote that was replaced is none that was left.
        current = zygotes.current()
        known = before.processes | ({current.pid} if current else set())
        return not now.exceeds(before._replace(processes=known))

    try:
        eventually(nothing_left, 10)
    except AssertionError:
        raise AssertionError(f"left behind: {before} became {Holdings.now()}") from None
