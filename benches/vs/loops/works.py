"""What an event loop does by itself; each work runs n operations and returns the time."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from itertools import repeat

from benches.vs.case import Clock, Sample, quiet_gc

MANY = 50_000
BURST = 10_000
TIMERS = 1000
KIB = 1024
FAR_SECONDS = 60.0
# So little that none has to wait for the next: of loops that sleep, one that wakes up late for many
# at once would need the least CPU.
NEAR_SECONDS = 1e-8

Loop = asyncio.AbstractEventLoop
Work = Callable[[Loop, int], Sample]


def nothing() -> None:
    """The least that a callback can do."""


async def nothing_async() -> None:
    """The least that a task can do."""


def until_stopped(loop: Loop) -> Sample:
    """Run what is scheduled until something stops the loop."""
    clock = Clock()
    loop.run_forever()
    return clock.sample()


def in_turns(loop: Loop, turns: int, once: Callable[[], object]) -> Sample:
    """Do something once in each of so many turns of the loop."""

    def turn() -> None:
        nonlocal turns
        turns -= 1
        once()
        loop.call_soon(turn if turns else loop.stop)

    loop.call_soon(turn)
    return until_stopped(loop)


def chain(loop: Loop, n: int) -> Sample:
    """A callback that schedules itself."""
    call_soon = loop.call_soon

    def step() -> None:
        nonlocal n
        n -= 1
        if n:
            call_soon(step)
        else:
            loop.stop()

    call_soon(step)
    return until_stopped(loop)


def burst(loop: Loop, n: int) -> Sample:
    """Many callbacks are scheduled, and then run."""
    call_soon = loop.call_soon

    def schedule() -> None:
        for _ in repeat(None, BURST):
            call_soon(nothing)

    return in_turns(loop, n // BURST, schedule)


def set_and_cancel(loop: Loop, n: int) -> Sample:
    """Timers that are cancelled long before their time, as timeouts are."""
    call_later = loop.call_later

    def schedule() -> None:
        for _ in repeat(None, TIMERS):
            call_later(FAR_SECONDS, nothing).cancel()

    return in_turns(loop, n // TIMERS, schedule)


def timers(loop: Loop, n: int) -> Sample:
    """A thousand timers are set, each a little later than the one before, and fire."""
    call_later = loop.call_later
    pending, rounds = 0, n // TIMERS

    def fire() -> None:
        nonlocal pending, rounds
        pending -= 1
        if pending == 0:
            rounds -= 1
            if rounds:
                schedule()
            else:
                loop.stop()

    def schedule() -> None:
        nonlocal pending
        pending = TIMERS
        for i in range(TIMERS):
            call_later(i * NEAR_SECONDS, fire)

    loop.call_soon(schedule)
    return until_stopped(loop)


def threadsafe(loop: Loop, n: int) -> Sample:
    """Another thread schedules callbacks."""
    call = loop.call_soon_threadsafe

    def schedule() -> None:
        for _ in repeat(None, n):
            call(nothing)
        call(loop.stop)

    thread = threading.Thread(target=schedule, daemon=True)
    loop.call_soon(thread.start)
    sample = until_stopped(loop)
    thread.join()
    return sample


class _Round(asyncio.Protocol):
    """Has what it reads from a pipe written into it again, so many times."""

    def __init__(self, turns: int, stop: Callable[[], None]) -> None:
        self.turns, self.stop = turns, stop

    def data_received(self, data: bytes) -> None:
        self.turns -= 1
        if self.turns:
            self.writer.write(data)
        else:
            self.stop()


def pipe(loop: Loop, n: int) -> Sample:
    """A message goes round through a pipe."""
    ours, theirs = os.pipe()
    reader, writer = os.fdopen(ours, "rb", 0), os.fdopen(theirs, "wb", 0)

    async def connect() -> _Round:
        _, protocol = await loop.connect_read_pipe(lambda: _Round(n, loop.stop), reader)
        protocol.writer, _ = await loop.connect_write_pipe(asyncio.Protocol, writer)
        return protocol

    with reader, writer:
        protocol = loop.run_until_complete(connect())
        loop.call_soon(protocol.writer.write, bytes(KIB))
        return until_stopped(loop)


def gather(loop: Loop, n: int) -> Sample:
    """Many tasks at once."""

    async def main() -> Sample:
        clock = Clock()
        for _ in repeat(None, n // MANY):
            await asyncio.gather(*(nothing_async() for _ in repeat(None, MANY)))
        return clock.sample()

    return loop.run_until_complete(main())


def switches(loop: Loop, n: int) -> Sample:
    """Two tasks give way to each other."""

    async def give_way() -> None:
        for _ in repeat(None, n // 2):
            await asyncio.sleep(0)

    async def main() -> Sample:
        clock = Clock()
        await asyncio.gather(give_way(), give_way())
        return clock.sample()

    return loop.run_until_complete(main())


def tasks(loop: Loop, n: int) -> Sample:
    """One task after the other."""
    create_task = loop.create_task

    async def main() -> Sample:
        clock = Clock()
        for _ in repeat(None, n):
            await create_task(nothing_async())
        return clock.sample()

    return loop.run_until_complete(main())


WORKS: dict[str, Work] = {
    "chain": chain,
    "burst": burst,
    "set-and-cancel": set_and_cancel,
    "timers": timers,
    "threadsafe": threadsafe,
    "pipe": pipe,
    "gather": gather,
    "switches": switches,
    "tasks": tasks,
}


def perform(new_loop: Callable[[], Loop], work: str, n: int) -> Sample:
    """Run a work on a new loop."""
    loop = new_loop()
    try:
        with quiet_gc():
            return WORKS[work](loop, n)
    finally:
        loop.close()
