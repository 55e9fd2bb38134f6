"""Pools at the interpreter's exit: what was submitted still runs, as in the stdlib."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol

from counterpoint._core import ProcessPool

__all__ = ["forget", "let_go", "remember"]


class _Owner(Protocol):
    is_over: bool


_pools: weakref.WeakSet[ProcessPool] = weakref.WeakSet()

# Those whose executor is gone, while they have something to do; by what is told of their end.
_left: dict[_Owner, ProcessPool] = {}


def remember(pool: ProcessPool) -> None:
    """Have a pool closed, and waited for, when the interpreter ends."""
    _pools.add(pool)


def let_go(pool: ProcessPool, owner: _Owner) -> None:
    """The pool's executor is gone: nothing can be submitted any more, but what was still runs."""
    _left[owner] = pool
    pool.close(False)
    if owner.is_over or pool.is_over():
        forget(owner)


def forget(owner: _Owner) -> None:
    """A pool is over."""
    _left.pop(owner, None)


def _end() -> None:
    pools = {*_pools, *_left.values()}
    for pool in pools:
        pool.close(False)
    for pool in pools:
        pool.wait_for_end()


def _forget_all() -> None:
    # The processes are the parent's.
    _pools.clear()
    _left.clear()


threading._register_atexit(_end)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget_all)
