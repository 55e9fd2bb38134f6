"""A subclass of a loop with a `time()` of its own has its timers by that."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from counterpoint.aio import EventLoop
from tests.support import DEADLINE


class Simulated(EventLoop):
    """Time passes as it is told to."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Wall(EventLoop):
    """The time of day."""

    def time(self) -> float:
        return time.time()


@pytest.mark.parametrize("measured", [False, True])
def test_simulated_time(measured: bool) -> None:
    fired: list[tuple[str, float]] = []
    begun = time.monotonic()

    async def main() -> None:
        loop: Any = asyncio.get_running_loop()
        loop.measure(measured)

        async def tick() -> None:
            while True:
                loop.now += 100
                await asyncio.sleep(0)

        ticking = loop.create_task(tick())
        loop.call_later(1000, lambda: fired.append(("later", loop.now)))
        loop.call_at(2050, lambda: fired.append(("at", loop.now)))
        loop.call_later(500, lambda: fired.append(("never", loop.now))).cancel()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3000):
                await asyncio.sleep(1_000_000)
        assert loop.now >= 3000
        ticking.cancel()

    with asyncio.Runner(loop_factory=Simulated) as runner:
        runner.run(main())
    assert [what for what, _ in fired] == ["later", "at"]
    assert fired[0][1] >= 1000
    assert fired[1][1] >= 2050
    assert time.monotonic() - begun < DEADLINE


def test_the_time_of_day() -> None:
    async def main() -> None:
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(DEADLINE), 0.02)
        assert 0.015 < time.monotonic() - begun < DEADLINE

    with asyncio.Runner(loop_factory=Wall) as runner:
        runner.run(main())


def test_a_clock_that_fails() -> None:
    class Failing(Simulated):
        def time(self) -> float:
            raise LookupError("no time")

    loop: Any = Failing()
    with pytest.raises(LookupError, match="no time"):
        loop.call_later(1, int)
    loop.call_at(5, int)
    with pytest.raises(LookupError, match="no time"):
        loop.run_forever()
    loop.close()
