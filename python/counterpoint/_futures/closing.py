"""The end of `async with` a pool: its shutdown, awaited."""

from __future__ import annotations

import threading
from concurrent.futures import Executor

from counterpoint._core import Future

__all__ = ["shut_down"]


async def shut_down(executor: Executor) -> None:
    """`executor.shutdown()`, which waits in a thread of its own; the event loop goes on.

    A cancellation ends the waiting, as Ctrl-C ends that of `with`: the pool is closed by then.
    """
    executor.shutdown(wait=False)
    ended: Future[None] = Future()
    # From now on a cancellation of who awaits it leaves it alone.
    ended.set_running_or_notify_cancel()

    def wait() -> None:
        try:
            executor.shutdown()
        except BaseException as error:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    threading.Thread(target=wait, name="counterpoint-shutdown").start()
    await ended
