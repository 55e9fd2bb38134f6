"""What callbacks write piece by piece leaves at their end, in order and whole, however they end."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import struct
import threading
from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import eventually_async
from tests.unit.secure import contexts
from tests.unit.sockets import KINDS, Pair, connected, run

LEARNT = 4
MOST = 16 * 1024
FORKS = "ignore:.*multi-threaded.*fork:DeprecationWarning"


class Recorder(asyncio.Protocol):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.data = b""
        self.told: list[str] = []
        self.lost: list[BaseException | None] = []
        self.then: Callable[[], object] = int

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.then()

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)


class Writer:
    """A transport, of which it is known that it is written to in pieces, and its peer."""

    def __init__(self, transport: Any, peer: socket.socket) -> None:
        self.transport, self.peer = transport, peer
        self.loop = asyncio.get_running_loop()

    async def call(self, function: Callable[[], object]) -> None:
        """In a callback of its own."""
        done = self.loop.create_future()

        def call() -> None:
            try:
                function()
            finally:
                done.set_result(None)

        self.loop.call_soon(call)
        await done

    def arrived(self) -> bytes:
        """What is there for the peer now."""
        data = b""
        try:
            while more := self.peer.recv(1 << 20):
                data += more
        except BlockingIOError:
            pass
        return data

    async def learn(self) -> None:
        for _ in range(LEARNT):
            await self.call(lambda: [self.transport.write(b"piece") for _ in range(2)])
            await eventually_async(lambda: self.arrived()[-5:] == b"piece")


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    yield from connected(request.param)


async def writer(pair: Pair) -> tuple[Writer, Recorder]:
    """Over the first of the sockets."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(Recorder, sock=pair[0])
    made = Writer(transport, pair[1])
    await made.learn()
    return made, protocol


def test_it_is_held_back_until_the_callback_has_ended(loop: AbstractEventLoop, pair: Pair) -> None:
    async def main() -> None:
        made, protocol = await writer(pair)

        def write() -> None:
            for piece in (b"a", bytearray(b"b"), memoryview(b"c")):
                made.transport.write(piece)
                assert made.arrived() == b""
                assert made.transport.get_write_buffer_size() == 0
            made.transport.writelines([b"d", b"e"])
            assert made.arrived() == b""

        await made.call(write)
        assert made.arrived() == b"abcde"
        assert protocol.told == []
        made.transport.abort()

    run(loop, main())


def test_who_writes_one_piece_each_time_has_it_sent_at_once(
    loop: AbstractEventLoop, pair: Pair
) -> None:
    async def main() -> None:
        made, _ = await writer(pair)

        def write() -> None:
            made.transport.write(b"one")
            assert made.arrived() == b"one"

        await made.call(lambda: made.transport.write(b"the last that is held back"))
        assert made.arrived()
        for _ in range(10):
            await made.call(write)
        made.transport.abort()

    run(loop, main())


def test_what_was_written_is_sent(loop: AbstractEventLoop, pair: Pair) -> None:
    async def main() -> None:
        made, _ = await writer(pair)
        data = bytearray(b"as it was")

        def write() -> None:
            made.transport.write(data)
            data[:] = b"otherwise"

        await made.call(write)
        assert made.arrived() == b"as it was"
        made.transport.abort()

    run(loop, main())


def test_much_is_not_held_back(loop: AbstractEventLoop, pair: Pair) -> None:
    async def main() -> None:
        made, _ = await writer(pair)

        def write() -> None:
            made.transport.write(bytes(MOST + 1))
            assert len(made.arrived()) > 0

        def write_more() -> None:
            made.transport.write(b"0" * MOST)
            assert made.arrived() == b""
            made.transport.write(b"1")
            assert made.arrived() == b"0" * MOST + b"1"

        await made.call(write)
        await eventually_async(lambda: made.transport.get_write_buffer_size() == 0)
        made.arrived()
        await made.learn()
        await made.call(write_more)
        made.transport.abort()

    run(loop, main())


ENDS: dict[str, Callable[[Any], object]] = {
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "write_eof": lambda transport: transport.write_eof(),
    "close, write": lambda transport: (transport.close(), transport.write(b"too late")),
}


@pytest.mark.parametrize("end", ENDS)
def test_the_connection_is_ended_in_the_same_callback(
    loop: AbstractEventLoop, pair: Pair, end: str
) -> None:
    async def main() -> None:
        made, protocol = await writer(pair)

        def write() -> None:
            made.transport.write(b"the ")
            made.transport.write(b"last")
            ENDS[end](made.transport)
            assert made.arrived() == b"the last"

        await made.call(write)
        if end == "write_eof":
            made.transport.abort()
        await eventually_async(lambda: protocol.lost)
        await asyncio.sleep(0)
        assert protocol.lost == [None]
        assert made.arrived() == b""

    run(loop, main())


def test_sendfile_follows_it(loop: AbstractEventLoop, pair: Pair, tmp_path: Any) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"contents")

    async def main() -> None:
        made, _ = await writer(pair)
        tasks = []

        async def send() -> None:
            with open(path, "rb") as file:
                made.transport.write(b"head ")
                await loop.sendfile(made.transport, file)

        await made.call(lambda: tasks.append(loop.create_task(send())))
        await tasks[0]
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return got == b"head contents"

        await eventually_async(grown)
        made.transport.abort()

    run(loop, main())


