"""The bound of a queue: any number that the stdlib takes, and what a put without one ignores."""

from __future__ import annotations

import math
import queue as stdlib
import weakref
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest

from counterpoint import queue
from tests.queues import every_bounded
from tests.support import is_collected

Make = Callable[..., Any]


@every_bounded
@pytest.mark.parametrize("timeout", [-1, "soon", math.nan])
def test_without_a_bound_nobody_looks_at_a_put_s_timeout(make: Make, timeout: Any) -> None:
    for subject in (make(), make(0), make(-3)):
        subject.put(1, timeout=timeout)
        subject.put(2, True, timeout)
        subject.put(3, False, timeout)
        assert subject.qsize() == 3


ODD_BOUNDS = [
    (math.inf, None),
    (10**30, None),
    (-(10**30), None),
    (-math.inf, None),
    (math.nan, None),
    (-0.5, None),
    (0.5, 1),
    (2.0, 2),
    (2.5, 3),
    (Fraction(5, 2), 3),
]


@every_bounded
@pytest.mark.parametrize(("maxsize", "most"), ODD_BOUNDS)
@pytest.mark.parametrize("late", [False, True])
def test_a_bound_is_any_number(make: Make, maxsize: Any, most: int | None, late: bool) -> None:
    subject, theirs = make(1 if late else maxsize), stdlib.Queue(maxsize)
    if late:
        subject.maxsize = maxsize
    assert subject.maxsize is maxsize
    for item in range(most or 50):
        assert not subject.full()
        subject.put_nowait(item)
        theirs.put_nowait(item)
    assert subject.full() is theirs.full() is (most is not None)
    assert subject.statistics().maxsize == (most or 0)
    if most is not None:
        with pytest.raises(queue.Full):
            subject.put_nowait(1)
    subject.maxsize = most or 0
    assert subject.maxsize == (most or 0)
    subject.__init__(3)
    assert subject.maxsize == 3


@every_bounded
@pytest.mark.parametrize("maxsize", ["3", None, [3]])
def test_a_bound_is_a_number(make: Make, maxsize: Any) -> None:
    with pytest.raises(TypeError):
        make(maxsize)


def test_a_bound_is_collected_with_its_queue() -> None:
    class Size(float):
        queue: Any

    size = Size(3)
    size.queue = queue.Queue(size)
    gone = weakref.ref(size)
    del size
    assert is_collected(gone)
