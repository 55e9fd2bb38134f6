"""What a worker's death is called."""

from __future__ import annotations

import signal
from concurrent.futures.process import BrokenProcessPool

from counterpoint._errors import TaskKilled

__all__ = ["BROKEN", "BrokenProcessPool", "TaskKilled", "WorkerCrashed", "describe_status"]

BROKEN = "A child process terminated abruptly, the process pool is not usable anymore"


class WorkerCrashed(BrokenProcessPool):
    """The process that ran this task ended before the task did.

    The pool goes on: the process is replaced, and no other task is lost.

    Attributes:
        pid: the process, or None if it is not known.
        exitcode: as `multiprocessing.Process.exitcode` has it: negative for a signal, None if it
            is not known.
        task: the call, about as it was written, after its name if it has one; None if there was
            none.
        oom: whether the kernel's out-of-memory killer did it, as far as its counter for the control
            group tells in which the worker was once its initializer had run.
        dump: where each thread was in the moment of a fatal signal (module `faulthandler`).
    """

    def __init__(
        self,
        message: str,
        pid: int | None = None,
        exitcode: int | None = None,
        task: str | None = None,
        oom: bool = False,
        dump: str = "",
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.exitcode = exitcode
        self.task = task
        self.oom = oom
        self.dump = dump

    def __reduce__(self) -> tuple[object, ...]:
        state = (self.args[0], self.pid, self.exitcode, self.task, self.oom, self.dump)
        return type(self), state


# Where users find it.
WorkerCrashed.__module__ = "counterpoint.futures"


def describe_status(status: int | None) -> str:
    """An exit status in words."""
    if status is None:
        return "ended, and nobody knows how"
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was killed by {name}"
