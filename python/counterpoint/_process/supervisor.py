"""The processes of one pool: how they are launched, and what is said of their end."""

from __future__ import annotations

import itertools
import pickle
import signal
import time
from collections.abc import Sequence
from concurrent.futures.process import _RemoteTraceback
from typing import Any, NamedTuple

from counterpoint._core import Guard
from counterpoint._worker.launch import PATIENCE, Begun, Launcher, Worker

from . import telling
from .diagnosis import Dump, OomWatch
from .ending import forget
from .errors import BROKEN, BrokenProcessPool, WorkerCrashed, describe_status
from .handover import Handed
from .outputs import Outputs
from .serving import Setup

__all__ = ["Employed", "Supervisor", "Terms"]

# How long the end of a process may take to be reported, after its death was seen.
_REPORT = 5.0


class Terms(NamedTuple):
    """What all workers of a pool have in common."""

    config: Handed
    forward_logs: bool
    # One entry for each place; a worker in a place beyond begins anew.
    cpus: Sequence[tuple[int, ...]]
    max_memory: int | None


class Employed(NamedTuple):
    """A worker, the lowest place that was free when it came, and what it may leave behind."""

    worker: Worker
    place: int
    dump: Dump


class Requested(NamedTuple):
    """A worker that was asked for, its place, what it may leave behind, and when it is to begin."""

    asked: Begun
    place: int
    dump: Dump
    end: float


