"""Soft time limits, in a worker: a signal of its own timer, whose handler raises."""

from __future__ import annotations

import signal
from types import FrameType

from counterpoint._core import _limit_is_over
from counterpoint._errors import SoftTimeout

__all__ = ["signal_number"]

# Not SIGALRM, which tasks may use, and not the first real-time signals, which libraries take.
_NUMBER = signal.SIGRTMAX - 1


def signal_number() -> int:
    """The signal, which is handled from now on. Called by the worker's main thread."""
    signal.signal(_NUMBER, _interrupt)
    return _NUMBER


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    limit = _limit_is_over()
    if limit is not None:
        raise SoftTimeout(f"the task ran longer than its soft limit of {limit} s")
