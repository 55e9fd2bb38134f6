"""Timers: never early, not by a microsecond."""

from __future__ import annotations

import asyncio
import random
import time

from tests.loop_checks.arena import Arena

# The clock's resolution, and what adding two floats rounds.
EXACT = 2e-9

BATCH = 2_000
LONGEST = 0.1


def random_delay(chance: random.Random) -> float:
    """From a microsecond to a tenth of a second, each magnitude as likely as the other."""
    return LONGEST * 10 ** chance.uniform(-5, 0)


async def _batch(delays: list[float]) -> float:
    """How much too early the worst of these was; negative if none was."""
    loop = asyncio.get_running_loop()
    early: list[float] = []

    async def sleep(delay: float) -> None:
        begun = time.monotonic()
        await asyncio.sleep(delay)
        early.append(delay - (time.monotonic() - begun))

    def call_later(delay: float) -> None:
        begun = time.monotonic()
        loop.call_later(delay, lambda: early.append(delay - (time.monotonic() - begun)))

    def call_at(delay: float) -> None:
        when = loop.time() + delay
        loop.call_at(when, lambda: early.append(when - loop.time()))

    tasks = [asyncio.ensure_future(sleep(delay)) for delay in delays[::3]]
    for delay in delays[1::3]:
        call_later(delay)
    for delay in delays[2::3]:
        call_at(delay)
    await asyncio.wait(tasks)
    while len(early) < len(delays):
        await asyncio.sleep(LONGEST / 10)
    return max(early)


def never_early(arena: Arena) -> None:
    """a timer never fires early"""
    chance = random.Random(20)
    for _ in range(arena.effort.sleeps // BATCH):
        early = arena.run(_batch([random_delay(chance) for _ in range(BATCH)]))
        assert early <= EXACT, f"a timer fired {early * 1e6:.1f} µs early"


def in_order(arena: Arena) -> None:
    """timers fire in the order of their times"""

    async def main() -> list[tuple[float, int]]:
        loop, seen, chance = arena.loop, [], random.Random(21)
        base = loop.time() + 0.02
        times = [(base + chance.randrange(40) / 2000, number) for number in range(1_000)]
        for when, number in times:
            loop.call_at(when, seen.append, (when, number))
        while len(seen) < len(times):
            await asyncio.sleep(0.01)
        assert sorted(seen) == sorted(times)
        return seen

    seen = arena.run(main())
    assert [when for when, _ in seen] == sorted(when for when, _ in seen)


def cancelled_in_time(arena: Arena) -> None:
    """a timer that is cancelled, even in the turn in which it is due, does not fire"""

    async def main() -> list[str]:
        loop, seen = arena.loop, []
        due = loop.time() + 0.005
        later = None

        def first() -> None:
            seen.append("first")
            later.cancel()

        loop.call_at(due, first)
        later = loop.call_at(due + 1e-9, seen.append, "cancelled")
        many = [loop.call_later(0.01, seen.append, "cancelled") for _ in range(1_000)]
        for each in many:
            each.cancel()
        await asyncio.sleep(0.03)
        return seen

    assert arena.run(main()) == ["first"]


ALL = {
    "timers_never_early": never_early,
    "timers_in_order": in_order,
    "timers_cancelled_in_time": cancelled_in_time,
}
