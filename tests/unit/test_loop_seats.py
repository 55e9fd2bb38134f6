"""Where it is noted who waits for a stream: found by the transport, and by asyncio's own code."""

from __future__ import annotations

import asyncio
import functools
import gc
import socket
import sys
import weakref
from asyncio import AbstractEventLoop
from collections.abc import Coroutine
from typing import Any, cast

import pytest

from tests.support import DEADLINE, eventually_async
from tests.unit.sockets import run
from tests.unit.test_loop_streams import HOST, natively, send, waiting, with_stream

pytestmark = natively


async def served(factory: Any) -> socket.socket:
    """The peer of a connection that a server has accepted for a protocol."""
    loop = asyncio.get_running_loop()
    made = loop.create_future()

    def protocol() -> Any:
        made.set_result(factory())
        return made.result()

    server = await loop.create_server(protocol, HOST, 0)
    peer = socket.socket()
    peer.setblocking(False)
    await loop.sock_connect(peer, server.sockets[0].getsockname())
    await eventually_async(lambda: made.done() and made.result()._transport is not None)
    server.close()
    return peer


class TestReaders:
    def test_a_servers_reader_has_its_attributes_in_itself(self, loop: AbstractEventLoop) -> None:
        seen: list[Any] = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(reader)
            writer.write(await reader.readline())
            writer.write(await reader.read(10))
            writer.close()

        async def main() -> None:
            server = await asyncio.start_server(serve, HOST, 0, limit=12_345)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"line\n")
            assert await reader.read(10) == b"line\n"
            writer.write(b"more")
            assert await reader.read() == b"more"
            writer.close()
            server.close()

        run(loop, main())
        [reader] = seen
        assert type(reader).__module__ == "counterpoint.aio"
        assert reader._limit == 12_345
        assert list(vars(reader)) == list(vars(asyncio.StreamReader(loop=loop)))

    def test_one_that_somebody_else_knows_stays_the_same(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            reader, told = asyncio.StreamReader(), asyncio.get_running_loop().create_future()

            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                told.set_result((reader, await reader.read(10)))
                writer.close()

            peer = await served(lambda: asyncio.StreamReaderProtocol(reader, serve))
            with peer:
                await send(peer, b"data")
                assert await told == (reader, b"data")

        run(loop, main())

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="none is replaced")
    def test_one_that_a_weak_reference_knows_stays_the_same(self, loop: AbstractEventLoop) -> None:
        known: list[Any] = []

        async def main() -> None:
            async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                assert await reader.read(10) == b"data"
                writer.close()

            def factory() -> asyncio.StreamReaderProtocol:
                protocol = asyncio.StreamReaderProtocol(asyncio.StreamReader(), serve)
                known.append(weakref.ref(protocol._stream_reader))  # type: ignore[attr-defined]
                return protocol

            peer = await served(factory)
            with peer:
                assert known[0]() is not None
                await send(peer, b"data")
                assert await asyncio.get_running_loop().sock_recv(peer, 10) == b""

        run(loop, main())