class Supervisor:
    """What the pool's native half calls when something takes Python.

    It is called by the threads that submit and by the courier, one call at a time for each worker;
    `message` and `gone` by the listener alone.
    """

    def __init__(self, launcher: Launcher, terms: Terms) -> None:
        self._launcher = launcher
        self._terms = terms
        self._outputs = Outputs()
        self._oom = OomWatch()
        # By number; the lock is the interpreter's own, reentrant for a signal handler that submits.
        self.employed: dict[int, Employed] = {}
        # By place: how many workers have been there.
        self.launches: dict[int, int] = {}
        # By number: the places of those that are being launched, and those that were asked for.
        self._coming: dict[int, int] = {}
        self._requested: dict[int, Requested] = {}
        self._lock = Guard()
        self.is_over = False

    def request(self, number: int, fds: tuple[int, ...]) -> int:
        """Ask for a worker on these descriptors, which stay open until it has begun.

        Returns:
            A descriptor that is readable then, and open until `launched` or `abandon` is called;
            -1 if it has begun. After an error `abandon` must be called.
        """
        dump = Dump()
        place = self._take_place(number)
        asked = self._launcher.begin((*fds, dump.fd, *self._terms.config.fds), self._setup(place))
        self._requested[number] = Requested(asked, place, dump, time.monotonic() + PATIENCE)
        return asked.ready

    def launched(self, number: int) -> tuple[int, int, bool]:
        """Wait for a worker that was asked for.

        Returns:
            Its pid, a pidfd that stays open, and whether there was another in its place before.
            After an error `abandon` must be called.
        """
        asked, place, dump, end = self._requested[number]
        worker = None
        try:
            worker = asked.worker(max(0.0, end - time.monotonic()))
            with self._lock.held():
                self.employed[number] = Employed(worker, place, dump)
                del self._requested[number]
                before = self.launches.get(place, 0)
                self.launches[place] = before + 1
        except BaseException:
            # An interrupt may come when it is there already, and nobody knows of it.
            if worker is not None and number not in self.employed:
                worker.kill()
                worker.close()
            raise
        self._leave_place(number)
        return worker.pid, worker.pidfd, before > 0

    def _leave_place(self, number: int) -> None:
        with self._lock.held():
            self._coming.pop(number, None)

    def _take_place(self, number: int) -> int:
        with self._lock.held():
            while True:
                taken = self._taken(number)
                place = next(place for place in itertools.count() if place not in taken)
                self._coming[number] = place
                # The handler of a signal may have hired in between, and taken it.
                if place not in self._taken(number):
                    return place

    def _taken(self, number: int) -> set[int]:
        """The places of all others."""
        coming = [place for other, place in list(self._coming.items()) if other != number]
        return {each.place for each in list(self.employed.values())}.union(coming)

    def _setup(self, place: int) -> bytes:
        terms = self._terms
        levels = telling.levels() if terms.forward_logs else None
        cpus = terms.cpus[place % len(terms.cpus)] if terms.cpus else None
        warm = self._launcher.method == "zygote"
        handed = terms.config
        return pickle.dumps(tuple(Setup(levels, cpus, warm, len(handed.fds), handed.pickled)))

    def died(
        self, number: int, was_ready: bool, expected: bool, used: int | None, running: list[str]
    ) -> BaseException:
        """Let go of a worker that is gone; the error for what it was running."""
        with self._lock.held():
            employed = self.employed.pop(number, None)
        if employed is None:
            return WorkerCrashed("the process that ran this task is gone")
        worker = employed.worker
        pid, status = worker.pid, worker.exit_status(_REPORT)
        if not expected:
            # What its tasks have started has lost whom it worked for.
            worker.kill()
        worker.close()
        killed = status == -signal.SIGKILL and not expected
        oom = killed and self._oom.claim(employed.dump.kills())
        task = running[0] if running else None
        dump = "" if expected else employed.dump.read()
        text = f"worker process {pid} {describe_status(status)} {_when(was_ready, task)}"
        text += self._why(used, oom) + (f"\n\n{dump}" if dump else "")
        error = WorkerCrashed(text, pid, status, task, oom, dump)
        if not expected:
            # As the stdlib has it, for who reads the cause.
            cause = f"Process {pid} terminated abruptly with exit code {status}"
            text = f"\n'''\n{cause}'''"
            error.__cause__ = _RemoteTraceback(text)  # type: ignore[arg-type]  # typeshed's error
        return error

    def _why(self, used: int | None, oom: bool) -> str:
        if used is not None:
            limit = self._terms.max_memory
            return f"; it had {used} bytes of memory, and max_memory_per_worker is {limit}"
        return "; the kernel's out-of-memory killer did it, its counters say" if oom else ""

    def abandon(self, number: int) -> None:
        """Want a worker no more that was asked for, or launched in vain."""
        with self._lock.held():
            requested = self._requested.pop(number, None)
            employed = self.employed.pop(number, None)
        if employed is not None:
            employed.worker.kill()
            employed.worker.close()
        elif requested is not None:
            requested.asked.cancel()
        self._leave_place(number)

    def over(self) -> None:
        """Nothing follows: the pool is over."""
        self.is_over = True
        forget(self)

    def broken(self, cause: BaseException | None) -> BaseException:
        """The error for one task of a pool that is broken."""
        error = BrokenProcessPool(BROKEN)
        error.__cause__ = cause
        return error

    def message(self, number: int, inlet: int, pid: int, content: bytes) -> None:
        """A worker says something that is no result."""
        if inlet == 0:
            telling.hear(content, self._launcher)
        else:
            self._outputs.add(number, inlet, pid, content)

    def gone(self, number: int, pid: int, lost: int) -> None:
        """A worker says nothing any more; so many bytes of what it said last were dropped."""
        self._outputs.end(number, pid, lost)

    def kill_all(self) -> None:
        """Kill every worker, with all that it has started."""
        for worker in self.all_workers():
            worker.kill()

    def all_workers(self, numbers: Sequence[int] | None = None) -> list[Worker]:
        """Those that have not been let go, or of them those with these numbers."""
        with self._lock.held():
            employed = list(self.employed.items())
            chosen = self.employed if numbers is None else numbers
            return [each.worker for number, each in employed if number in chosen]

    def wait(self, timeout: float) -> None:
        """Wait until every worker's end was seen, for at most so many seconds."""
        end = time.monotonic() + timeout
        for worker in self.all_workers():
            worker.exit_status(max(0.0, end - time.monotonic()))

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle the processes of a pool")


def _when(was_ready: bool, task: str | None) -> str:
    if not was_ready:
        return "before it was set up"
    return "without a task" if task is None else f"while it ran this task: {task}"
