"""The processes of one pool: how they are launched, and what is said of their end."""

from __future__ import annotations

import _thread
import time
from typing import Any

from counterpoint._worker.launch import Launcher, Worker

from .ending import forget
from .errors import BrokenProcessPool, WorkerCrashed, describe_status

__all__ = ["Supervisor"]

_SERVE = "counterpoint._process.serving:serve"

# How long the end of a process may take to be reported, after its death was seen.
_REPORT = 5.0


class Supervisor:
    """What the pool's native half calls when something takes Python.

    It is called by the threads that submit and by the courier, one call at a time for each worker.
    """

    def __init__(self, launcher: Launcher, config: bytes) -> None:
        self._launcher = launcher
        self._config = config
        # By number; the lock is the interpreter's own, reentrant for a signal handler that submits.
        self.workers: dict[int, Worker] = {}
        self._lock = _thread.RLock()
        self.is_over = False

    def launch(self, number: int, fds: tuple[int, int, int, int]) -> tuple[int, int]:
        """Start a worker on these descriptors; its pid, and a pidfd that stays open."""
        worker = self._launcher.launch(fds, self._config)
        with self._lock:
            self.workers[number] = worker
        return worker.pid, worker.pidfd

    def died(
        self, number: int, was_ready: bool, expected: bool, tasks: int, running: int
    ) -> BaseException:
        """Let go of a worker that is gone; the error for what it was running."""
        with self._lock:
            worker = self.workers.pop(number, None)
        if worker is None:
            return WorkerCrashed("the process that ran this task is gone")
        pid, status = worker.pid, worker.exit_status(_REPORT)
        if not expected:
            # What its tasks have started has lost whom it worked for.
            worker.kill()
        worker.close()
        when = "while it ran this task" if running else "without a task"
        if not was_ready:
            when = "before it was set up"
        text = f"worker process {pid} {describe_status(status)} {when}"
        return WorkerCrashed(text, pid, status)

    def abandon(self, number: int) -> None:
        """Have a worker killed that was launched in vain."""
        with self._lock:
            worker = self.workers.pop(number, None)
        if worker is not None:
            worker.kill()
            worker.close()

    def over(self) -> None:
        """Nothing follows: the pool is over."""
        self.is_over = True
        forget(self)

    def broken(self, cause: BaseException | None) -> BaseException:
        """The error for one task of a pool that is broken."""
        error = BrokenProcessPool(
            "A child process terminated abruptly, the process pool is not usable anymore"
        )
        error.__cause__ = cause
        return error

    def message(self, number: int, content: bytes) -> None:
        """A worker says something that is no result."""

    def kill_all(self) -> None:
        """Kill every worker, with all that it has started."""
        for worker in self.all_workers():
            worker.kill()

    def all_workers(self) -> list[Worker]:
        """Those that have not been let go."""
        with self._lock:
            return list(self.workers.values())

    def wait(self, timeout: float) -> None:
        """Wait until every worker's end was seen, for at most so many seconds."""
        end = time.monotonic() + timeout
        for worker in self.all_workers():
            worker.exit_status(max(0.0, end - time.monotonic()))

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle the processes of a pool")
