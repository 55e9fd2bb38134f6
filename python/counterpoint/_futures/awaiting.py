"""Futures and collectors in asyncio."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from counterpoint._core import LoopWaker, _check_ours

if TYPE_CHECKING:
    from counterpoint._core import Future

__all__ = ["wait_in_task"]

T = TypeVar("T")


async def wait_in_task(future: Future[T]) -> T:
    """What `await future` does: waits in the running loop, then returns the result.

    A cancellation of the awaiting task ends the waiting. A call that runs in another process it
    stops as well; any other call goes on.
    """
    if not future.done():
        _check_ours(future)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        wake = LoopWaker(loop, done)
        future.add_done_callback(wake)
        try:
            await done
        except BaseException as error:
            future._remove_done_callback(wake)
            kill = getattr(future, "kill", None)
            if kill is not None and isinstance(error, asyncio.CancelledError):
                kill()
            raise
    return future.result()
