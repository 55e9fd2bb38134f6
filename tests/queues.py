"""The queues in all their variants, for tests that hold for every one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from counterpoint import queue


def _compatible(make: Callable[..., Any]) -> Callable[..., Any]:
    def made(*args: Any, **options: Any) -> Any:
        subject = make(*args, **options)
        assert subject.mutex is not None
        return subject

    return made


class _Hooked(queue.Queue[Any]):
    def _put(self, item: Any) -> None:
        super()._put(item)


CLASSES: dict[str, Callable[..., Any]] = {
    "Queue": queue.Queue,
    "LifoQueue": queue.LifoQueue,
    "PriorityQueue": queue.PriorityQueue,
}
BOUNDED: dict[str, Callable[..., Any]] = {
    **CLASSES,
    **{f"{name}-compatible": _compatible(make) for name, make in CLASSES.items()},
    "Queue-hooked": _Hooked,
}
ALL = {**BOUNDED, "SimpleQueue": queue.SimpleQueue}
NATIVE = {**CLASSES, "SimpleQueue": queue.SimpleQueue}

every_queue = pytest.mark.parametrize("make", ALL.values(), ids=list(ALL))
every_bounded = pytest.mark.parametrize("make", BOUNDED.values(), ids=list(BOUNDED))
every_native = pytest.mark.parametrize("make", NATIVE.values(), ids=list(NATIVE))


def is_native(subject: Any) -> bool:
    """Whether the items are in the native store."""
    return isinstance(subject, queue.SimpleQueue) or not subject._traits()[0]


def putters(subject: Any) -> int:
    """How many wait for room."""
    return subject.statistics().putters


def getters(subject: Any) -> int:
    """How many wait for an item."""
    return subject.statistics().getters
