"""What the workers of a pool are given once: the initializer, its arguments, the finalizer.

As with the stdlib's processes, the arguments may be locks, queues and connections of
`multiprocessing`: they are pickled as if a process were being started, and their descriptors go to
each worker with the pool's own. Workers that are forks of this process inherit everything, so there
nothing needs to be pickled at all.
"""

from __future__ import annotations

import itertools
import os
import pickle
import weakref
from collections.abc import Sequence
from multiprocessing import context, reduction
from typing import Any

__all__ = ["Handed", "hand_over", "keep", "receive"]

# The descriptors of this worker, for what is being unpickled.
_received: tuple[int, ...] = ()


class _Sent:
    """A descriptor on its way, by its place."""

    def __init__(self, place: int) -> None:
        self._place = place

    def detach(self) -> int:
        """The descriptor in the worker."""
        return _received[self._place]


class _Starting:
    """What `multiprocessing.reduction` asks while a process is being started."""

    def __init__(self) -> None:
        self.fds: list[int] = []

    def DupFd(self, place: int) -> _Sent:
        """What is pickled for a descriptor."""
        return _Sent(place)

    def duplicate_for_child(self, fd: int) -> int:
        """Notes a descriptor; its place."""
        self.fds.append(os.dup(fd))
        return len(self.fds) - 1


class Handed:
    """A value for every worker of a pool.

    Attributes:
        pickled: the value, for `receive`.
        fds: what has to be sent with it. They are open as long as this object is there.
    """

    def __init__(self, pickled: bytes, fds: Sequence[int] = ()) -> None:
        self.pickled = pickled
        self.fds = tuple(fds)
        weakref.finalize(self, _close, self.fds)


def hand_over(value: object) -> Handed:
    """The value for workers that are not forks of this process."""
    starting: Any = _Starting()
    pickler: Any = reduction.ForkingPickler
    before = context.get_spawning_popen()
    context.set_spawning_popen(starting)
    try:
        return Handed(bytes(pickler.dumps(value)), starting.fds)
    except BaseException:
        _close(starting.fds)
        raise
    finally:
        context.set_spawning_popen(before)


def receive(pickled: bytes, fds: Sequence[int]) -> Any:
    """The value, in the worker."""
    global _received
    _received = tuple(fds)
    return pickle.loads(pickled)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


# What forks of this process inherit, by number.
_kept: dict[int, object] = {}
_numbers = itertools.count()


class _ByNumber:
    """Unpickled in a fork, it is what was kept."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> Any:
        return _taken, (self._number,)


def _taken(number: int) -> object:
    return _kept[number]


def keep(value: object) -> Handed:
    """The value for workers that are forks of this process."""
    number = next(_numbers)
    _kept[number] = value
    handed = Handed(pickle.dumps(_ByNumber(number)))
    weakref.finalize(handed, _kept.pop, number, None)
    return handed
