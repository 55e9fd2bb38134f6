"""How a coroutine waits for a native object: the asyncio half of ``boundary::block_on``.

A *ticket* is one operation in progress. It is tried without queueing first; then the task queues
with a fresh future, awaits that future, and tries again, because being woken is permission to
try and not the thing itself. A cancellation passes on whatever the ticket was given meanwhile,
so neither a lock nor an item is ever inside a future that nobody will read.

asyncio is imported by the coroutines themselves: who runs one has imported it already, and who
does not should not pay for it.
"""

from __future__ import annotations

from counterpoint._core import PENDING, Ticket, resolve

TYPE_CHECKING = False  # not typing's: see __init__.py
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any

__all__ = ["PENDING", "current", "drive", "seconds"]


async def drive(
    ticket: Ticket,
    timeout: float | None = None,
    queued: Callable[[], object] | None = None,
) -> Any:
    """Waits in the running event loop until the ticket's operation is done.

    Args:
        ticket: The operation; nobody else may use it.
        timeout: Seconds; None waits for ever, zero or less tries once.
        queued: Called once, when the task is in line and before it waits (Condition releases its
            lock there).

    Returns:
        What the operation brought, or `PENDING` if the time was over first.

    Raises:
        TypeError, ValueError: if the timeout is not a number.
    """
    if timeout is not None:
        timeout = seconds(timeout)
    if queued is None:
        result = ticket.try_now()
        if result is not PENDING or (timeout is not None and timeout <= 0):
            return result
    return await _wait(ticket, timeout, queued)


def seconds(timeout: float) -> float:
    """A timeout as a float; what is none is refused, even where nobody has to wait."""
    try:
        number = timeout + 0.0
    except TypeError:
        raise TypeError(f"timeout must be a number or None, not {timeout!r}") from None
    if number != number:
        raise ValueError("Invalid value NaN (not a number)")
    return number


def current() -> tuple[asyncio.AbstractEventLoop, asyncio.Task[Any] | None]:
    """The running loop and its current task."""
    from asyncio import current_task, get_running_loop

    loop = get_running_loop()
    return loop, current_task(loop)


async def _wait(ticket: Ticket, timeout: float | None, queued: Callable[[], object] | None) -> Any:
    loop, task = current()
    deadline: float | None = None
    try:
        while True:
            future = loop.create_future()
            result = ticket.attempt(loop, future, task)
            if result is not PENDING:
                return result
            if queued is not None:
                queued()
                queued = None
            if timeout is not None:
                # The time of one who waits for the end of a barrier's action stands still.
                if not ticket.is_timed():
                    deadline = None
                elif deadline is None:
                    deadline = loop.time() + timeout
            if not await _woken(loop, future, deadline):
                result = ticket.expire()
                if result is not PENDING or not ticket.is_queued():
                    return result
    except BaseException:
        ticket.abandon()
        raise


async def _woken(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[None], deadline: float | None
) -> bool:
    """Awaits the future; False when the deadline passed before anyone resolved it."""
    if deadline is None:
        await future
        return True
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = not future.done()
        resolve(future)

    timer = loop.call_at(deadline, expire)
    try:
        await future
    finally:
        timer.cancel()
    return not expired
