"""Pools at the interpreter's exit: what was submitted still runs, as in the stdlib.

Not after Ctrl-C, and not what a `multiprocessing.Pool` runs: those are terminated. In the stdlib
Ctrl-C at the terminal reaches the workers by itself; ours have process groups of their own.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import weakref
from collections.abc import Collection
from multiprocessing import util
from typing import Protocol

from counterpoint._core import ProcessPool

__all__ = ["forget", "let_go", "remember", "stop", "terminate_at_exit"]


class _Owner(Protocol):
    is_over: bool


# Sets: threads may add to them while others look, which a WeakSet does not bear.
_Pools = weakref.WeakKeyDictionary[ProcessPool, None]

_pools = _Pools()

# Those that do not go on then, and in which process that was registered.
_terminated = _Pools()
_registered = 0

# The error that had ended the parent when this process was forked.
_inherited: object = None

# Those whose executor is gone, while they have something to do; by what is told of their end.
_left: dict[_Owner, ProcessPool] = {}


def _alive(pools: _Pools) -> set[ProcessPool]:
    return {pool for each in pools.keyrefs() if (pool := each()) is not None}


def remember(pool: ProcessPool) -> None:
    """Have a pool closed, and waited for, when the interpreter ends."""
    _pools[pool] = None


def terminate_at_exit(pool: ProcessPool) -> None:
    """Have what a pool runs at the end of the interpreter ended with it."""
    global _registered
    _terminated[pool] = None
    if _registered != os.getpid():
        # As the stdlib's: after the threads that may still use it have ended.
        _registered = os.getpid()
        util.Finalize(None, lambda: _terminate(_alive(_terminated)), exitpriority=15)


def stop(pool: ProcessPool, number: int) -> None:
    """Close a pool, cancel what waits, and send its workers a signal."""
    pool.close(True)
    pool.signal_workers(number)


def _wait_or_kill(pools: Collection[ProcessPool]) -> None:
    """Wait for the end of closed pools; Ctrl-C meanwhile kills what they still run."""
    try:
        for pool in pools:
            pool.wait_for_end()
    except KeyboardInterrupt:
        for pool in pools:
            stop(pool, signal.SIGKILL)
        raise


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
    pools = _alive(_pools).union(list(_left.values()))
    if _is_interrupted():
        return _terminate(pools)
    pools -= _alive(_terminated)
    for pool in pools:
        pool.close(False)
    return _wait_or_kill(pools)


def _terminate(pools: Collection[ProcessPool]) -> None:
    for pool in pools:
        stop(pool, signal.SIGTERM)
    _wait_or_kill(pools)


def _is_interrupted() -> bool:
    """Whether Ctrl-C has ended the program, as far as the interpreter tells."""
    if hasattr(sys, "ps1") or sys.flags.interactive:
        return False  # it ended one statement
    error = _last_error()
    if not isinstance(error, KeyboardInterrupt) or error is _inherited or not error.__traceback__:
        return False
    # Some print an error as the interpreter does, and go on.
    return error.__traceback__.tb_frame.f_back is None


def _last_error() -> object:
    error: object = getattr(sys, "last_exc", None)
    return getattr(sys, "last_value", None) if error is None else error


def _forget_all() -> None:
    # The processes are the parent's, and so is what has ended it.
    global _inherited
    _pools.clear()
    _left.clear()
    _terminated.clear()
    _inherited = _last_error()


threading._register_atexit(_end)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_forget_all)
