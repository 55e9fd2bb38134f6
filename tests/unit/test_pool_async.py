"""`async with` a pool, of threads or of processes: its end is awaited."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Executor, Future

import pytest

from counterpoint.futures import ProcessPoolExecutor, ThreadPoolExecutor
from tests.processes import Guest, Meeting, stay
from tests.support import DEADLINE, eventually, run_async

pytestmark = pytest.mark.parametrize("kind", [ThreadPoolExecutor, ProcessPoolExecutor])


def waiting() -> bool:
    """Whether a thread waits for the end of a pool."""
    return any(thread.name == "counterpoint-shutdown" for thread in threading.enumerate())


def test_its_end_does_not_block_the_loop(kind: type[ThreadPoolExecutor], meeting: Meeting) -> None:
    async def let_go() -> None:
        while not waiting():
            await asyncio.sleep(0)
        meeting.let_go()

    async def main() -> None:
        async with kind(1) as pool:
            assert type(pool) is kind
            running = pool.submit(stay, Guest(*meeting.paths))
            queued = pool.submit(abs, -2)
            other = asyncio.create_task(let_go())
        assert running.done()
        assert queued.result(0) == 2
        await other
        with pytest.raises(RuntimeError, match="after shutdown"):
            pool.submit(abs, 1)

    run_async(main())
    eventually(lambda: not waiting())


def test_a_cancellation_ends_the_waiting_only(
    kind: type[ThreadPoolExecutor], meeting: Meeting
) -> None:
    pools: list[Executor] = []

    async def use() -> None:
        async with kind(1) as pool:
            pools.append(pool)
            futures.append(pool.submit(stay, Guest(*meeting.paths)))
            meeting.arrived()
            leaving.set()

    async def main() -> None:
        task = asyncio.create_task(use())
        await asyncio.wait_for(leaving.wait(), DEADLINE)
        while not waiting():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not futures[0].done()
        with pytest.raises(RuntimeError, match="after shutdown"):
            pools[0].submit(abs, 1)

    futures: list[Future[object]] = []
    leaving = asyncio.Event()
    run_async(main())
    meeting.let_go()
    eventually(futures[0].done)
    assert not futures[0].cancelled()
    eventually(lambda: not waiting())


def test_an_exception_comes_through(kind: type[ThreadPoolExecutor]) -> None:
    async def main() -> None:
        async with kind(1) as pool:
            await pool.submit(abs, -1)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run_async(main())


def test_what_its_shutdown_raises_comes_through(kind: type[ThreadPoolExecutor]) -> None:
    class Odd(kind):  # type: ignore[valid-type, misc]
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait, cancel_futures=cancel_futures)
            if wait:
                raise ArithmeticError("odd")

    async def main() -> None:
        async with Odd(1) as pool:
            await pool.submit(abs, -1)

    with pytest.raises(ArithmeticError, match="odd"):
        run_async(main())