def test_a_callback_that_raises(loop: AbstractEventLoop, pair: Pair) -> None:
    handled: list[Any] = []
    loop.set_exception_handler(lambda _, context: handled.append(context["exception"]))

    async def main() -> None:
        made, _ = await writer(pair)

        def write() -> None:
            made.transport.write(b"before")
            raise ValueError

        loop.call_soon(write)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert made.arrived() == b"before"
        made.transport.abort()

    run(loop, main())
    assert [type(error) for error in handled] == [ValueError]


def test_a_callback_that_ends_the_run(loop: AbstractEventLoop, pair: Pair) -> None:
    made, _ = run(loop, writer(pair))

    def write() -> None:
        made.transport.write(b"before")
        raise KeyboardInterrupt

    loop.call_soon(write)
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(asyncio.sleep(1))
    assert made.arrived() == b"before"

    async def more() -> None:
        await made.call(lambda: made.transport.write(b"after"))
        assert made.arrived() == b"after"
        made.transport.abort()

    run(loop, more())


def test_outside_of_a_callback_it_is_sent_at_once(loop: AbstractEventLoop, pair: Pair) -> None:
    made, _ = run(loop, writer(pair))
    for _ in range(LEARNT):
        for _ in range(2):
            made.transport.write(b"piece")
            assert made.arrived() == b"piece"
    made.transport.abort()
    loop.run_until_complete(asyncio.sleep(0))


def test_another_thread_has_it_sent_at_once(loop: AbstractEventLoop, pair: Pair) -> None:
    async def main() -> None:
        made, _ = await writer(pair)

        def write() -> None:
            thread = threading.Thread(target=made.transport.write, args=(b"from there",))
            thread.start()
            thread.join()
            assert made.arrived() == b"from there"

        await made.call(write)
        made.transport.abort()

    run(loop, main())


def test_the_kernel_does_not_take_it(loop: AbstractEventLoop, pair: Pair) -> None:
    pair[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)

    async def main() -> None:
        made, protocol = await writer(pair)
        made.transport.set_write_buffer_limits(high=0)
        written = b""

        def write() -> None:
            nonlocal written
            for number in range(10):
                piece = b"%d" % number * 1_000
                made.transport.write(piece)
                written += piece

        while not protocol.told:
            await made.call(write)
        assert protocol.told == ["pause"]
        assert made.transport.get_write_buffer_size() > 0
        got = b""

        def grown() -> bool:
            nonlocal got
            got += made.arrived()
            return got == written

        await eventually_async(grown)
        assert protocol.told == ["pause", "resume"]
        made.transport.abort()

    run(loop, main())


@pytest.mark.parametrize("end", ["", "close", "write_eof", "abort"])
def test_a_peer_that_is_gone(loop: AbstractEventLoop, end: str) -> None:
    async def main(pair: Pair) -> None:
        made, protocol = await writer(pair)
        made.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        def write() -> None:
            made.transport.write(b"something")
            made.peer.close()
            if end:
                getattr(made.transport, end)()

        await made.call(write)
        await eventually_async(lambda: protocol.lost)
        await asyncio.sleep(0)
        assert len(protocol.lost) == 1

    for pair in connected("inet"):
        run(loop, main(pair))


@pytest.mark.filterwarnings(FORKS)
def test_a_child_leaves_it_to_its_parent(loop: AbstractEventLoop, pair: Pair) -> None:
    child = 0

    async def main() -> None:
        nonlocal child
        made, _ = await writer(pair)
        reader, told = os.pipe()

        def write() -> None:
            nonlocal child
            made.transport.write(b"once")
            child = os.fork()
            if child == 0:
                loop.call_later(0, os.write, told, b".")

        await made.call(write)
        if child == 0:
            try:
                await loop.create_future()
            finally:
                os._exit(1)
        os.read(reader, 1)
        assert made.arrived() == b"once"
        made.transport.abort()
        os.close(reader)
        os.close(told)

    try:
        run(loop, main())
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("how", ["plain", "TLS", "measured", "watched", "debug"])
def test_whatever_is_written_arrives_whole_and_in_order(
    loop: AbstractEventLoop, how: str, seed: int
) -> None:
    dice = random.Random(seed)
    inside: Any = loop
    if how == "measured":
        inside.measure()
    elif how == "watched":
        inside.watch(30, log=False)
    loop.set_debug(how == "debug")

    async def main(pair: Pair) -> None:
        server, client = contexts() if how == "TLS" else (None, None)
        accepting = loop.connect_accepted_socket(Recorder, pair[0], ssl=server)
        name = "localhost" if client else None
        connecting = loop.create_connection(
            Recorder, sock=pair[1], ssl=client, server_hostname=name
        )
        (ours, _), (theirs, protocol) = await asyncio.gather(accepting, connecting)
        written = b""

        def write() -> None:
            nonlocal written
            for _ in range(dice.choice([1, 2, 2, 2, 3])):
                data = dice.randbytes(dice.choice([1, 10, 500, 5_000, 20_000]))
                written += data
                dice.choice([ours.write, lambda data: ours.writelines([data[:3], data[3:]])])(data)

        for _ in range(200):
            loop.call_soon(write)
            await asyncio.sleep(0)
        loop.call_soon(lambda: (write(), ours.close()))
        await eventually_async(lambda: protocol.lost)
        assert protocol.data == written
        theirs.abort()

    for pair in connected("inet"):
        run(loop, main(pair))
