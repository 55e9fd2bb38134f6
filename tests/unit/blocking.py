"""What the tests of the stall watchdog share."""

from __future__ import annotations

from counterpoint._loop.statistics import Stall
from counterpoint.aio import EventLoop
from tests.support import eventually

# Short, for short tests; what is no stall takes microseconds.
THRESHOLD = 0.02


def stalls(loop: EventLoop) -> tuple[Stall, ...]:
    return loop.statistics().recent_stalls


def until_reported(loop: EventLoop, number: int = 1) -> None:
    """Block until the watchdog has seen it."""
    eventually(lambda: loop.statistics().stalls >= number)


def run_once(loop: EventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()


def has_ended(loop: EventLoop) -> bool:
    return stalls(loop)[-1].ended
