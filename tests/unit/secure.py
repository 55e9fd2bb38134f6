"""TLS connections whose two ends live on one of our loops."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from counterpoint import aio
from counterpoint._loop import tls
from tests.loop_checks.certificates import CERTIFICATE
from tests.support import DEADLINE, eventually_async

T = TypeVar("T")

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def contexts(version: str = "1.3") -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """New ones, of a server and of a client that trusts it, for this version of TLS."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(CERTIFICATE)
    client = ssl.create_default_context(cafile=CERTIFICATE)
    server.minimum_version = server.maximum_version = VERSIONS[version]
    return server, client


class Notes:
    """What a protocol is told."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.chunks: list[bytes] = []
        self.events: list[str] = []
        self.lost: list[BaseException | None] = []

    @property
    def data(self) -> bytes:
        return b"".join(self.chunks)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def eof_received(self) -> None:
        self.events.append("eof")

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)

    async def got(self, size: int) -> bytes:
        """The data, once there is so much."""
        await eventually_async(lambda: sum(map(len, self.chunks)) >= size)
        return self.data

    async def ended(self) -> BaseException | None:
        """Why the connection was lost, once it is."""
        await eventually_async(lambda: self.lost)
        return self.lost[0]


class Plain(Notes, asyncio.Protocol):
    """Is given bytes."""

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)


class Buffered(Notes, asyncio.BufferedProtocol):
    """Has a buffer of its own."""

    def __init__(self, size: int = 1000) -> None:
        super().__init__()
        self.buffer = bytearray(size)
        self.hints: list[int] = []

    def get_buffer(self, sizehint: int) -> bytearray:
        self.hints.append(sizehint)
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.chunks.append(bytes(self.buffer[:nbytes]))


class Ends:
    """A loop, and connections on it."""

    def __init__(self) -> None:
        self.loop: Any = aio.new_event_loop()
        self.contexts: list[dict[str, Any]] = []
        self.loop.set_exception_handler(lambda _, context: self.contexts.append(context))
        self._servers: list[Any] = []
        self._all: list[Any] = []

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Its result, within the deadline."""

        async def limited() -> T:
            return await asyncio.wait_for(coroutine, DEADLINE)

        return self.loop.run_until_complete(limited())  # type: ignore[no-any-return]

    async def serve(self, protocol: Any, context: ssl.SSLContext | None, **more: Any) -> int:
        """The port of a server whose connections get this protocol."""
        server = await self.loop.create_server(
            lambda: protocol, "127.0.0.1", 0, ssl=context, **more
        )
        self._servers.append(server)
        self._all.append(protocol)
        return int(server.sockets[0].getsockname()[1])

    async def connect(self, server: Any, client: Any, version: str = "1.3") -> None:
        """A connection between two protocols."""
        theirs, ours = contexts(version)
        await self.join(client, await self.serve(server, theirs), ours)
        await eventually_async(lambda: server.transport)

    async def join(self, client: Any, port: int, context: ssl.SSLContext | None) -> None:
        """Connects to a server."""
        name = "localhost" if context else None
        await self.loop.create_connection(
            lambda: client, "127.0.0.1", port, ssl=context, server_hostname=name
        )
        self._all.append(client)

    def close(self) -> None:
        for each in self._servers:
            each.close()
        for each in self._all:
            if each.transport and not each.lost:
                each.transport.abort()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()


def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A fixture's: whether libssl's functions are called directly."""
    monkeypatch.setattr(tls, "NATIVE", request.param == "native")
    return bool(request.param == "native")


def quiet_ends(native: bool) -> Iterator[Ends]:
    """A fixture's: connections, of which the exception handler is told nothing."""
    made = Ends()
    yield made
    made.close()
    assert [context["message"] for context in made.contexts] == []


def noise(size: int) -> bytes:
    """So many bytes, always the same."""
    return random.Random(size).randbytes(size)


def raw(transport: Any) -> socket.socket:
    """Another descriptor of the connection's socket."""
    return socket.socket(fileno=socket.dup(transport.get_extra_info("socket").fileno()))


def is_native(transport: Any) -> bool:
    """Whether libssl's functions are called directly."""
    return bool(transport._counterpoint_tls.is_native())
