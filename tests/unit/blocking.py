"""What the tests of the stall watchdog share.

A busy machine may keep any callback from going on for as long as is a stall here, and the watchdog
is right to tell of it: so tests ask for the stall that they have made.
"""

from __future__ import annotations

import sys
import weakref

from counterpoint._loop.statistics import Stall
from counterpoint.aio import EventLoop
from tests.support import eventually

# Short, for short tests; what is no stall takes microseconds.
THRESHOLD = 0.02

# When the stall began that was made last.
_began: weakref.WeakKeyDictionary[EventLoop, float] = weakref.WeakKeyDictionary()


def stalls(loop: EventLoop) -> tuple[Stall, ...]:
    return loop.statistics().recent_stalls


def functions(stall: Stall) -> list[str]:
    return [function for _, _, function in stall.stack]


def until_reported(loop: EventLoop) -> None:
    """Block until the watchdog has seen that the function which calls this does not come back."""
    ours = {until_reported.__qualname__, sys._getframe(1).f_code.co_qualname}
    before = _began.get(loop, 0.0)

    def seen() -> list[float]:
        return [
            stall.began
            for stall in stalls(loop)
            if stall.began > before and not ours.isdisjoint(functions(stall))
        ]

    eventually(seen)
    _began[loop] = seen()[-1]


def reported(loop: EventLoop) -> Stall:
    """The stall that `until_reported()` has made last."""
    (stall,) = [stall for stall in stalls(loop) if stall.began == _began[loop]]
    return stall


def until_counted(loop: EventLoop, number: int) -> None:
    """Block until the watchdog has seen so many stalls."""
    eventually(lambda: loop.statistics().stalls >= number)


def long_callbacks(loop: EventLoop, threshold: float = THRESHOLD) -> int:
    """How many callbacks of a loop that is measured took so long; a bucket ends within 7 %."""
    histogram = loop.statistics().run_histogram
    return sum(count for bound, count in histogram if bound >= 0.93 * threshold)


def run_once(loop: EventLoop) -> None:
    loop.call_soon(loop.stop)
    loop.run_forever()
