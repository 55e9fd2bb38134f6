"""Submitting from coroutines, which await room and never block for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from counterpoint._core import ProcessFuture

    from .executor import ProcessPoolExecutor

__all__ = ["awaits_room", "submit_in_room"]

T = TypeVar("T")


class _Awaiting(threading.local):
    """The pool to which this thread submits for a coroutine."""

    pool: ProcessPoolExecutor | None = None


_awaiting = _Awaiting()


class _Overtaken(Exception):
    """The room that a task awaited was taken before it could submit."""


def awaits_room(pool: ProcessPoolExecutor) -> None:
    """Called for want of room: raises if it is a coroutine that submits."""
    if _awaiting.pool is pool:
        raise _Overtaken


async def submit_in_room(
    pool: ProcessPoolExecutor,
    submit: Callable[..., ProcessFuture[T]],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> ProcessFuture[T]:
    """`submit(*args, **kwargs)`, once there is room."""
    from counterpoint._async import drive

    while True:
        await drive(pool._counterpoint_pool.room_ticket())
        _awaiting.pool = pool
        try:
            return submit(*args, **kwargs)
        except _Overtaken:
            pass  # by another thread
        finally:
            _awaiting.pool = None
