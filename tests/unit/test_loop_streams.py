"""Streams over a transport of ours, whose `read` is native, and which are asyncio's in all else."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import struct
from asyncio import AbstractEventLoop
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from tests.support import FREE_THREADED, eventually_async
from tests.unit.sockets import run

CERTIFICATE = Path(__file__).parents[1] / "loop_checks" / "localhost.pem"
HOST = "127.0.0.1"
MANY = 1 << 20

Body = Callable[[Any, Any, socket.socket], Coroutine[Any, Any, None]]

natively = pytest.mark.skipif(FREE_THREADED, reason="the class of a reader is not changed there")


def with_stream(loop: AbstractEventLoop, body: Body, limit: int = 2**16) -> None:
    """Runs it with a stream's two ends and the socket of its peer."""

    async def main() -> None:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=ours, limit=limit)
        try:
            await body(reader, writer, theirs)
        finally:
            theirs.close()
            writer.close()

    run(loop, main())


async def waiting(call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    """A task in which the call waits."""
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    assert not task.done()
    return task


async def send(peer: socket.socket, data: bytes) -> None:
    await asyncio.get_running_loop().sock_sendall(peer, data)


class TestReading:
    def test_an_echo(self, loop: AbstractEventLoop) -> None:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(100_000):
                writer.write(data)
                await writer.drain()
            writer.close()

        async def main() -> None:
            server = await asyncio.start_server(echo, HOST, 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            for size in (1, 1_000, 100_000, 1_000_000, 10):
                data = os.urandom(size)
                writer.write(data)
                assert await reader.readexactly(size) == data
            writer.write_eof()
            assert await reader.read() == b""
            assert reader.at_eof()
            writer.close()
            await writer.wait_closed()
            server.close()
            await server.wait_closed()

        run(loop, main())

    def test_waiting_and_not(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            assert isinstance(reader, asyncio.StreamReader)
            task = await waiting(reader.read(100))
            await send(peer, b"waited for")
            assert await task == b"waited for"
            await send(peer, b"there already")
            await eventually_async(lambda: reader._buffer)
            assert await reader.read(5) == b"there"
            assert await reader.read(100) == b" already"
            assert not reader._buffer
            assert not reader._waiter
            assert await reader.read(0) == b""

        with_stream(loop, body)

    @natively
    def test_what_is_waited_for_passes_by_the_buffer(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(100))
            assert "StreamReader.read() waiting" in repr(reader._waiter)
            await send(peer, b"data")
            assert await task == b"data"

        with_stream(loop, body)

    def test_little_at_a_time(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(2))
            await send(peer, b"a line\nand more")
            assert await task == b"a "
            assert await reader.readline() == b"line\n"
            assert await reader.read(1) == b"a"
            assert await reader.readexactly(3) == b"nd "
            task = await waiting(reader.readuntil(b"!"))
            await send(peer, b"!!")
            assert await task == b"more!"
            assert await reader.read(10) == b"!"

        with_stream(loop, body)

    def test_all_of_it(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read())
            data = os.urandom(MANY)
            await send(peer, data)
            peer.close()
            assert await task == data
            assert await reader.read(10) == b""

        with_stream(loop, body)

    def test_the_end_wakes(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(10))
            peer.shutdown(socket.SHUT_WR)
            assert await task == b""
            assert reader.at_eof()
            assert await reader.read(10) == b""

        with_stream(loop, body)

    def test_a_reset_is_raised(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            with socket.create_server((HOST, 0)) as listener:
                reader, writer = await asyncio.open_connection(*listener.getsockname())
                peer, _ = listener.accept()
                task = await waiting(reader.read(10))
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                peer.close()
                with pytest.raises(ConnectionResetError):
                    await task
                with pytest.raises(ConnectionResetError):
                    await reader.read(10)
                writer.close()

        run(loop, main())

    def test_fed_by_hand(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, __: socket.socket) -> None:
            task = await waiting(reader.read(3))
            reader.feed_data(b"fed by hand")
            assert await task == b"fed"
            assert await reader.read(100) == b" by hand"
            task = await waiting(reader.read(3))
            reader.set_exception(KeyError("set"))
            with pytest.raises(KeyError, match="set"):
                await task
            with pytest.raises(KeyError, match="set"):
                await reader.read(3)

        with_stream(loop, body)

    def test_two_at_once_are_refused(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            first = await waiting(reader.read(10))
            for other in (reader.read(10), reader.readline()):
                with pytest.raises(RuntimeError, match="another coroutine is already waiting"):
                    await other
            await send(peer, b"data")
            assert await first == b"data"
            second = await waiting(reader.readline())
            with pytest.raises(RuntimeError, match=r"read\(\) called while another coroutine"):
                await reader.read(10)
            await send(peer, b"line\n")
            assert await second == b"line\n"

        with_stream(loop, body)

    def test_a_read_that_is_given_up_takes_nothing(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            for end in ("timeout", "cancel"):
                if end == "timeout":
                    with pytest.raises(asyncio.TimeoutError):
                        await asyncio.wait_for(reader.read(10), 0.001)
                else:
                    task = await waiting(reader.read(10))
                    peer.send(b"lost?")
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                assert not reader._waiter
            assert await reader.read(10) == b"lost?"

        with_stream(loop, body)

    def test_one_that_is_given_up_before_it_goes_on(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(10))
            asyncio.get_running_loop().set_debug(True)  # in which it goes on a turn later
            waiter = reader._waiter

            def give_up() -> None:
                if waiter.done():
                    task.cancel()
                else:
                    asyncio.get_running_loop().call_soon(give_up)

            give_up()
            await send(peer, b"data")
            await asyncio.wait([task])
            assert task.cancelled()
            assert await reader.read(10) == b"data"

        with_stream(loop, body)

    @natively
    def test_by_hand(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            call = reader.read(10)
            call.send(None)
            told = asyncio.Event()
            call.add_done_callback(lambda _: told.set())
            await send(peer, b"data")
            await told.wait()
            call.close()
            assert await reader.read(10) == b"data"

        with_stream(loop, body)

    def test_behind_what_is_in_the_buffer_by_then(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(10))
            reader._buffer.extend(b"first")
            await send(peer, b"second")
            assert await task == b"firstsecon"
            assert await reader.read(10) == b"d"

        with_stream(loop, body)

    def test_the_other_methods_wait_too(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            for parts, call in (
                ([b"a ", b"line\n"], reader.readline),
                ([b"until", b" now;"], lambda: reader.readuntil(b";")),
                ([b"x" * 500, b"y" * 500], lambda: reader.readexactly(1_000)),
            ):
                task = await waiting(call())
                for part in parts:
                    assert not task.done()
                    await send(peer, part)
                    await eventually_async(lambda task=task: task.done() or reader._buffer)
                assert await task == b"".join(parts)
            task = await waiting(reader.readexactly(10))
            await send(peer, b"short")
            peer.close()
            with pytest.raises(asyncio.IncompleteReadError) as ended:
                await task
            assert ended.value.partial == b"short"

        with_stream(loop, body)

    def test_a_buffer_that_cannot_grow(self, loop: AbstractEventLoop) -> None:
        contexts: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: contexts.append(context))

        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            with memoryview(reader._buffer):
                task = await waiting(reader.readline())
                await send(peer, b"a line\n")
                with pytest.raises(BufferError):
                    await task

        with_stream(loop, body)
        assert [type(each["exception"]) for each in contexts] == [BufferError]

    def test_one_that_is_never_awaited(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, _: Any, __: socket.socket) -> None:
            with pytest.warns(RuntimeWarning, match=r"StreamReader.read' was never awaited"):
                reader.read(10)

        with_stream(loop, body)


class TestFlowControl:
    def test_a_reader_that_is_slow_pauses_the_transport(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, writer: Any, peer: socket.socket) -> None:
            data = os.urandom(MANY)
            sending = await waiting(send(peer, data))
            await eventually_async(lambda: not writer.transport.is_reading())
            assert reader._paused
            got = b""
            while len(got) < MANY:
                got += await reader.read(700)
            await sending
            assert got == data
            assert writer.transport.is_reading()

        with_stream(loop, body, limit=1_000)

    def test_one_that_waits_while_it_is_paused(self, loop: AbstractEventLoop) -> None:
        async def body(reader: Any, writer: Any, peer: socket.socket) -> None:
            await send(peer, bytes(5_000))
            await eventually_async(lambda: reader._paused)
            reader._buffer.clear()
            task = await waiting(reader.read(100))
            assert writer.transport.is_reading()
            await send(peer, b"more")
            assert await task == b"more"

        with_stream(loop, body, limit=1_000)


class OwnReader(asyncio.StreamReader):
    """A reader of one's own, whose methods count."""

    def feed_data(self, data: bytes) -> None:
        super().feed_data(data.upper())


async def own_stream(
    reader: asyncio.StreamReader, protocol: asyncio.StreamReaderProtocol
) -> tuple[asyncio.Transport, socket.socket]:
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_connection(lambda: protocol, sock=ours)
    return transport, theirs


class TestWhatIsNotAsyncio_s:
    def test_a_reader_of_one_s_own(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            reader = OwnReader()
            transport, peer = await own_stream(reader, asyncio.StreamReaderProtocol(reader))
            assert type(reader) is OwnReader
            task = await waiting(reader.read(10))
            await send(peer, b"data")
            assert await task == b"DATA"
            peer.close()
            transport.abort()

        run(loop, main())

    def test_a_protocol_of_one_s_own(self, loop: AbstractEventLoop) -> None:
        class Protocol(asyncio.StreamReaderProtocol):
            def data_received(self, data: bytes) -> None:
                super().data_received(data.upper())

        async def main() -> None:
            reader = asyncio.StreamReader()
            transport, peer = await own_stream(reader, Protocol(reader))
            assert type(reader) is asyncio.StreamReader
            task = await waiting(reader.read(10))
            await send(peer, b"data")
            assert await task == b"DATA"
            peer.close()
            transport.abort()

        run(loop, main())

    @pytest.mark.parametrize("name", ["read", "feed_data"])
    def test_a_method_that_was_replaced(
        self, loop: AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        calls: list[str] = []
        before: Any = getattr(asyncio.StreamReader, name)

        def replaced(self: object, *args: Any) -> Any:
            calls.append(name)
            return before(self, *args)

        monkeypatch.setattr(asyncio.StreamReader, name, replaced)

        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(10))
            await send(peer, b"data")
            assert await task == b"data"

        with_stream(loop, body)
        assert calls == [name]

    @pytest.mark.parametrize("name", ["feed_data", "_wakeup_waiter", "data_received"])
    def test_a_method_that_is_replaced_while_a_read_waits(
        self, loop: AbstractEventLoop, name: str
    ) -> None:
        calls: list[str] = []

        async def body(reader: Any, writer: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(10))
            of = writer.transport.get_protocol() if name == "data_received" else reader
            before = getattr(of, name)

            def replaced(*args: Any) -> Any:
                calls.append(name)
                return before(*args)

            setattr(of, name, replaced)
            await send(peer, b"data")
            assert await task == b"data"
            assert calls == [name]

        with_stream(loop, body)

    @pytest.mark.parametrize("name", ["feed_data", "_wakeup_waiter"])
    def test_attributes_in_another_order(self, loop: AbstractEventLoop, name: str) -> None:
        calls: list[str] = []

        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            before = getattr(reader, name)

            def replaced(*args: Any) -> Any:
                calls.append(name)
                return before(*args)

            for again in ("_exception", "_waiter", "_buffer"):  # as the last ones
                value = getattr(reader, again)
                delattr(reader, again)
                setattr(reader, again, value)
            task = await waiting(reader.read(10))
            await send(peer, b"data")
            assert await task == b"data"
            for put in (lambda: setattr(reader, name, replaced), lambda: None):
                put()
                del reader._paused
                reader._paused = False
                task = await waiting(reader.read(10))
                await send(peer, b"more")
                assert await task == b"more"
            assert calls == [name, name]

        with_stream(loop, body)

    def test_a_reader_that_is_gone(self, loop: AbstractEventLoop) -> None:
        contexts: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: contexts.append(context))

        async def main() -> None:
            reader = asyncio.StreamReader()
            transport, peer = await own_stream(reader, asyncio.StreamReaderProtocol(reader))
            del reader
            for _ in range(3):
                await send(peer, b"data")
                await asyncio.sleep(0.001)
            peer.close()
            await eventually_async(lambda: transport.is_closing() or transport.abort())

        run(loop, main())
        assert contexts == []

    def test_debug_mode(self, loop: AbstractEventLoop) -> None:
        loop.set_debug(True)

        async def body(reader: Any, _: Any, peer: socket.socket) -> None:
            task = await waiting(reader.read(10))
            await send(peer, b"data")
            assert await task == b"data"

        with_stream(loop, body)

    def test_tls(self, loop: AbstractEventLoop) -> None:
        """Begun on a stream that is plain, as a protocol with STARTTLS does."""
        serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        serving.load_cert_chain(CERTIFICATE)
        trusting = ssl.create_default_context(cafile=str(CERTIFICATE))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.read(100) == b"plain"
            writer.write(b"go on")
            await writer.drain()
            await writer.start_tls(serving)
            while data := await reader.read(100):
                writer.write(data.upper())
            writer.close()

        async def main() -> None:
            server = await asyncio.start_server(serve, HOST, 0)
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"plain")
            assert await reader.read(100) == b"go on"
            await writer.start_tls(trusting, server_hostname="localhost")
            for number in range(3):
                writer.write(b"secret%d" % number)
                assert await reader.read(100) == b"SECRET%d" % number
            writer.close()
            await writer.wait_closed()
            server.close()

        run(loop, main())
