"""Objects that the loop uses again: nobody who has kept one sees it change."""

from __future__ import annotations

import asyncio
import itertools
import socket
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import FREE_THREADED
from tests.unit.secure import contexts
from tests.unit.sockets import run

SIZES = (1, 100, 600, 1_000, 1_100, 900, 1_000, 1_000, 5_000, 4_500, 16_000, 20_000, 100_000, 1_000)
# Where a size comes again it is expected.
SIZES += (*[5_000] * 4, 5_001, *[20_000] * 3, 1_000, *[10_240] * 3, 10_239, *[4_500] * 3, 30_000)

counted = pytest.mark.skipif(FREE_THREADED, reason="references are not counted in one place there")


def content(turn: int, size: int) -> bytes:
    return bytes([turn % 250 + 1]) * size


class Receiver(asyncio.Protocol):
    """Hands what it is given to a function, and counts it."""

    def __init__(self, use: Callable[[bytes], None]) -> None:
        self.use = use
        self.count = 0
        self.came = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.use(data)
        self.count += len(data)
        self.came.set()

    async def until(self, count: int) -> None:
        while self.count < count:
            self.came.clear()
            await self.came.wait()


async def receiving(use: Callable[[bytes], None], secure: bool) -> None:
    """Sends what is of all the sizes, one after the other, to a protocol that uses it so."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    context, trusting = contexts() if secure else (None, None)
    accepting = loop.connect_accepted_socket(lambda: Receiver(use), ours, ssl=context)
    name = "localhost" if secure else None
    connecting = loop.create_connection(
        asyncio.Protocol, sock=theirs, ssl=trusting, server_hostname=name
    )
    (transport, protocol), (writer, _) = await asyncio.gather(accepting, connecting)
    sent = 0
    for turn, size in enumerate(SIZES * 3):
        writer.write(content(turn, size))
        sent += size
        await protocol.until(sent)
    transport.abort()
    writer.abort()


@pytest.fixture(params=[False, True], ids=["plain", "TLS"])
def secure(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


WAYS: dict[str, Callable[[list[Any]], Callable[[bytes], None]]] = {
    "the object": lambda kept: kept.append,
    "a view": lambda kept: lambda data: kept.append(memoryview(data)),
    "a part of a view": lambda kept: lambda data: kept.append(memoryview(data)[:]),
    "an iterator": lambda kept: lambda data: kept.append(iter(data)),
    "a key": lambda kept: lambda data: kept.append({data: 0}),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("every", [1, 2, 3])
def test_what_was_kept_is_as_it_was(
    loop: AbstractEventLoop, secure: bool, way: str, every: int
) -> None:
    kept: list[Any] = []
    copies: list[bytes] = []
    keep, turn = WAYS[way](kept), 0

    def use(data: bytes) -> None:
        nonlocal turn
        turn += 1
        if turn % every == 0:
            keep(data)
            copies.append(bytes(bytearray(data)))

    run(loop, receiving(use, secure))
    for object_, copy in zip(kept, copies, strict=True):
        if isinstance(object_, dict):
            ((key, _),) = object_.items()
            assert key == copy
            assert object_[copy] == 0
        else:
            assert bytes(object_) == copy


def test_it_is_whole_each_time(loop: AbstractEventLoop, secure: bool) -> None:
    seen: list[tuple[int, int, bool]] = []

    def use(data: bytes) -> None:
        assert data == data[:1] * len(data)
        # A hash that was kept of what it was before, or an end that is not marked, would be found.
        seen.append((len(data), hash(data), hash(data) == hash(bytes(bytearray(data)))))
        assert float(b"7" * 10 + b"." + b"0" * len(data)) == 7777777777.0
        assert sys.getsizeof(data) == sys.getsizeof(b"") + len(data)

    run(loop, receiving(use, secure))
    assert sum(size for size, _, _ in seen) == 3 * sum(SIZES)
    assert all(right for _, _, right in seen)


@counted
def test_an_object_is_used_again(loop: AbstractEventLoop, secure: bool) -> None:
    places: list[int] = []

    def use(data: bytes) -> None:
        if len(data) == 1_000:
            places.append(id(data))

    run(loop, receiving(use, secure))
    assert any(first == second for first, second in itertools.pairwise(places))


def test_one_that_raises_may_keep_it(loop: AbstractEventLoop) -> None:
    loop.set_exception_handler(lambda *_: None)

    async def main() -> None:
        raised: list[BaseException] = []
        datas: list[bytes] = []

        def use(data: bytes) -> None:
            datas.append(bytes(bytearray(data)))
            error = ValueError(data)
            raised.append(error)
            raise error

        for turn in range(5):
            ours, theirs = socket.socketpair()
            theirs.setblocking(False)
            transport, _ = await asyncio.get_running_loop().create_connection(
                lambda: Receiver(use), sock=ours
            )
            theirs.send(content(turn, 1_000))
            while len(raised) <= turn:
                await asyncio.sleep(0)
            transport.abort()
            theirs.close()
        assert [error.args[0] for error in raised] == datas

    run(loop, main())


class TestWriting:
    @pytest.mark.parametrize("size", [0, 1, 1_000, 3 << 20])
    def test_what_is_no_bytes_object_is_sent_as_it_was(
        self, loop: AbstractEventLoop, size: int
    ) -> None:
        class Bytes(bytes):
            pass

        async def main() -> None:
            ours, theirs = socket.socketpair()
            reader, other = await asyncio.open_connection(sock=theirs)
            _, writer = await asyncio.open_connection(sock=ours)
            text = bytes(range(256)) * (size // 256 + 1)
            wanted = b""
            whole = bytearray(text[:size])
            twice = bytearray(text[: 2 * size])
            for data in (whole, memoryview(whole), memoryview(twice)[::2], Bytes(text[:size])):
                expected = bytes(data)
                writer.transport.write(data)  # type: ignore[arg-type]
                wanted += expected
            whole[:] = bytes(len(whole))
            twice[:] = bytes(len(twice))
            whole.append(1)  # nobody holds on to its memory
            writer.write_eof()
            assert await reader.read() == wanted
            writer.close()
            other.close()

        run(loop, main())

    @pytest.mark.parametrize("data", ["text", None, 7, [b"x"]])
    def test_what_is_no_data_is_refused(self, loop: AbstractEventLoop, data: Any) -> None:
        async def main() -> None:
            ours, theirs = socket.socketpair()
            _, writer = await asyncio.open_connection(sock=ours)
            with pytest.raises(TypeError, match="bytes-like object, not"):
                writer.transport.write(data)
            writer.close()
            theirs.close()

        run(loop, main())


class TestStopIteration:
    def test_who_keeps_one_keeps_its_value(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            kept = []
            for turn in range(6):
                theirs.send(content(turn, 700))
                step: Any = loop.sock_recv(ours, 700).__await__()
                with pytest.raises(StopIteration) as caught:
                    next(step)
                if turn % 2:
                    kept.append((caught.value, content(turn, 700)))
                await asyncio.sleep(0)
            for stopped, data in kept:
                assert stopped.value == data
                assert stopped.args == (data,)
            ours.close()
            theirs.close()

        run(loop, main())

    @counted
    def test_a_value_is_not_kept(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            alone = sys.getrefcount(content(1, 701))
            for _ in range(3):
                theirs.send(content(1, 700))
                data = await loop.sock_recv(ours, 1_000)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert sys.getrefcount(data) <= alone + 1
            ours.close()
            theirs.close()

        run(loop, main())

    def test_what_handles_an_exception_meanwhile(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            for turn in range(4):
                theirs.send(content(turn, 700))
                try:
                    raise ValueError(turn)
                except ValueError as error:
                    data = await loop.sock_recv(ours, 700)
                    still = sys.exc_info()[1] is error
                assert data == content(turn, 700)
                assert still
                assert sys.exc_info()[1] is None
            ours.close()
            theirs.close()

        run(loop, main())


def test_a_buffer_may_be_any(loop: AbstractEventLoop) -> None:
    """A BufferedProtocol's bytearray, a view of one, and an array that is resized in between."""

    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.turn, self.got = 0, b""
            self.array = bytearray(10)
            self.view = memoryview(bytearray(1_000))

        def get_buffer(self, sizehint: int) -> Any:
            self.turn += 1
            if self.turn % 3 == 0:
                self.array = bytearray(self.turn)
            self.array += bytes(self.turn)
            self.now = self.view if self.turn % 2 else self.array
            return self.now

        def buffer_updated(self, nbytes: int) -> None:
            self.got += bytes(self.now[:nbytes])
            self.array.clear()

    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        transport, protocol = await loop.create_connection(Buffered, sock=ours)
        wanted = b"".join(content(turn, 37) for turn in range(100))
        await loop.sock_sendall(theirs, wanted)
        while len(protocol.got) < len(wanted):
            await asyncio.sleep(0)
        assert protocol.got == wanted
        transport.abort()
        theirs.close()

    run(loop, main())
