"""Peers that misbehave on a plain connection: an error or an end, and the server goes on."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from tests.loop_checks.arena import HOST, Arena, Echo, Made, Recorder, address

BIG = 8 << 20


def reset(peer: socket.socket) -> None:
    """Closes the connection by a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def _lives(arena: Arena, server: Any) -> None:
    """Another peer is served."""
    peer = arena.peer(server)
    peer.sendall(b"hello")
    assert arena.read(peer, 5) == b"hello"


def _end(arena: Arena, server: Any, made: Made) -> None:
    server.close()
    made.abort()
    arena.until(lambda: all(each.lost for each in made.all if each.transport))


def resets(arena: Arena) -> None:
    """a peer that resets the connection is told of by ConnectionResetError, and that is all"""
    made = Made(Echo)
    server = arena.serve(made)
    for number in range(20):
        peer = arena.peer(server)
        arena.until(lambda wanted=number + 1: made.are_connected(wanted))
        reset(peer)
        arena.until(lambda: made.last.lost)
        assert isinstance(made.last.lost[0], ConnectionError), made.last.lost
    assert arena.handled == [], arena.contexts
    _lives(arena, server)
    _end(arena, server, made)


def resets_before_accept(arena: Arena) -> None:
    """a peer that is gone before it is accepted does no harm"""
    made = Made(Echo)
    server = arena.serve(made, backlog=50)
    for _ in range(20):
        peer = socket.create_connection(address(server))
        peer.sendall(b"something")
        reset(peer)
    _lives(arena, server)
    _end(arena, server, made)
    assert arena.handled == [], arena.contexts


class Filling(Recorder):
    """Answers with more than goes out at once."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(b"x" * BIG)


def resets_while_written_to(arena: Arena) -> None:
    """a peer that resets while it is written to ends the connection; writing more is harmless"""
    made = Made(Filling)
    server = arena.serve(made)
    peer = arena.peer(server)
    peer.sendall(b"something")
    arena.until(lambda: made.all and "pause_writing" in made.last.events)
    reset(peer)
    arena.until(lambda: made.last.lost)
    assert isinstance(made.last.lost[0], ConnectionError), made.last.lost
    arena.loop.call_soon(made.last.transport.write, b"late")
    arena.run(asyncio.sleep(0.001))
    assert arena.handled == [], arena.contexts
    _end(arena, server, made)


class Answering(Recorder):
    """Answers after the peer's end, on the half that is open."""

    def eof_received(self) -> bool:
        super().eof_received()
        self.transport.write(b"answer to " + self.data)
        asyncio.get_running_loop().call_soon(self.transport.close)
        return True


def half_close(arena: Arena) -> None:
    """a peer that half-closes still gets its answer, if eof_received() says to keep the rest"""
    made = Made(Answering)
    server = arena.serve(made)
    peer = arena.peer(server)
    peer.sendall(b"question")
    peer.shutdown(socket.SHUT_WR)
    assert arena.read(peer, 100) == b"answer to question"
    arena.until(lambda: made.last.lost)
    assert made.last.events == [
        "connection_made",
        "data_received",
        "eof_received",
        "connection_lost",
    ]
    assert made.last.lost == [None]
    _end(arena, server, made)


def half_close_with_backlog(arena: Arena) -> None:
    """a peer that half-closes and reads late gets all that was written before"""
    made = Made(Filling)
    server = arena.serve(made)
    peer = arena.peer(server, SO_RCVBUF=8_192)
    peer.sendall(b"question")
    arena.until(lambda: made.all and "pause_writing" in made.last.events)
    peer.shutdown(socket.SHUT_WR)
    arena.until(lambda: "eof_received" in made.last.events)
    assert len(arena.read(peer, BIG)) == BIG
    arena.until(lambda: made.last.lost)
    assert made.last.lost == [None]
    _end(arena, server, made)


def write_eof(arena: Arena) -> None:
    """write_eof() sends what was written and then the end, and reading goes on"""
    made = Made(Recorder)
    server = arena.serve(made)
    peer = arena.peer(server, SO_RCVBUF=8_192)
    arena.until(made.are_connected)

    async def write() -> None:
        made.last.transport.write(b"x" * BIG)
        made.last.transport.write_eof()

    arena.run(write())
    assert len(arena.read(peer, BIG + 1)) == BIG
    peer.sendall(b"still read")
    arena.until(lambda: made.last.data == b"still read")
    _end(arena, server, made)


def refused(arena: Arena) -> None:
    """a connection that is refused raises ConnectionRefusedError, and leaves nothing open"""
    with socket.socket() as taken:
        taken.bind((HOST, 0))

        async def connect() -> None:
            await arena.loop.create_connection(Echo, *taken.getsockname())

        for _ in range(5):
            try:
                arena.run(connect())
            except ConnectionRefusedError:
                continue
            raise AssertionError("it was not refused")


def unreachable_datagram(arena: Arena) -> None:
    """a datagram to nobody is told of by error_received(), and the next one is sent"""
    seen: list[BaseException] = []

    class Datagrams(asyncio.DatagramProtocol):
        def error_received(self, exc: Exception) -> None:
            seen.append(exc)

    taken = socket.socket(type=socket.SOCK_DGRAM)
    taken.bind((HOST, 0))
    where = taken.getsockname()
    # So it takes nothing of others, and nobody else is given the port.
    taken.connect(where)

    async def main() -> None:
        transport, _ = await arena.loop.create_datagram_endpoint(Datagrams, remote_addr=where)
        for _ in range(3):
            transport.sendto(b"anybody there?")
            await asyncio.sleep(0.001)
        while not seen:
            await asyncio.sleep(0.001)
        transport.abort()

    with taken:
        arena.run(main())
    assert {type(error) for error in seen} == {ConnectionRefusedError}
    assert arena.handled == [], arena.contexts


ALL = {
    "peer_resets": resets,
    "peer_resets_before_accept": resets_before_accept,
    "peer_resets_while_written_to": resets_while_written_to,
    "peer_half_closes": half_close,
    "peer_half_closes_with_backlog": half_close_with_backlog,
    "peer_write_eof": write_eof,
    "peer_refuses": refused,
    "peer_unreachable_datagram": unreachable_datagram,
}
