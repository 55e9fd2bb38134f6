"""How our objects get into other processes: as the stdlib's do, while a process is being started.

A fork inherits them. For the other start methods they are pickled, into the preparation of the new
process and nowhere else; what travels is the descriptor of their memory.
"""

from __future__ import annotations

from multiprocessing import context, reduction
from typing import Any, Protocol, Self, SupportsIndex, TypeVar

__all__ = ["Shared"]

T = TypeVar("T", bound="_Placed")


class _Placed(Protocol):
    def __new__(cls, *, _fd: int | None = None) -> Self: ...
    def _fd(self) -> int: ...


class _Sent(Protocol):
    def detach(self) -> int: ...


class Shared:
    """Has an object of shared memory handed over: its class and its memory travel.

    Raises:
        RuntimeError: From pickling it, when no process is being started.
    """

    __slots__ = ()

    def __reduce_ex__(self: _Placed, protocol: SupportsIndex) -> Any:
        context.assert_spawning(self)
        return receive, (type(self), reduction.DupFd(self._fd()))


def receive(cls: type[T], sent: _Sent) -> T:
    """The object in the new process."""
    return cls.__new__(cls, _fd=sent.detach())
