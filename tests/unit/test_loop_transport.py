"""What a socket transport knows, keeps for itself, and calls its protocol in."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import socket
import struct
import tempfile
import warnings
from asyncio import AbstractEventLoop, selector_events
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest

from counterpoint._loop.transport import SocketTransport
from tests.unit.sockets import run

HOST = "127.0.0.1"
RESET = struct.pack("ii", 1, 0)

seen: contextvars.ContextVar[int] = contextvars.ContextVar("seen")


class Recorder(asyncio.Protocol):
    """Tells what it was called with."""

    transport: Any

    def __init__(self) -> None:
        self.told: asyncio.Queue[Any] = asyncio.Queue()
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.told.put_nowait(None)

    def data_received(self, data: bytes) -> None:
        self.told.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set_result(exc)


async def accepted(
    factory: Callable[[], Recorder] = Recorder, **options: Any
) -> tuple[Recorder, socket.socket]:
    """The protocol of a connection that a server has accepted, and its peer."""
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(factory())
        return made[0]

    loop: Any = asyncio.get_running_loop()
    server = await loop.create_server(make, HOST, 0)
    peer = socket.socket()
    peer.setblocking(False)
    await loop.sock_connect(peer, server.sockets[0].getsockname())
    while not made:
        await asyncio.sleep(0)
    await made[0].told.get()
    server.close()
    return made[0], peer


async def connected(context: contextvars.Context | None = None) -> tuple[Recorder, socket.socket]:
    """The protocol of one end of a pair, and the other end."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    loop: Any = asyncio.get_running_loop()
    if context is None:
        _, protocol = await loop.create_connection(Recorder, sock=ours)
    else:
        task = loop.create_task(loop.create_connection(Recorder, sock=ours), context=context)
        _, protocol = await task
    await protocol.told.get()
    return protocol, theirs


