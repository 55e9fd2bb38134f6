"""How our objects get into other processes: as the stdlib's do, while a process is being started.

A fork inherits them. For the other start methods they are pickled, into the preparation of the new
process and nowhere else; what travels is the descriptor of their memory.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing import context, reduction
from typing import Any, Protocol, TypeVar

__all__ = ["hand_over", "receive"]

T = TypeVar("T")


class _Shared(Protocol):
    def _fd(self) -> int: ...


class _Sent(Protocol):
    def detach(self) -> int: ...


def hand_over(shared: _Shared, *state: object) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """What `__reduce__` returns: the class, the memory, and what `_receive(*state)` is told.

    Raises:
        RuntimeError: No process is being started.
    """
    context.assert_spawning(shared)
    sent = reduction.DupFd(shared._fd())  # type: ignore[attr-defined]
    return receive, (type(shared), sent, state)


def receive(cls: Callable[..., T], sent: _Sent, state: tuple[object, ...]) -> T:
    """The object in the new process."""
    shared = cls.__new__(cls, _fd=sent.detach())  # type: ignore[call-overload]
    shared._receive(*state)
    return shared  # type: ignore[no-any-return]
