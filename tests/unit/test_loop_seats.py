"""Where it is noted who waits for a stream: found by the transport, and by asyncio's own code."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
import weakref
from asyncio import AbstractEventLoop
from typing import Any

import pytest

from tests.support import eventually_async
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

    @pytest.mark.parametrize("call", ["read", "readline"])
    def test_a_reader_that_is_forgotten_while_somebody_waits(
        self, loop: AbstractEventLoop, call: str
    ) -> None:
        """As with asyncio, nobody keeps a task that nobody knows but the reader that it waits for."""
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