class TestSeats:
    def test_debug_mode_in_between(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            for debug in (False, True, False, True, False):
                loop.set_debug(debug)
                task = await waiting(reader.read(10))
                with pytest.raises(RuntimeError, match="already waiting"):
                    await reader.read(10)
                await send(peer, b"data")
                assert await task == b"data"
                assert not reader._waiter

        with_stream(loop, body)

    def test_two_that_wait(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.readline())
            with pytest.raises(RuntimeError, match=r"read\(\) called while another"):
                await reader.read(10)
            with pytest.raises(RuntimeError, match=r"readuntil\(\) called while another"):
                await reader.readline()
            await send(peer, b"line\n")
            assert await task == b"line\n"

        with_stream(loop, body)

    def test_asyncios_code_feeds_and_fails(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(10))
            reader.feed_data(b"by hand")
            assert await task == b"by hand"
            task = await waiting(reader.read(10))
            reader.set_exception(ZeroDivisionError("by hand"))
            with pytest.raises(ZeroDivisionError, match="by hand"):
                await task
            reader._exception = None
            for number in range(3):  # it has lost its seat with that
                task = await waiting(reader.read(10))
                await send(peer, b"%d" % number)
                assert await task == b"%d" % number
            task = await waiting(reader.read(10))
            reader.feed_eof()
            assert await task == b""

        with_stream(loop, body)

    def test_shown(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            assert "waiter" not in repr(reader)
            task = await waiting(reader.read(10))
            assert "waiter=<StreamReader.read() waiting" in repr(reader)
            await send(peer, b"data")
            await task
            assert "waiter" not in repr(reader)
            assert reader._waiter.done()
            assert reader._waiter.cancelled()

        with_stream(loop, body)

    def test_a_hook_in_place_of_an_attribute(self, loop: AbstractEventLoop) -> None:
        seen: list[bytes] = []

        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            before = reader.feed_data
            del reader._exception
            reader.feed_data = lambda data: (seen.append(data), before(data))
            reader._exception = None
            task = await waiting(reader.read(10))
            await send(peer, b"data")
            assert await task == b"data"

        with_stream(loop, body)
        assert seen == [b"data"]

    def test_a_hook_in_place_of_a_protocols_attribute(self, loop: AbstractEventLoop) -> None:
        seen: list[bytes] = []

        async def body(reader: Any, writer: Any, peer: socket.socket) -> None:
            protocol = writer.transport.get_protocol()
            before, over_ssl = protocol.data_received, protocol._over_ssl
            del protocol._over_ssl
            protocol.data_received = lambda data: (seen.append(data), before(data))
            task = await waiting(reader.read(10))
            await send(peer, b"data")
            assert await task == b"data"
            protocol._over_ssl = over_ssl

        with_stream(loop, body)
        assert seen == [b"data"]


class TestData:
    """What streams were given is used again for what comes later, if nobody has it."""

    @pytest.mark.parametrize("every", [1, 3, 1000])
    def test_what_was_kept_is_as_it_was(self, loop: AbstractEventLoop, every: int) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            kept: dict[bytes, int] = {}
            sizes = [600, 1_000, 1_000, 990, 5_000, 4_900, 10_000, 12_000, 15_000, 20_000]
            for turn in range(200):
                size = sizes[turn // 3 % len(sizes)]
                task = await waiting(reader.read(20_000))
                await send(peer, turn.to_bytes(2, "big") * (size // 2))
                data = await task
                while len(data) < size:
                    data += await reader.read(20_000)
                assert data == turn.to_bytes(2, "big") * (size // 2)
                assert hash(data) == hash(bytes(bytearray(data)))
                if turn % every == 0:
                    kept[data] = turn
            for turn in range(0, 200, every):
                assert kept[turn.to_bytes(2, "big") * (sizes[turn // 3 % len(sizes)] // 2)] == turn

        with_stream(loop, body)

    def test_the_room_of_one_is_not_taken_for_anothers(self, loop: AbstractEventLoop) -> None:
        """Objects that are made and freed in turn come to lie in the same place."""

        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)

            async def get(data: bytes) -> Any:
                task = await waiting(reader.read(20_480))
                await send(peer, data)
                return await task

            kept: list[object] = []
            for turn in range(20):
                await get(bytes(17_000))
                await get(bytes(17_001 + turn))  # much came: into the object itself
                task = await waiting(reader.read(20_480))
                room, barrier = bytes(20_480), bytes(1_000)
                kept.append(([bytes(16_000) for _ in range(300)], barrier))
                theirs.send(bytes(16_000))
                del room
                await loop.sock_recv(ours, 16_384)  # an object that is freed at once
                await send(peer, b"y" * 1_000)
                await task  # one of a thousand bytes, in its place
                del task
            kept.append([bytes(1_000) for _ in range(3_000)])
            for _ in range(40):
                await get(b"z" * 600)
                await get(b"q" * 15_000)
            assert all(value == bytes(1_000) for value in kept[-1])  # type: ignore[attr-defined]
            ours.close()
            theirs.close()

        with_stream(loop, body)

    def test_it_is_used_again(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            places = set()
            for _ in range(200):
                task = await waiting(reader.read(2_000))
                await send(peer, bytes(1_000))
                data = await task
                places.add(id(data))
            # It has this one, and no more than so many others are kept.
            assert len(places) <= 40

        with_stream(loop, body)


class TestWhoIsKept:
    @pytest.mark.parametrize("call", ["read", "readline"])
    def test_who_has_the_reader_keeps_the_task_that_waits_for_it(
        self, loop: AbstractEventLoop, call: str
    ) -> None:
        """Nobody else does: asyncio's list of tasks is a weak one."""
        got: list[bytes] = []

        async def pump(reader: asyncio.StreamReader) -> None:
            while data := await getattr(reader, call)(*([10] if call == "read" else [])):
                got.append(data)

        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            asyncio.create_task(pump(reader))  # noqa: RUF006
            for number in range(1, 4):
                await asyncio.sleep(0)
                gc.collect()
                await send(peer, b"data\n")
                await eventually_async(lambda number=number: len(got) == number)

        with_stream(loop, body)
        assert got == [b"data\n"] * 3

    def test_who_has_the_writer_keeps_a_servers_task(self, loop: AbstractEventLoop) -> None:
        writers: list[asyncio.StreamWriter] = []

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100):
                writer.write(data)
            writer.close()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            asyncio.create_task(echo(reader, writer))  # noqa: RUF006

        async def main() -> None:
            server = await asyncio.start_server(accept, HOST, 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for _ in range(3):
                writer.write(b"data")
                assert await asyncio.wait_for(reader.read(10), DEADLINE) == b"data"
                gc.collect()
            writer.close()
            assert await reader.read() == b""
            server.close()

        run(loop, main())

    @pytest.mark.parametrize("call", ["read", "readline"])
    def test_a_reader_that_is_forgotten_while_somebody_waits(
        self, loop: AbstractEventLoop, call: str
    ) -> None:
        """As with asyncio, a task that nobody knows but its own reader is not kept."""
        gone: list[weakref.ref[Any]] = []
        loop.set_exception_handler(lambda _, context: None)

        async def forgotten(peer: socket.socket) -> Any:
            reader = asyncio.StreamReader()
            protocol = asyncio.StreamReaderProtocol(reader)
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, peer)
            step = getattr(reader, call)()
            assert step.send(None) is not None
            gone.append(weakref.ref(reader))
            reader.myself = step  # a cycle of which nobody knows
            return transport

        async def main() -> None:
            ours, theirs = socket.socketpair()
            with theirs:
                theirs.setblocking(False)
                transport = await forgotten(ours)
                gc.collect()
                assert gone[0]() is None
                await send(theirs, b"data\n")
                await asyncio.sleep(0)
                await asyncio.sleep(0.001)
                transport.abort()

        run(loop, main())

    def test_one_that_is_woken_while_the_collector_clears_it(self, loop: AbstractEventLoop) -> None:
        """A destructor in C may run anything; who waits is known to nobody any more by then."""
        ctypes = pytest.importorskip("ctypes")
        destructor = ctypes.PYFUNCTYPE(None, ctypes.c_void_p)
        make_capsule = ctypes.pythonapi.PyCapsule_New
        make_capsule.restype = ctypes.py_object
        make_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, destructor]
        told: list[str] = []
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))

        class Reading(Coroutine[Any, Any, bytes]):
            """As compiled ones are: nothing closes what it waits for."""

            def __init__(self, reader: asyncio.StreamReader) -> None:
                self.reader, self.call = reader, cast(Any, None)

            def send(self, value: object) -> Any:
                self.call = self.call or self.reader.read(100)
                return self.call.send(None)

            def throw(self, *error: Any) -> Any:
                return self.call.throw(*error)

            def close(self) -> None:
                pass

            def __await__(self) -> Any:
                return self

        def forget(reader: asyncio.StreamReader, capsule: object) -> None:
            task = asyncio.Task(Reading(reader), loop=loop)
            task.add_done_callback(functools.partial(told.append, capsule))

        async def connect() -> tuple[Any, socket.socket]:
            ours, theirs = socket.socketpair()
            reader, writer = await asyncio.open_connection(sock=ours)
            forget(reader, make_capsule(1, None, goes))
            await asyncio.sleep(0)
            return writer, theirs

        @destructor
        def goes(_: object) -> None:
            if not loop.is_running():
                peer.send(b"data")
                loop.run_until_complete(asyncio.sleep(0.001))
                told.append("went")

        gc.disable()
        try:
            writer, peer = loop.run_until_complete(connect())
            loop.run_until_complete(asyncio.sleep(0))
            del writer._reader
            gc.collect()
        finally:
            gc.enable()
        peer.close()
        writer.close()
        loop.run_until_complete(asyncio.sleep(0))
        assert "went" in told
