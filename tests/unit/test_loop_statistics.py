"""`EventLoop.statistics()`: what is counted always, and what is measured when asked to."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterpoint.aio import EventLoop, new_event_loop
from tests.support import DEADLINE, eventually, is_collected


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = new_event_loop()
    yield loop
    loop.close()


def run_turns(loop: EventLoop, turns: int) -> None:
    """So many turns, of one callback each; the last one stops the loop."""

    def again(left: int) -> None:
        if left > 1:
            loop.call_soon(again, left - 1)
        else:
            loop.stop()

    loop.call_soon(again, turns)
    loop.run_forever()


def test_a_new_loop_has_done_nothing(loop: EventLoop) -> None:
    seen = loop.statistics()
    assert seen.name is None
    assert all(number == 0 for number in seen[1:11])
    assert seen.lag.count == seen.run_time.count == seen.depth.turns == 0
    assert seen.utilisation == seen.asleep == 0.0
    assert seen.lag_histogram == seen.run_histogram == seen.depth_histogram == ()


def test_counts_are_always_kept(loop: EventLoop) -> None:
    run_turns(loop, 10)
    seen = loop.statistics()
    assert (seen.turns, seen.callbacks) == (10, 10)
    assert 1 <= seen.polls <= 10
    assert seen.run_time.count == 0, "it is not measured"


def test_what_an_interrupt_cuts_short_is_counted_once(loop: EventLoop) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    for measured in (False, True):
        loop.measure(measured)
        before = loop.statistics().callbacks
        loop.call_soon(int)
        loop.call_soon(interrupt)
        loop.call_soon(loop.stop)
        with pytest.raises(KeyboardInterrupt):
            loop.run_forever()
        assert loop.statistics().callbacks - before == 2
        loop.run_forever()
        assert loop.statistics().callbacks - before == 3


def test_each_turn_of_a_measured_loop_is_measured(loop: EventLoop) -> None:
    loop.measure()
    run_turns(loop, 300)
    seen = loop.statistics()
    assert seen.turns == seen.lag.count == seen.depth.turns == seen.run_time.count == 300
    assert seen.depth[1:] == (1, 1, 1)
    assert seen.depth_histogram == ((1, 300),)
    assert sum(count for _, count in seen.lag_histogram) == 300
    assert 0.0 < seen.utilisation <= 1.0
    loop.measure(False)
    run_turns(loop, 300)
    assert loop.statistics().run_time.count == 300
    assert loop.statistics().callbacks == 600


@pytest.mark.parametrize("number", [1, 2, 3, 255, 256, 257, 1000])
def test_the_depth_is_how_many_were_ready(loop: EventLoop, number: int) -> None:
    loop.measure()
    for _ in range(number - 1):
        loop.call_soon(int)
    loop.call_soon(loop.stop)
    loop.run_forever()
    seen = loop.statistics()
    assert seen.run_time.count == number
    assert seen.depth.turns == 1
    assert abs(seen.depth.max - number) <= 0.07 * number
    bound, count = seen.depth_histogram[-1]
    assert count == 1
    assert 0.93 * bound / 2 < number <= 1.07 * bound


def busy(seconds: float) -> None:
    """Keep the thread for so long."""
    end = threading.Event()
    end.wait(seconds)


def test_a_callback_that_takes_long_makes_those_behind_it_late(loop: EventLoop) -> None:
    loop.measure()

    def slow() -> None:
        loop.call_soon(loop.stop)  # which has to wait, though not for what comes before the next
        begun = time.perf_counter()
        busy(0.05)
        took.append(time.perf_counter() - begun)

    took: list[float] = []

    def first() -> None:
        loop.call_soon(int)
        loop.call_soon(slow)

    loop.call_soon(first)
    begun = time.perf_counter()
    loop.run_forever()
    elapsed = time.perf_counter() - begun
    seen = loop.statistics()
    assert 0.05 <= seen.run_time.max < seen.run_time.total
    # Ready since the callback that queued it ended: that is after it was slow.
    assert seen.lag.max <= elapsed - took[0]

    loop.call_soon(loop.call_soon, loop.stop)
    loop.call_soon(busy, 0.05)
    loop.run_forever()
    assert loop.statistics().lag.max >= 0.05


def occupied(seconds: float, took: list[float]) -> None:
    """Keep the thread, and the processor too, for so long; it notes for how long it was."""
    begun = now = time.perf_counter()
    while now < begun + seconds:
        now = time.perf_counter()
    took.append(now - begun)


def test_the_histogram_tells_how_many_callbacks_took_how_long(loop: EventLoop) -> None:
    took: list[float] = []
    loop.measure()
    for seconds in (0.0, 0.002, 0.02, 0.0, 0.002, 0.002):
        loop.call_soon(occupied, seconds, took)
    loop.call_soon(loop.stop)
    begun = time.perf_counter()
    loop.run_forever()
    elapsed = time.perf_counter() - begun
    seen = loop.statistics().run_histogram
    assert sum(count for _, count in seen) == len(took) + 1
    bounds = [bound for bound, _ in seen]
    assert bounds == sorted(bounds)

    def longer_than(seconds: float) -> int:
        return sum(count for bound, count in seen if bound > seconds)

    # What is measured has a callback's own time in it; it is rounded to 7 %.
    assert longer_than(0.93 * 0.002) >= 4
    assert longer_than(0.93 * 0.02) >= 1
    for bound in bounds:
        assert longer_than(bound) >= sum(1 for seconds in took if 0.93 * seconds > bound)
    # And no more than there was: the last bucket begins where the one before it ends.
    assert 0.93 * bounds[-2] < elapsed
    assert loop.statistics().run_time.total >= 0.93 * sum(took)


def test_a_timer_that_has_to_wait_is_late(loop: EventLoop) -> None:
    loop.measure()

    def slow() -> None:
        timer = loop.call_later(0.01, loop.stop)
        eventually(lambda: loop.time() >= timer.when() + 0.04)

    loop.call_soon(slow)
    loop.run_forever()
    assert 0.04 <= loop.statistics().lag.max < DEADLINE
    assert loop.statistics().timers_fired == 1


def test_a_time_that_was_past_when_it_was_set_is_not_late(loop: EventLoop) -> None:
    loop.measure()
    run_turns(loop, 2)
    loop.call_soon(loop.call_at, 0, loop.stop)
    loop.run_forever()
    assert loop.statistics().lag.max < 10.0, "and not as old as the machine"


def test_sleep_is_not_work(loop: EventLoop) -> None:
    async def main() -> None:
        for _ in range(20):
            await asyncio.sleep(0.01)

    loop.measure()
    begun = time.perf_counter()
    loop.run_until_complete(main())
    elapsed = time.perf_counter() - begun
    seen = loop.statistics()
    # Somebody else may have had the processor until the end of some of them.
    assert 0.1 <= seen.asleep <= elapsed - seen.run_time.total
    assert 0 < seen.utilisation <= 1 - 0.1 / elapsed


class Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(data)


async def talk(loop: EventLoop, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"x" * 1000)
    assert await reader.readexactly(1000) == b"x" * 1000
    mine = writer.get_extra_info("statistics")
    assert mine == (1000, 1000, 0)
    assert mine.bytes_received == mine.bytes_sent == 1000
    assert loop.statistics().open_connections == 2
    writer.close()
    await writer.wait_closed()


async def serve(loop: EventLoop) -> None:
    server = await loop.create_server(Echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for _ in range(3):
        await talk(loop, port)
    server.close()
    await server.wait_closed()
    while loop.statistics().open_connections:
        await asyncio.sleep(0)


def test_bytes_and_connections(loop: EventLoop) -> None:
    loop.run_until_complete(serve(loop))
    seen = loop.statistics()
    assert (seen.connections, seen.open_connections) == (6, 0)
    assert (seen.bytes_received, seen.bytes_sent) == (6000, 6000)


def test_a_connection_that_is_dropped_is_open_no_more(loop: EventLoop) -> None:
    ours, theirs = socket.socketpair()

    async def connect() -> None:
        await loop.create_connection(asyncio.Protocol, sock=ours)

    with theirs:
        loop.run_until_complete(connect())
        assert loop.statistics().open_connections == 1
    loop.run_until_complete(asyncio.sleep(0.001))
    while loop.statistics().open_connections:
        loop.run_until_complete(asyncio.sleep(0))
    assert loop.statistics().connections == 1


def test_a_closed_loop_still_tells(loop: EventLoop) -> None:
    run_turns(loop, 3)
    loop.close()
    assert loop.statistics().turns == 3


def test_statistics_from_another_thread_while_it_runs(loop: EventLoop) -> None:
    loop.measure()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def again() -> None:
        loop.call_soon(again)

    loop.call_soon_threadsafe(again)
    eventually(lambda: loop.statistics().turns > 1000)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(DEADLINE)
    seen = loop.statistics()
    assert seen.lag.count == seen.depth.turns > 1000


def test_a_measured_loop_is_collected() -> None:
    loop = new_event_loop()
    loop.measure()
    run_turns(loop, 3)
    meter = loop._meter
    loop.close()
    reference = weakref.ref(loop)
    del loop
    assert is_collected(reference)
    assert meter.counts()["turns"] == 3


def test_a_subclass_whose_turns_are_its_own_is_measured_too() -> None:
    class Ours(EventLoop):
        def _run_once(self) -> None:
            super()._run_once()

    loop = Ours()
    loop.measure()
    run_turns(loop, 5)
    assert loop.statistics().lag.count == loop.statistics().turns == 5
    loop.close()


def test_a_file_that_is_sent_is_counted(loop: EventLoop, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100_000))

    async def main() -> None:
        served: list[asyncio.BaseTransport] = []

        class Sending(asyncio.Protocol):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                served.append(transport)

        server = await loop.create_server(Sending, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with path.open("rb") as file:
            await loop.sendfile(served[0], file)  # type: ignore[arg-type]
        assert served[0].get_extra_info("statistics").bytes_sent == 100_000
        assert await reader.readexactly(100_000) == path.read_bytes()
        writer.close()
        served[0].close()
        server.close()

    loop.run_until_complete(main())
    assert loop.statistics().bytes_sent == 100_000
