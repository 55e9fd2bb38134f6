"""Pools at the interpreter's exit: what was submitted still runs, as in the stdlib."""

from __future__ import annotations

import os
import threading
import weakref

from counterpoint._core import ProcessPool

__all__ = ["remember"]

_pools: weakref.WeakSet[ProcessPool] = weakref.WeakSet()


def remember(pool: ProcessPool) -> None:
    """Have a pool closed, and waited for, when the interpreter ends."""
    _pools.add(pool)


def _end() -> None:
    pools = list(_pools)
    for pool in pools:
        pool.close(False)
    for pool in pools:
        pool.wait_for_end()


def _forget() -> None:
    # The processes are the parent's.
    _pools.clear()


threading._register_atexit(_end)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget)
