"""How our objects get into other processes: as the stdlib's do, while a process is being started.

A fork inherits them. For the other start methods they are pickled, into the preparation of the new
process and nowhere else; what travels is the descriptor of their memory.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import context, reduction
from typing import Any, Protocol, Self, TypeVar

__all__ = ["hand_over", "receive"]

T = TypeVar("T", bound="_Shared")


class _Shared(Protocol):
    def __new__(cls, *, _fd: int | None = None) -> Self: ...
    def _fd(self) -> int: ...
    def _receive(self) -> None: ...


class _Sent(Protocol):
    def detach(self) -> int: ...


def hand_over(shared: _Shared) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What `__reduce__` returns: the class and the memory; then `_receive()` is called.

    Raises:
        RuntimeError: No process is being started.
    """
    context.assert_spawning(shared)
    return receive, (type(shared), reduction.DupFd(shared._fd()))


def receive(cls: type[T], sent: _Sent) -> T:
    """The object in the new process."""
    shared = cls.__new__(cls, _fd=sent.detach())
    shared._receive()
    return shared
