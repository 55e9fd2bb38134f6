"""Exceptions in a protocol's callbacks: they reach the handler, and the connection is ended."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import Any

from tests.loop_checks.arena import HOST, Arena, Check, Echo, Made, Notes, Recorder

BIG = 8 << 20


class Fault(Exception):
    """What the callbacks raise."""


def raising(callback: str, base: type) -> type:
    """A protocol whose callback raises, after having done its work."""

    def raise_(self: Any, *args: object) -> None:
        getattr(super(made, self), callback)(*args)
        raise Fault(callback)

    made = type(f"Raising{callback}", (base,), {callback: raise_})
    return made


class Filling(Recorder):
    """Writes more than goes out, so that it is told to pause."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"x" * BIG)


class Buffered(Notes, asyncio.BufferedProtocol):
    """Reads into a buffer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(1_000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]


BASES = {
    "connection_made": Echo,
    "data_received": Echo,
    "eof_received": Echo,
    "connection_lost": Echo,
    "pause_writing": Filling,
    "resume_writing": Filling,
    "get_buffer": Buffered,
    "buffer_updated": Buffered,
}


def _provoke(arena: Arena, callback: str, peer: socket.socket) -> None:
    """Does what leads to the callback."""
    if callback != "connection_made":
        peer.sendall(b"something")
    if callback == "eof_received":
        peer.shutdown(socket.SHUT_WR)
    elif callback == "connection_lost":
        peer.close()
    elif callback == "resume_writing":
        with contextlib.suppress(ConnectionError):
            arena.read(peer, BIG)


def _faults(arena: Arena) -> int:
    return sum(isinstance(each, Fault) for each in arena.handled)


def _check_stream(arena: Arena, callback: str) -> None:
    made = Made(raising(callback, BASES[callback]))
    server = arena.serve(made)
    peer = arena.peer(server, SO_RCVBUF=8_192)
    arena.until(lambda: made.all and made.last.transport)
    _provoke(arena, callback, peer)
    arena.until(lambda: _faults(arena))
    # Not at once: the transport's end is told of in a later turn.
    arena.until(lambda: made.last.lost)
    assert made.last.transport.is_closing()
    assert _faults(arena) == 1, arena.contexts
    # The server goes on.
    other = Made(Echo)
    second = arena.serve(other)
    arena.peer(second).sendall(b"hello")
    arena.until(lambda: other.all and other.last.data == b"hello")
    for each in (server, second):
        each.close()


def _for_stream(callback: str) -> Check:
    def check(arena: Arena) -> None:
        _check_stream(arena, callback)

    ends = "" if callback == "connection_lost" else ", and the connection is ended"
    check.__doc__ = f"an exception in {callback}() reaches the exception handler{ends}"
    return check


class Datagrams(asyncio.DatagramProtocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.got: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.got.append(data)
        if data == b"raise":
            raise Fault("datagram_received")


def datagram_received(arena: Arena) -> None:
    """an exception in datagram_received() reaches the exception handler; the next is received"""

    async def main() -> Any:
        made = await arena.loop.create_datagram_endpoint(Datagrams, local_addr=(HOST, 0))
        return made[1]

    protocol = arena.run(main())
    where = protocol.transport.get_extra_info("sockname")
    with socket.socket(type=socket.SOCK_DGRAM) as peer:
        peer.sendto(b"raise", where)
        arena.until(lambda: _faults(arena))
        peer.sendto(b"next", where)
        arena.until(lambda: protocol.got == [b"raise", b"next"])
    assert _faults(arena) == 1
    protocol.transport.close()


def handler_that_raises(arena: Arena) -> None:
    """an exception in the exception handler does not end the loop"""

    def handle(*_: object) -> None:
        raise Fault("in the handler")

    def fail() -> None:
        raise Fault("in a callback")

    async def main() -> str:
        arena.loop.call_soon(fail)
        await asyncio.sleep(0.001)
        return "alive"

    arena.loop.set_exception_handler(handle)
    assert arena.run(main()) == "alive"


ALL = {
    **{f"exception_in_{callback}": _for_stream(callback) for callback in BASES},
    "exception_in_datagram_received": datagram_received,
    "exception_in_handler": handler_that_raises,
}
