"""Process pools and event loops: awaiting room, and cancellations that stop the work."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

import pytest

from counterpoint._process.executor import ProcessPoolExecutor
from tests.support import DEADLINE, eventually, run_async


def read(path: Path) -> bytes:
    return path.read_bytes()


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def test_room_is_awaited_while_the_loop_goes_on(gate: Path) -> None:
    async def main() -> None:
        with ProcessPoolExecutor(1, max_pending=1) as pool:
            first = pool.submit(read, gate)
            eventually(first.running)
            second = pool.submit(abs, -2)
            third = asyncio.create_task(pool.async_submit(abs, -3))
            for _ in range(10):
                await asyncio.sleep(0)
            assert not third.done()
            await asyncio.to_thread(gate.write_bytes, b"go")
            assert [await first, await second, await (await third)] == [b"go", 2, 3]

    run_async(main())


def test_many_coroutines_share_the_room() -> None:
    async def one(pool: ProcessPoolExecutor, number: int) -> int:
        future = await pool.options(priority=number).async_submit(abs, number)
        return await future

    async def main() -> None:
        with ProcessPoolExecutor(2, max_pending=2) as pool:
            numbers = await asyncio.gather(*(one(pool, number) for number in range(300)))
            assert numbers == list(range(300))

    run_async(main())


def test_threads_and_coroutines_share_the_room() -> None:
    async def main() -> None:
        with ProcessPoolExecutor(1, max_pending=1) as pool:
            results: list[int] = []

            def submit() -> None:
                results.extend(pool.submit(abs, n).result(DEADLINE) for n in range(100))

            thread = threading.Thread(target=submit)
            thread.start()
            for number in range(100):
                assert await (await pool.async_submit(abs, number)) == number
            await asyncio.to_thread(thread.join, DEADLINE)
            assert results == list(range(100))

    run_async(main())


def test_a_cancelled_wait_for_room_submits_nothing(gate: Path) -> None:
    async def main() -> None:
        with ProcessPoolExecutor(1, max_pending=1) as pool:
            first = pool.submit(read, gate)
            eventually(first.running)
            second = pool.submit(abs, -2)
            waits = asyncio.create_task(pool.async_submit(abs, -3))
            await asyncio.sleep(0)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            gate.write_bytes(b"go")
            assert await first == b"go"
            assert await second == 2
            assert pool.statistics().done == 2

    run_async(main())


def test_a_refusal_ends_the_wait(gate: Path) -> None:
    async def main() -> None:
        with ProcessPoolExecutor(1, max_pending=1) as pool:
            first = pool.submit(read, gate)
            eventually(first.running)
            pool.submit(abs, -2)
            waits = asyncio.create_task(pool.async_submit(abs, -3))
            await asyncio.sleep(0)
            pool.shutdown(wait=False)
            with pytest.raises(RuntimeError, match="after shutdown"):
                await waits
            gate.write_bytes(b"go")

    run_async(main())


def test_cancelling_the_awaiting_task_stops_the_call(gate: Path) -> None:
    async def main() -> None:
        with ProcessPoolExecutor(1) as pool:
            worker = await pool.submit(os.getpid)
            future = pool.submit(read, gate)
            eventually(future.running)
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(future, 0.01)
            assert future.done()
            # Nobody writes to the gate: the worker was killed, and is replaced.
            assert await pool.submit(os.getpid) != worker

    run_async(main())


def test_cancelling_before_it_began_takes_it_back(gate: Path) -> None:
    async def main() -> None:
        with ProcessPoolExecutor(1) as pool:
            first = pool.submit(read, gate)
            eventually(first.running)
            second = pool.submit(abs, -1)

            async def wait() -> int:
                return await second

            waits = asyncio.create_task(wait())
            await asyncio.sleep(0)
            waits.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waits
            assert second.cancelled()
            gate.write_bytes(b"go")
            assert await first == b"go"

    run_async(main())
