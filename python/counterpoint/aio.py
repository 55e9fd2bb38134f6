"""The asyncio event loop, in Rust.

A program that uses asyncio goes on using it: tasks, futures, streams and locks are asyncio's own.
What is ours is the loop below them.

>>> import asyncio
>>> from counterpoint import aio
>>> async def main():
...     await asyncio.sleep(0)
...     return type(asyncio.get_running_loop()).__name__
>>> aio.run(main())
'EventLoop'
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ._loop.loop import EventLoop
from ._loop.policy import EventLoopPolicy

__all__ = ["EventLoop", "EventLoopPolicy", "install", "new_event_loop", "run"]

_T = TypeVar("_T")


def new_event_loop() -> EventLoop:
    """A new loop; the same as `asyncio.new_event_loop()`, and good as a `loop_factory`.

    >>> loop = new_event_loop()
    >>> loop.run_until_complete(asyncio.sleep(0, 5))
    5
    >>> loop.close()
    """
    return EventLoop()


def run(main: Coroutine[Any, Any, _T], *, debug: bool | None = None) -> _T:
    """Run a coroutine on a loop of ours and close it; the same as `asyncio.run()`.

    Args:
        main: the coroutine.
        debug: asyncio's debug mode; None: as the environment says.

    Returns:
        What the coroutine returns.

    Raises:
        RuntimeError: a loop runs in this thread already.
        KeyboardInterrupt: after Ctrl-C, once the coroutine was cancelled.

    >>> run(asyncio.sleep(0, "done"))
    'done'
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("run() cannot be called while an event loop runs in this thread")
    with asyncio.Runner(debug=debug, loop_factory=new_event_loop) as runner:
        return runner.run(main)


def install() -> None:
    """Have asyncio make our loops: `asyncio.run()`, `new_event_loop()`, `EventLoop()`.

    The same as `counterpoint.install()` for asyncio alone; `counterpoint.uninstall()` undoes it.
    Loops that exist stay what they are, and so does a policy that a program has set.
    """
    from . import _install

    _install.install(threading=False, queue=False, futures=False, asyncio=True)
