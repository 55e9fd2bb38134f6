"""Pipe transports: what they read and write natively, and what is left to asyncio's."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.pieces import Recorder, fill
from tests.unit.sockets import BIG, FORKS, children, run


class Ends:
    """Transports at both ends of a pipe."""

    def __init__(self, reading: Recorder, writing: Recorder) -> None:
        self.reading, self.writing = reading, writing

    async def end(self) -> None:
        for each in (self.writing, self.reading):
            each.transport.close()
            await eventually_async(lambda each=each: each.lost)  # type: ignore[misc]
            assert each.lost == [None]


async def reader(fd: int) -> Recorder:
    loop = asyncio.get_running_loop()
    return (await loop.connect_read_pipe(Recorder, os.fdopen(fd, "rb", 0)))[1]


async def writer(fd: int) -> Recorder:
    loop = asyncio.get_running_loop()
    return (await loop.connect_write_pipe(Recorder, os.fdopen(fd, "wb", 0)))[1]


async def pipe() -> Ends:
    ours, theirs = os.pipe()
    return Ends(await reader(ours), await writer(theirs))


def test_what_is_written_is_read(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        ends = await pipe()
        for data in (b"bytes", bytearray(b"array"), memoryview(b"a view")[2:], b""):
            ends.writing.transport.write(data)
            await eventually_async(lambda: ends.reading.data == bytes(data))  # noqa: B023
            ends.reading.data = b""
        await ends.end()

    run(loop, main())


@pytest.mark.parametrize("data", ["text", 5, None])
def test_what_is_no_data_is_refused(loop: AbstractEventLoop, data: Any) -> None:
    async def main() -> None:
        ends = await pipe()
        with pytest.raises((TypeError, AssertionError)):
            ends.writing.transport.write(data)
        ends.writing.transport.write(b"data")
        await eventually_async(lambda: ends.reading.data == b"data")
        await ends.end()

    run(loop, main())


def test_much_in_pieces_of_all_sizes(loop: AbstractEventLoop) -> None:
    dice = random.Random(5)

    async def main() -> None:
        ends = await pipe()
        written = b""
        while len(written) < BIG // 8:
            data = dice.randbytes(dice.choice([1, 100, 5_000, 70_000, 200_000]))
            written += data
            array = bytearray(data)
            ends.writing.transport.write(dice.choice([data, array, memoryview(array)]))
            array[:] = bytes(len(array))
            await asyncio.sleep(0)
        await eventually_async(lambda: len(ends.reading.data) == len(written))
        assert ends.reading.data == written
        assert ends.writing.told.count("pause") == ends.writing.told.count("resume") > 0
        await ends.end()

    run(loop, main())


def test_a_slow_reader_is_waited_for(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        ends = await pipe()
        ends.reading.transport.pause_reading()
        ends.writing.transport.set_write_buffer_limits(high=10)
        fd = ends.writing.transport.get_extra_info("pipe").fileno()
        filled = fill(fd) + fill(fd, 1)
        ends.writing.transport.write(b"a little")
        assert ends.writing.told == []
        ends.writing.transport.write(b" and more")
        assert ends.writing.told == ["pause"]
        assert ends.writing.transport.get_write_buffer_size() == len(b"a little and more")
        ends.reading.transport.resume_reading()
        await eventually_async(lambda: ends.reading.data[filled:] == b"a little and more")
        assert ends.writing.told == ["pause", "resume"]
        await ends.end()

    run(loop, main())


def test_its_end_is_told(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        ends = await pipe()
        ends.writing.transport.write(b"last")
        ends.writing.transport.write_eof()
        await eventually_async(lambda: ends.reading.lost and ends.writing.lost)
        assert ends.reading.data == b"last"
        assert ends.reading.lost == ends.writing.lost == [None]

    run(loop, main())


@pytest.mark.parametrize("end", ["close", "abort"])
def test_nothing_is_written_to_one_that_is_closing(loop: AbstractEventLoop, end: str) -> None:
    async def main() -> None:
        ends = await pipe()
        getattr(ends.writing.transport, end)()
        ends.writing.transport.write(b"too late")
        await eventually_async(lambda: ends.reading.lost)
        assert ends.reading.data == b""

    run(loop, main())


def test_the_reader_is_gone(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        ours, theirs = os.pipe()
        writing = await writer(theirs)
        writing.transport._loop._remove_reader(theirs)  # by which it would hear of it first
        os.close(ours)
        writing.transport.write(b"to nobody")
        await eventually_async(lambda: writing.lost)
        assert [type(error) for error in writing.lost] == [BrokenPipeError]

    run(loop, main())


ENDS: dict[str, Callable[[Any], object]] = {
    "close": lambda transport: transport.close(),
    "pause": lambda transport: transport.pause_reading(),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_a_callback_does_takes_effect_at_once(loop: AbstractEventLoop, end: str) -> None:
    async def main() -> None:
        ends = await pipe()
        ends.reading.then = lambda: ENDS[end](ends.reading.transport)
        ends.writing.transport.write(b"first")
        await eventually_async(lambda: ends.reading.data)
        ends.writing.transport.write(b"second")
        await asyncio.sleep(0)
        assert ends.reading.data == b"first"
        ends.reading.then = int
        if end == "pause":
            await ends.end()
        else:
            await eventually_async(lambda: ends.reading.lost and ends.writing.lost)

    run(loop, main())


@pytest.mark.parametrize("method", ["pause_writing", "resume_writing"])
def test_what_flow_control_raises_closes_it(loop: AbstractEventLoop, method: str) -> None:
    reported: list[Any] = []

    class Failing(Recorder):
        pass

    def fail(_: object) -> None:
        raise LookupError

    setattr(Failing, method, fail)

    async def main() -> None:
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        ours, theirs = os.pipe()
        reading = await reader(ours)
        made = os.fdopen(theirs, "wb", 0)
        _, writing = await loop.connect_write_pipe(Failing, made)
        writing.transport.write(bytes(BIG // 8))
        await eventually_async(lambda: writing.lost and reading.lost)
        assert reported == writing.lost
        assert [type(error) for error in reported] == [LookupError]

    run(loop, main())


@pytest.mark.parametrize("end", ["read", "write"])
def test_what_connection_made_raises_closes_it(loop: AbstractEventLoop, end: str) -> None:
    reported: list[Any] = []
    made: list[Recorder] = []

    class Failing(Recorder):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            made.append(self)
            raise LookupError

    async def main() -> None:
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        ours, theirs = os.pipe()
        with os.fdopen(ours, "rb", 0) as readable, os.fdopen(theirs, "wb", 0) as writable:
            mine, connect = readable, loop.connect_read_pipe
            if end == "write":
                mine, connect = writable, loop.connect_write_pipe
            with pytest.raises(LookupError):
                await connect(Failing, mine)
            await eventually_async(lambda: made[0].lost)
            assert mine.closed
        assert reported == made[0].lost
        assert [type(error) for error in reported] == [LookupError]
        assert (made[0].data, made[0].transport.get_protocol()) == (b"", None)

    run(loop, main())


def test_an_exception_reaches_the_handler_and_closes_it(loop: AbstractEventLoop) -> None:
    reported: list[Any] = []

    def fail() -> None:
        raise LookupError

    async def main() -> None:
        loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
        ends = await pipe()
        ends.reading.then = fail
        ends.writing.transport.write(b"data")
        await eventually_async(lambda: ends.reading.lost)
        assert reported == ends.reading.lost
        assert [type(error) for error in reported] == [LookupError]
        await eventually_async(lambda: ends.writing.lost)

    run(loop, main())


def test_another_protocol_gets_the_next(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        ends, second = await pipe(), Recorder()
        ends.writing.transport.write(b"first")
        await eventually_async(lambda: ends.reading.data)
        ends.reading.transport.set_protocol(second)
        assert ends.reading.transport.get_protocol() is second
        ends.writing.transport.write(b"second")
        await eventually_async(lambda: second.data == b"second")
        second.transport = ends.reading.transport
        await Ends(second, ends.writing).end()

    run(loop, main())


def test_what_is_no_pipe_is_refused(loop: AbstractEventLoop, tmp_path: Any) -> None:
    (tmp_path / "file").write_bytes(b"")

    async def main() -> None:
        for make, mode in ((loop.connect_read_pipe, "rb"), (loop.connect_write_pipe, "wb")):
            with (
                open(tmp_path / "file", mode) as file,
                pytest.raises(ValueError, match="Pipe transport is"),
            ):
                await make(asyncio.Protocol, file)

    run(loop, main())


@pytest.mark.filterwarnings(FORKS)
def test_a_child_writes_too(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        ends = await pipe()
        child = os.fork()
        if child == 0:
            try:
                ends.writing.transport.write(b"of the child")
            finally:
                os._exit(0)
        forked.append(child)
        await eventually_async(lambda: ends.reading.data == b"of the child")
        await ends.end()

    with children() as forked:
        run(loop, main())


def test_they_are_collected(loop: AbstractEventLoop) -> None:
    async def main() -> list[weakref.ref[Any]]:
        ends = await pipe()
        ends.writing.transport.write(b"data")
        await eventually_async(lambda: ends.reading.data)
        await ends.end()
        return [weakref.ref(each.transport) for each in (ends.reading, ends.writing)]

    references = run(loop, main())
    gc.collect()
    assert [reference() for reference in references] == [None, None]