class TestExtraInfo:
    def test_names_and_socket(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            protocol, peer = await accepted()
            info = protocol.transport.get_extra_info
            assert info("sockname") == peer.getpeername()
            assert info("peername") == peer.getsockname()
            assert info("socket") is info("socket")
            assert info("socket").fileno() == protocol.transport._sock_fd
            assert info("nothing", 7) == 7
            peer.close()
            await protocol.lost
            assert info("peername")[0] == info("sockname")[0] == HOST

        run(loop, main())

    @pytest.mark.parametrize("how", ["close", "reset"])
    def test_they_are_known_when_the_connection_has_ended(
        self, loop: AbstractEventLoop, how: str
    ) -> None:
        async def main() -> None:
            protocol, peer = await accepted()
            ours, theirs = peer.getpeername(), peer.getsockname()
            if how == "reset":
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            peer.close()
            assert isinstance(await protocol.lost, ConnectionResetError) is (how == "reset")
            await asyncio.sleep(0)
            assert protocol.transport.get_extra_info("sockname") == ours
            assert protocol.transport.get_extra_info("peername") == theirs
            assert protocol.transport.get_extra_info("socket").fileno() == -1

        run(loop, main())

    def test_of_a_connection_that_was_made(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            protocol, peer = await accepted()
            name = protocol.transport.get_extra_info("sockname")
            server = await loop.create_server(Recorder, HOST, 0)
            where = server.sockets[0].getsockname()
            transport, client = await loop.create_connection(Recorder, *where)
            assert transport.get_extra_info("peername") == where != name
            transport.close()
            await client.lost
            server.close()
            protocol.transport.abort()
            peer.close()

        run(loop, main())

    def test_a_socket_without_a_peer(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            protocol, peer = await connected()
            assert protocol.transport.get_extra_info("peername") == peer.getsockname()
            protocol.transport.abort()
            peer.close()

        run(loop, main())


class TestDescriptor:
    def test_it_is_the_transports_until_that_is_closed(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            protocol, peer = await connected()
            transport = protocol.transport
            number, sock = transport._sock_fd, transport._sock
            for file in (number, sock):
                with pytest.raises(RuntimeError, match="is used by transport <SocketTransport"):
                    loop.add_reader(file, print)
                with pytest.raises(RuntimeError, match="is used by transport"):
                    loop.remove_writer(file)
            if sock.gettimeout() == 0:
                with pytest.raises(RuntimeError, match="is used by transport"):
                    await loop.sock_recv(sock, 1)
            transport.pause_reading()
            with pytest.raises(RuntimeError, match="is used by transport"):
                loop.add_writer(number, print)
            transport.close()
            assert loop.remove_reader(number) is False
            await protocol.lost
            peer.close()

        run(loop, main())

    def test_the_next_one_with_that_number_has_it(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            first, peer = await connected()
            number = first.transport._sock_fd
            first.transport.abort()
            await first.lost
            ours, theirs = sorted(socket.socketpair(), key=lambda one: one.fileno() != number)
            if ours.fileno() != number:
                os.dup2(ours.fileno(), number)
                ours.close()
                ours = socket.socket(fileno=number)
            again, second = await loop.create_connection(Recorder, sock=ours)
            del first
            with pytest.raises(RuntimeError, match="is used by transport"):
                loop.add_reader(number, print)
            again.close()
            await second.lost
            peer.close()
            theirs.close()

        run(loop, main())

    def test_a_file_is_sent_past_it(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            protocol, peer = await accepted()
            with tempfile.TemporaryFile() as file:
                file.write(b"x" * 10_000)
                file.seek(0)
                assert await loop.sendfile(protocol.transport, file) == 10_000
            received = b""
            while len(received) < 10_000:
                received += await loop.sock_recv(peer, 10_000)
            assert received == b"x" * 10_000
            with pytest.raises(RuntimeError, match="is used by transport"):
                loop.add_reader(protocol.transport._sock_fd, print)
            await loop.sock_sendall(peer, b"still read")
            assert await protocol.told.get() == b"still read"
            peer.close()
            await protocol.lost

        run(loop, main())

    def test_two_files_are_not_sent_at_a_time(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            protocol, peer = await accepted()
            size = 5_000_000
            with tempfile.TemporaryFile() as large, tempfile.TemporaryFile() as small:
                large.truncate(size)
                small.truncate(10)
                first = asyncio.ensure_future(loop.sendfile(protocol.transport, large))
                while not protocol.transport._empty_waiter and not first.done():
                    await asyncio.sleep(0)
                assert not first.done()
                with pytest.raises(RuntimeError, match="being sent"):
                    await loop.sendfile(protocol.transport, small)
                received = 0
                while received < size:
                    received += len(await loop.sock_recv(peer, size))
                assert await first == received == size
                small.seek(0)
                assert await loop.sendfile(protocol.transport, small) == 10
            peer.close()
            await protocol.lost

        run(loop, main())

    def test_a_file_is_sent_by_a_transport_of_asyncios(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.setblocking(False)
            made: Any = selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
            transport = made(loop, ours, Recorder())
            with tempfile.TemporaryFile() as file:
                file.write(b"x" * 1_000)
                file.seek(0)
                assert await loop.sendfile(transport, file) == 1_000
            assert await loop.sock_recv(theirs, 2_000) == b"x" * 1_000
            transport.close()
            theirs.close()

        run(loop, main())

    def test_it_is_free_when_the_transport_was_abandoned(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            protocol, peer = await connected()
            protocol.transport.pause_reading()
            number = protocol.transport._sock_fd
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del protocol
                gc.collect()
                # Whoever records the warnings, of the socket as well, keeps the transport.
                assert any(isinstance(one.source, SocketTransport) for one in caught)
                assert loop.remove_reader(number) is False
            peer.close()

        run(loop, main())

    def test_a_made_up_socket_has_one_that_nobody_uses(self, loop: AbstractEventLoop) -> None:
        made_up = mock.Mock(socket.socket)
        made_up.fileno.return_value = 1 << 20
        made_up.family, made_up.type, made_up.proto = socket.AF_INET, socket.SOCK_STREAM, 0
        made_up.gettimeout.return_value = 0
        transport = SocketTransport(loop, made_up, asyncio.Protocol())
        assert transport.get_extra_info("socket").fileno() == 1 << 20
        transport.abort()
        loop.run_until_complete(asyncio.sleep(0))


class TestSubclass:
    def test_one_that_fails_before_it_is_made(self, loop: AbstractEventLoop) -> None:
        class Failing(SocketTransport):
            def __init__(self) -> None:
                raise ValueError("early")

        with pytest.raises(ValueError, match="early"):
            Failing()
        gc.collect()  # an exception in a destructor fails the test

    def test_extra_information_can_be_set(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            protocol, peer = await connected()
            protocol.transport._extra = {"peername": "somebody"}
            assert protocol.transport.get_extra_info("peername") == "somebody"
            protocol.transport._extra["more"] = 1
            assert protocol.transport.get_extra_info("more") == 1
            protocol.transport.abort()
            peer.close()

        run(loop, main())

    def test_a_socket_that_was_taken_away(self, loop: AbstractEventLoop) -> None:
        async def main() -> None:
            server: Any = await loop.create_server(Recorder, HOST, 0)
            sock = socket.create_connection(server.sockets[0].getsockname())
            name, peer = sock.getsockname(), sock.getpeername()
            transport, protocol = await loop.create_connection(Recorder, sock=sock)
            os.close(sock.detach())
            assert transport.get_extra_info("sockname") == name
            assert transport.get_extra_info("peername") == peer
            transport.abort()
            await protocol.lost
            server.close()

        run(loop, main())


class Counting(Recorder):
    """Counts in a context variable how often it was called."""

    def data_received(self, data: bytes) -> None:
        seen.set(seen.get(0) + 1)
        self.told.put_nowait(seen.get())


class TestContext:
    def test_what_a_protocol_sets_it_finds_again_and_nobody_else(
        self, loop: AbstractEventLoop
    ) -> None:
        async def main() -> None:
            first, its_peer = await accepted(Counting)
            second, other_peer = await accepted(Counting)
            for wanted in (1, 2, 3):
                await loop.sock_sendall(its_peer, b"x")
                assert await first.told.get() == wanted
            await loop.sock_sendall(other_peer, b"x")
            assert await second.told.get() == 1
            assert seen.get(None) is None
            for protocol, peer in ((first, its_peer), (second, other_peer)):
                peer.close()
                await protocol.lost

        run(loop, main())

    def test_what_was_set_where_it_was_made(self, loop: AbstractEventLoop) -> None:
        context = contextvars.copy_context()
        context.run(seen.set, 41)

        async def main() -> None:
            protocol, peer = await connected(context)
            protocol.data_received = lambda _: protocol.told.put_nowait(  # type: ignore[method-assign]
                seen.get()
            )
            await loop.sock_sendall(peer, b"x")
            assert await protocol.told.get() == 41
            peer.close()
            await protocol.lost

        run(loop, main())
