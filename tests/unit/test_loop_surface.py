"""All of asyncio's surface is there, and asyncio itself is left as it was."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
import sys
from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually_async, succeeds
from tests.unit.secure import contexts
from tests.unit.sockets import run

ROOT = str(Path(__file__).parents[2])


def is_left_out(kind: type, name: str) -> bool:
    """Whether what the class has by that name, maybe from above, says NotImplementedError."""
    found = inspect.getattr_static(kind, name)
    function = getattr(found, "fget", None) or getattr(found, "__func__", found)
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and "NotImplementedError" in code.co_names


def left_out(kind: type, abstract: type | None = None) -> list[str]:
    """The class's methods of which that is so: of all, or of those that another declares."""
    return [name for name in dir(abstract or kind) if is_left_out(kind, name)]


def test_every_method_of_the_loop_is_there(loop: AbstractEventLoop) -> None:
    assert len(left_out(AbstractEventLoop)) > 50, "what is looked for can be found"
    assert left_out(type(loop)) == []
    for name in (name for name in dir(AbstractEventLoop) if not name.startswith("_")):
        theirs = inspect.getattr_static(AbstractEventLoop, name)
        assert inspect.getattr_static(type(loop), name) is not theirs, name


class Peer(asyncio.Protocol):
    """A protocol of any kind of transport."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, exc: BaseException | None) -> None:
        self.lost = True

    def nothing(self, *_: object) -> None:
        pass

    pipe_data_received = pipe_connection_lost = process_exited = nothing


class Made:
    """Transports and servers, and how they are ended."""

    def __init__(self) -> None:
        self.loop: Any = asyncio.get_running_loop()
        self.peers: list[Peer] = []
        self.servers: list[asyncio.AbstractServer] = []

    def peer(self) -> Peer:
        self.peers.append(Peer())
        return self.peers[-1]

    async def connection(self, secure: bool = False) -> None:
        theirs, ours = contexts() if secure else (None, None)
        server = await self.loop.create_server(self.peer, "127.0.0.1", 0, ssl=theirs)
        self.servers.append(server)
        name = "localhost" if secure else None
        address = server.sockets[0].getsockname()
        await self.loop.create_connection(self.peer, *address, ssl=ours, server_hostname=name)
        await eventually_async(lambda: len(self.peers) == 2)
        await eventually_async(lambda: all(peer.transport for peer in self.peers))

    async def tls(self) -> None:
        await self.connection(secure=True)

    async def unix(self) -> None:
        for sock in socket.socketpair():
            await self.loop.create_unix_connection(self.peer, sock=sock)

    async def datagram(self) -> None:
        await self.loop.create_datagram_endpoint(self.peer, local_addr=("127.0.0.1", 0))
        await self.loop.create_datagram_endpoint(self.peer, family=socket.AF_UNIX)

    async def read_pipe(self) -> None:
        ours, theirs = os.pipe()
        await self.loop.connect_read_pipe(self.peer, os.fdopen(ours, "rb", 0))
        os.close(theirs)

    async def write_pipe(self) -> None:
        theirs, ours = os.pipe()
        await self.loop.connect_write_pipe(self.peer, os.fdopen(ours, "wb", 0))
        os.close(theirs)

    async def process(self) -> None:
        await self.loop.subprocess_exec(self.peer, sys.executable, "-S", "-c", "")

    def kinds(self) -> list[type]:
        return [type(peer.transport) for peer in self.peers]

    async def end(self) -> None:
        for peer in self.peers:
            peer.transport.close()
        await eventually_async(lambda: all(peer.lost for peer in self.peers))
        for server in self.servers:
            server.close()
            await server.wait_closed()


Making = Callable[[Made], Awaitable[None]]

TRANSPORTS: dict[str, tuple[type, Making]] = {
    "connection": (asyncio.Transport, Made.connection),
    "TLS": (asyncio.Transport, Made.tls),
    "unix": (asyncio.Transport, Made.unix),
    "datagram": (asyncio.DatagramTransport, Made.datagram),
    "read pipe": (asyncio.ReadTransport, Made.read_pipe),
    "write pipe": (asyncio.WriteTransport, Made.write_pipe),
    "process": (asyncio.SubprocessTransport, Made.process),
}

# As in asyncio: over TLS one end is never closed alone, and `can_write_eof()` says so.
MEANT = {"TLS": ["write_eof"]}
# Nor is asyncio's own an instance of what it implements.
UNRELATED = {"datagram"} if sys.version_info < (3, 12) else set()


@pytest.mark.parametrize("what", TRANSPORTS)
def test_every_method_of_a_transport_is_there(loop: AbstractEventLoop, what: str) -> None:
    abstract, make = TRANSPORTS[what]
    assert left_out(abstract), "what is looked for can be found"

    async def main() -> None:
        made = Made()
        await make(made)
        kinds = made.kinds()
        await made.end()
        assert kinds
        for kind in kinds:
            assert issubclass(kind, abstract) or what in UNRELATED
            assert left_out(kind, abstract) == MEANT.get(what, [])

    run(loop, main())


def test_every_method_of_a_server_is_there(loop: AbstractEventLoop) -> None:
    assert left_out(asyncio.AbstractServer), "what is looked for can be found"

    async def main() -> None:
        made = Made()
        await made.connection()
        (server,) = made.servers
        await made.end()
        assert isinstance(server, asyncio.AbstractServer)
        assert left_out(type(server)) == []

    run(loop, main())


USE = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from tests.unit.asyncio_names import changes, names

async def echo(reader, writer):
    writer.write(await reader.readline())
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"a line\\n")
        assert await reader.read() == b"a line\\n"
        writer.close()
        await writer.wait_closed()
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", "", stdout=pipe)
    assert await child.communicate() == (b"", None)
    await asyncio.wait_for(asyncio.to_thread(int), 30)
    return type(asyncio.get_running_loop()).__module__

def use(factory):
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main())

use(asyncio.SelectorEventLoop)  # what asyncio itself makes when it is first used
before = names()
assert len(before) > 5000
assert not changes(before)
assert "counterpoint" not in sys.modules
"""


def test_asyncio_is_not_changed_by_being_used() -> None:
    ours = "from counterpoint.aio import new_event_loop\n"
    tells = "print(use(new_event_loop), changes(before))\n"
    assert succeeds(USE + ours + tells, ROOT) == "counterpoint._loop.loop []\n"


def test_a_change_of_asyncio_would_be_seen() -> None:
    change = (
        "asyncio.events.more = 1\n"
        "asyncio.Queue.put = asyncio.Queue.get\n"
        "asyncio.StreamReader.read.__defaults__ = (5,)\n"
        "del asyncio.Semaphore.locked\n"
        "print(*changes(before))\n"
    )
    seen = succeeds(USE + change, ROOT).split()
    for name in (
        "events.more",
        "queues.Queue.put",
        "streams.StreamReader.read.__defaults__",
        "locks.Semaphore.locked",
    ):
        assert f"asyncio.{name}" in seen
