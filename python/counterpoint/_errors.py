"""The errors that the standard library has no name for."""

from __future__ import annotations

from concurrent.futures._base import Error as _FutureError

__all__ = ["DeadlockError", "SoftTimeout", "TaskKilled"]


class DeadlockError(RuntimeError):
    """A wait was refused because it could never end; the text names the holder.

    Raised instead of waiting, so nothing was acquired and nothing is lost.
    """


class SoftTimeout(TimeoutError):
    """Raised inside a task whose `soft_timeout` is over, for it to clean up and end."""


class TaskKilled(_FutureError):
    """The process that ran this task was killed by `future.kill()`."""
