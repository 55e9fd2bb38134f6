"""Where a check is carried out: a loop, what reaches its exception handler, and raw peers of it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tests.loops import Factory

T = TypeVar("T")

# Under this variable a check gives up sooner, in seconds: where it is known to wait in vain.
PATIENCE_VARIABLE = "COUNTERPOINT_LOOP_PATIENCE"

# Long enough for a busy machine; a check that works never waits for it.
DEADLINE = float(os.environ.get(PATIENCE_VARIABLE, "20"))

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Effort:
    """How much a check does: enough for each run of the tests, by default."""

    sleeps: int = 10_000
    cycles: int = 2_000
    slow_cycles: int = 1_000
    tls_cycles: int = 200
    calls: int = 5_000
    interrupts: int = 60


# For other people's loops, which are only compared; and what the stress suite asks of ours.
LESS = Effort(4_000, 400, 200, 80, 1_000, 30)
MORE = Effort(50_000, 100_000, 10_000, 2_000, 100_000, 1_000)


@dataclass
class Arena:
    """A loop under test and what a check needs beside it."""

    make: Factory
    effort: Effort = field(default_factory=Effort)
    contexts: list[dict[str, Any]] = field(default_factory=list)
    _open: list[socket.socket] = field(default_factory=list)
    _made: list[Made] = field(default_factory=list)
    _servers: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loop = self.make()
        self.loop.set_exception_handler(lambda _, context: self.contexts.append(context))

    @property
    def handled(self) -> list[BaseException]:
        """The exceptions that reached the handler."""
        return [found for each in self.contexts if (found := each.get("exception"))]

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result, within the deadline."""

        async def limited() -> T:
            return await asyncio.wait_for(coroutine, DEADLINE)

        return self.loop.run_until_complete(limited())

    def serve(self, made: Made, **options: Any) -> Any:
        """A server on a free port; in the end its connections are aborted."""
        self._made.append(made)

        async def start() -> asyncio.AbstractServer:
            return await self.loop.create_server(made, HOST, 0, **options)

        server = self.run(start())
        self._servers.append(server)
        return server

    def peer(self, server: Any, **options: int) -> socket.socket:
        """A plain socket that is connected to the server, whose buffers may be given sizes."""
        found = socket.socket()
        self._open.append(found)
        for name, value in options.items():
            found.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
        found.settimeout(DEADLINE)
        found.connect(address(server))
        return found

    def until(self, condition: Callable[[], object]) -> None:
        """Runs the loop until the condition holds."""
        self.run(until(condition))

    def read(self, peer: socket.socket, size: int) -> bytes:
        """So many bytes, or fewer if the connection ends, read while the loop runs."""

        def take() -> bytes:
            data = bytearray()
            while len(data) < size and (more := peer.recv(min(size - len(data), 1 << 20))):
                data += more
            return bytes(data)

        return self.run(in_thread(self.loop, take))

    def close(self) -> None:
        """Ends the loop with all that hangs on it."""
        for each in (*self._open, *self._servers):
            each.close()
        if not self.loop.is_closed():
            for made in self._made:
                made.abort()
            self.loop.run_until_complete(_turns(5))
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()


Check = Callable[[Arena], None]


def address(server: Any) -> Any:
    """Where the server listens."""
    return server.sockets[0].getsockname()


async def in_thread(loop: asyncio.AbstractEventLoop, function: Callable[[], T]) -> T:
    """The function's result, from a thread of the loop's executor."""
    return await loop.run_in_executor(None, function)


async def until(condition: Callable[[], object]) -> None:
    """Returns once the condition holds."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never became true"
        await asyncio.sleep(0.001)


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Notes(asyncio.BaseProtocol):
    """Keeps what a protocol is told, of whatever kind it is."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.events: list[str] = []
        self.data = bytearray()
        self.lost: list[BaseException | None] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.events.append("connection_made")
        self.transport = transport

    def eof_received(self) -> bool | None:
        self.events.append("eof_received")
        return None

    def pause_writing(self) -> None:
        self.events.append("pause_writing")

    def resume_writing(self) -> None:
        self.events.append("resume_writing")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.events.append("connection_lost")
        self.lost.append(exc)


class Recorder(Notes, asyncio.Protocol):
    """A protocol that keeps what it is told."""

    def data_received(self, data: bytes) -> None:
        self.events.append("data_received")
        self.data += data


class Echo(Recorder):
    """Sends back what comes in."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class Made:
    """Makes protocols and keeps them."""

    def __init__(self, cls: Callable[[], Any]) -> None:
        self._cls = cls
        self.all: list[Any] = []

    def __call__(self) -> Any:
        self.all.append(self._cls())
        return self.all[-1]

    @property
    def last(self) -> Any:
        """The last one, whose connection has been made."""
        return self.all[-1]

    def abort(self) -> None:
        """Ends every connection."""
        for each in self.all:
            if each.transport and not each.lost:
                each.transport.abort()

    def are_connected(self, count: int = 1) -> bool:
        """Whether so many have been made, and told of their transport."""
        return len(self.all) >= count and all(each.transport for each in self.all)
