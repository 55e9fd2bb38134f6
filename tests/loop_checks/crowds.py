"""Many connections that do nothing cost nothing."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import time

from tests.loop_checks.arena import Arena, Echo, Made, address

CROWD = 1_000

# Of the interval, in thread CPU time. A loop that wakes up for nothing takes all of it.
SHARE = 0.02
INTERVAL = 0.5
TURNS = 6


def _allow(files: int) -> int:
    """Raises the limit of open files as far as it may go; how many that are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(soft, wanted)


async def _cpu_share(seconds: float) -> float:
    """The share of a time with nothing to do for which the loop's thread has a CPU."""
    begun, cpu = time.perf_counter(), time.thread_time()
    await asyncio.sleep(seconds)
    return (time.thread_time() - cpu) / (time.perf_counter() - begun)


def _turns(arena: Arena) -> int:
    """How often the loop has looked for what is ready, if it counts that."""
    statistics = getattr(arena.loop, "statistics", None)
    return statistics().polls if statistics else 0


def idle_crowd(arena: Arena) -> None:
    """a loop with 1,000 idle connections uses no CPU"""
    count = min(CROWD, (_allow(2 * CROWD + 200) - 200) // 2)
    made = Made(Echo)
    server = arena.serve(made, backlog=count)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection(address(server)))
        arena.until(lambda: made.are_connected(count))
        turns = _turns(arena)
        share = min(arena.run(_cpu_share(INTERVAL)) for _ in range(2))
        assert share < SHARE, f"{share:.0%} of a CPU for {count} idle connections"
        # Each run is begun, wakes up from its sleep, and is ended.
        assert _turns(arena) - turns <= 2 * TURNS, "it wakes up for nothing"
    arena.until(lambda: all(each.lost for each in made.all))
    server.close()


def idle_waits(arena: Arena) -> None:
    """so does one with timers far away, a paused connection and an idle thread pool"""
    made = Made(Echo)
    server = arena.serve(made)
    peer = arena.peer(server)
    arena.until(made.are_connected)
    timers = [arena.loop.call_later(3_600 + number, int) for number in range(1_000)]

    async def main() -> float:
        made.last.transport.pause_reading()
        peer.sendall(b"unread")
        await arena.loop.run_in_executor(None, int)
        return await _cpu_share(INTERVAL)

    share = min(arena.run(main()), arena.run(_cpu_share(INTERVAL)))
    assert share < SHARE, f"{share:.0%} of a CPU for nothing"
    for each in timers:
        each.cancel()
    server.close()


def half_closed(arena: Arena) -> None:
    """so does one whose peer has half-closed a connection that is kept open"""

    class Keeping(Echo):
        def eof_received(self) -> bool:
            super().eof_received()
            return True

    made = Made(Keeping)
    server = arena.serve(made)
    peer = arena.peer(server)
    peer.shutdown(socket.SHUT_WR)
    arena.until(lambda: made.all and "eof_received" in made.last.events)
    share = min(arena.run(_cpu_share(INTERVAL)) for _ in range(2))
    assert share < SHARE, f"{share:.0%} of a CPU for a half-closed connection"
    server.close()


ALL = {
    "idle_crowd": idle_crowd,
    "idle_waits": idle_waits,
    "idle_half_closed": half_closed,
}
