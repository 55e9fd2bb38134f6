"""What a pool's initializer is given, for workers that are not the stdlib's processes.

As its arguments may be locks, queues and connections, they are pickled as if a process were being
started, and their descriptors go to each worker with the pool's own.
"""

from __future__ import annotations

import itertools
import os
import pickle
import weakref
from collections.abc import Callable, Sequence
from multiprocessing import context, reduction
from typing import Any

from counterpoint._process.serving import begin, serve
from counterpoint._worker.launch import Launcher, Worker

__all__ = ["Handing", "HandingLauncher", "Keeping", "start", "start_kept", "taking"]

# The descriptors of this worker's initializer.
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


class Handing:
    """An initializer and its arguments, pickled once for all workers."""

    def __init__(self, initializer: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        starting: Any = _Starting()
        context.set_spawning_popen(starting)
        try:
            pickler: Any = reduction.ForkingPickler
            self.pickled = bytes(pickler.dumps((initializer, arguments)))
        finally:
            context.set_spawning_popen(None)
        self.fds: tuple[int, ...] = tuple(starting.fds)
        weakref.finalize(self, _close, self.fds)


def _close(fds: Sequence[int]) -> None:
    for fd in fds:
        os.close(fd)


# What forks of this process inherit, by number.
_kept: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
_numbers = itertools.count()


class Keeping:
    """An initializer and its arguments, for workers that are forks of this process."""

    def __init__(self, initializer: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.number = next(_numbers)
        _kept[self.number] = initializer, arguments
        weakref.finalize(self, _kept.pop, self.number, None)


def start_kept(number: int) -> None:
    """The initializer of a worker that is a fork."""
    initializer, arguments = _kept[number]
    initializer(*arguments)


class HandingLauncher(Launcher):
    """A launcher whose workers get more descriptors, behind the pool's own."""

    def __init__(self, method: str, handing: Handing) -> None:
        super().__init__(method, target=f"{__name__}:taking", early=f"{__name__}:beginning")
        self._handing = handing

    def launch(
        self,
        fds: Sequence[int],
        config: bytes,
        name: str | None = None,
        timeout: float | None = 60.0,
    ) -> Worker:
        """As the base class."""
        more = self._handing.fds
        told = pickle.dumps((len(more), config))
        return super().launch((*fds, *more), told, name, timeout)


def beginning(*fds_and_told: Any) -> None:
    """What the worker runs first: the same as any."""
    fds, _, config = _apart(*fds_and_told)
    begin(*fds, config)


def taking(*fds_and_told: Any) -> int:
    """What the worker runs: the same as any, which knows its initializer's descriptors."""
    global _received
    fds, _received, config = _apart(*fds_and_told)
    return serve(*fds, config)


def _apart(*fds_and_told: Any) -> tuple[tuple[int, ...], tuple[int, ...], bytes]:
    *fds, told = fds_and_told
    count, config = pickle.loads(told)
    own = len(fds) - count
    return tuple(fds[:own]), tuple(fds[own:]), config


def start(pickled: bytes) -> None:
    """The initializer of the worker, as the pool's processes know it."""
    initializer, arguments = pickle.loads(pickled)
    initializer(*arguments)
