"""Connections that come and go leave no descriptor and no memory behind."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.loop_checks.arena import HOST, Arena, Echo, Made, address
from tests.loop_checks.certificates import client_context, server_context

# Before measuring caches, pools and free lists fill.
WARM_UP = 1_000
AT_ONCE = 20

# What is held is compared after the first and the last of so many rounds.
ROUNDS = 5

# The pages that a process takes are no exact measure of what it holds.
SLACK = 1 << 20
BYTES_A_CYCLE = 8
OBJECTS_A_CYCLE = 1 / 100


def descriptors() -> int:
    """How many files the process has open."""
    return len(os.listdir("/proc/self/fd"))


def resident() -> int:
    """The process's memory, in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


Cycle = Callable[[], Awaitable[None]]


async def _repeat(cycle: Cycle, count: int) -> None:
    """So many cycles, some at a time."""

    async def many(times: int) -> None:
        for _ in range(times):
            await cycle()

    await asyncio.gather(*(many(count // AT_ONCE) for _ in range(AT_ONCE)))


class Held(NamedTuple):
    """What the process holds."""

    files: int
    objects: int
    memory: int


def _leaks_nothing(arena: Arena, cycle: Cycle, count: int) -> None:
    times = count // ROUNDS

    def run(times: int) -> Held:
        arena.loop.run_until_complete(_repeat(cycle, times))
        arena.run(asyncio.sleep(0.01))
        gc.collect()
        return Held(descriptors(), len(gc.get_objects()), resident())

    run(min(count, WARM_UP))
    first, *rest = [run(times) for _ in range(ROUNDS)]
    measured = times * len(rest)
    most = SLACK + BYTES_A_CYCLE * measured
    if rest[-1].memory - first.memory >= most:
        # An allocator may take its time to reach its size; what leaks grows as much again.
        first, *rest = [run(times) for _ in range(ROUNDS)]
    last = rest[-1]
    lost = last.files - first.files
    assert lost == 0, f"{lost} descriptors are left of {measured} cycles"
    more = last.objects - first.objects
    assert more < 10 + OBJECTS_A_CYCLE * measured, f"{more} objects are left of {measured} cycles"
    grown = last.memory - first.memory
    assert grown < most, f"{grown >> 10} KiB for {measured} cycles"


def connections(arena: Arena) -> None:
    """connections that are made, used and closed leave no descriptor and no memory"""
    made = Made(Closing)
    server = arena.serve(made)
    _leaks_nothing(arena, _asking(arena, made, *address(server)), arena.effort.cycles)
    server.close()


def _asking(arena: Arena, made: Made, *where: Any, **options: Any) -> Cycle:
    async def cycle() -> None:
        answered = arena.loop.create_future()
        transport, _ = await arena.loop.create_connection(
            lambda: Asking(answered), *where, **options
        )
        await answered
        transport.close()
        made.all.clear()

    return cycle


class Closing(Echo):
    """Answers once and hangs up."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)
        self.transport.close()


class Asking(Echo):
    """Asks once; the future is done when the connection is."""

    def __init__(self, answered: asyncio.Future[None]) -> None:
        super().__init__()
        self.answered = answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.write(b"question")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self.answered.done():
            self.answered.set_result(None)


def streams(arena: Arena) -> None:
    """so do streams"""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readline())
        writer.close()
        await writer.wait_closed()

    async def start() -> asyncio.AbstractServer:
        return await asyncio.start_server(answer, HOST, 0)

    server = arena.run(start())

    async def cycle() -> None:
        reader, writer = await asyncio.open_connection(*address(server))
        writer.write(b"question\n")
        assert await reader.readline() == b"question\n"
        writer.close()
        await writer.wait_closed()

    _leaks_nothing(arena, cycle, arena.effort.slow_cycles)
    server.close()


def aborted(arena: Arena) -> None:
    """so do connections that are aborted with data to send, and connects that are cancelled"""
    made = Made(Echo)
    server = arena.serve(made, backlog=200)

    async def cycle() -> None:
        connecting = arena.loop.create_task(arena.loop.create_connection(Echo, *address(server)))
        await asyncio.sleep(0)
        connecting.cancel()
        await asyncio.wait([connecting])
        transport, _ = await arena.loop.create_connection(Echo, *address(server))
        transport.write(b"x" * 100_000)
        transport.abort()
        made.all.clear()

    _leaks_nothing(arena, cycle, arena.effort.slow_cycles)
    server.close()


def tls(arena: Arena) -> None:
    """so do TLS connections"""
    made = Made(Closing)
    server = arena.serve(made, ssl=server_context())
    secure = {"ssl": client_context(), "server_hostname": "localhost"}
    cycle = _asking(arena, made, *address(server), **secure)
    _leaks_nothing(arena, cycle, arena.effort.tls_cycles)
    server.close()


def timers_and_tasks(arena: Arena) -> None:
    """so do tasks, timers that are cancelled, and callbacks"""

    async def cycle() -> None:
        for _ in range(10):
            arena.loop.call_later(3_600, int).cancel()
            arena.loop.call_soon(int).cancel()
        await asyncio.wait_for(asyncio.sleep(0), 10)

    _leaks_nothing(arena, cycle, arena.effort.cycles)


ALL = {
    "cycles_connections": connections,
    "cycles_streams": streams,
    "cycles_aborted": aborted,
    "cycles_tls": tls,
    "cycles_timers_and_tasks": timers_and_tasks,
}
