"""Connections that a server has accepted and to which it writes in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support import eventually_async

# So many callbacks, and it is known.
LEARNT = 4
# No more bytes are held back.
MOST = 16 * 1024

_PEERS: list[socket.socket] = []


def each_kind(request: pytest.FixtureRequest) -> Iterator[str]:
    """A fixture's: the kind of the sockets, whose other ends are closed after the test."""
    yield str(request.param)
    close_peers()


def close_peers() -> None:
    """Close the other ends of all that were accepted."""
    while _PEERS:
        _PEERS.pop().close()


class Told:
    """Keeps what every protocol is told."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.lost: list[BaseException | None] = []
        self.then: Callable[[], object] = int

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost.append(exc)


class Recorder(Told, asyncio.Protocol):
    """Keeps what it is told, and what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.data = b""

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.then()


def fill(fd: int, size: int = 1_000) -> int:
    """Write pieces of that size until the kernel takes no more; how much that was."""
    filled = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(fd, bytes(size))
    if stat.S_ISSOCK(os.fstat(fd).st_mode):
        # TCP moves on what nobody reads, a while later, and there would be room again.
        with socket.socket(fileno=os.dup(fd)) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
    return filled


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
            except AssertionError as error:
                done.set_exception(error)
            finally:
                if not done.done():
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


async def accepted(
    kind: str, factory: Callable[[], Recorder] = Recorder, **more: Any
) -> tuple[Recorder, socket.socket]:
    """The protocol of a connection that a server has accepted, and its peer."""
    loop = asyncio.get_running_loop()
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(factory())
        return made[-1]

    if kind == "inet":
        server = await loop.create_server(make, "127.0.0.1", 0, **more)
        peer = socket.socket()
    else:
        server = await loop.create_unix_server(make, f"\0{__name__}-{os.getpid()}", **more)
        peer = socket.socket(socket.AF_UNIX)
    _PEERS.append(peer)
    peer.setblocking(False)
    await loop.sock_connect(peer, server.sockets[0].getsockname())
    await eventually_async(lambda: made and hasattr(made[0], "transport"))
    server.close()
    return made[0], peer


async def writer(kind: str, factory: Callable[[], Recorder] = Recorder) -> tuple[Writer, Recorder]:
    """Over a connection that was accepted."""
    protocol, peer = await accepted(kind, factory)
    made = Writer(protocol.transport, peer)
    await made.learn()
    return made, protocol
