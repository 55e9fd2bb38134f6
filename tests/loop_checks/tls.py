"""Peers that misbehave on a TLS connection: an error, never a crash, and the server goes on."""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from tests.loop_checks.arena import DEADLINE, HOST, Arena, Echo, Made, Recorder, address, in_thread
from tests.loop_checks.certificates import client_context, server_context
from tests.loop_checks.peers import reset

BIG = 4 << 20

# A record of application data, 32 bytes long, with nothing that any key has made.
BAD_RECORD = b"\x17\x03\x03\x00\x20" + bytes(range(32))

# How a ClientHello begins that promises more than it has.
CUT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"

Misbehaviour = Callable[[socket.socket], None]


def _handshake(peer: socket.socket) -> ssl.SSLSocket:
    return client_context().wrap_socket(
        peer, server_hostname="localhost", suppress_ragged_eofs=False
    )


def _lives(arena: Arena, server: Any) -> None:
    """A good peer is served."""
    peer = arena.peer(server)

    def talk() -> bytes:
        with _handshake(peer) as secure:
            secure.sendall(b"hello")
            return secure.recv(5)

    assert arena.run(in_thread(arena.loop, talk)) == b"hello"


def _server(arena: Arena, made: Made, **options: float) -> Any:
    return arena.serve(made, ssl=server_context(), **options)


def _survives(arena: Arena, misbehave: Misbehaviour, count: int = 5) -> Made:
    """Serves a peer that misbehaves, several times over, and then a good one."""
    made = Made(Echo)
    server = _server(arena, made)
    for _ in range(count):
        peer = arena.peer(server)

        def act(peer: socket.socket = peer) -> None:
            try:
                misbehave(peer)
            except (OSError, ValueError):
                pass  # the server has hung up

        arena.run(in_thread(arena.loop, act))
        peer.close()
    _lives(arena, server)
    server.close()
    arena.until(lambda: all(each.lost for each in made.all if each.transport))
    return made


def garbage_for_hello(arena: Arena) -> None:
    """a peer that sends garbage for a handshake never becomes a connection"""
    chance = random.Random(50)
    made = _survives(arena, lambda peer: peer.sendall(chance.randbytes(2_000)))
    assert sum(each.transport is not None for each in made.all) == 1


def plain_http(arena: Arena) -> None:
    """so does one that speaks HTTP without TLS"""
    made = _survives(arena, lambda peer: peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
    assert sum(each.transport is not None for each in made.all) == 1


def leaves_before_hello(arena: Arena) -> None:
    """so does one that half-closes, hangs up or resets before or within the handshake"""

    def half_close(peer: socket.socket) -> None:
        peer.shutdown(socket.SHUT_WR)
        peer.recv(1)

    def cut(peer: socket.socket) -> None:
        peer.sendall(CUT_HELLO)
        peer.shutdown(socket.SHUT_WR)
        peer.recv(100)

    def cut_and_reset(peer: socket.socket) -> None:
        peer.sendall(CUT_HELLO)
        reset(peer)

    for misbehave in (half_close, socket.socket.close, reset, cut, cut_and_reset):
        made = _survives(arena, misbehave, 3)
        assert sum(each.transport is not None for each in made.all) == 1


def garbage_after_handshake(arena: Arena) -> None:
    """a record that no key has made ends the connection"""

    def misbehave(peer: socket.socket) -> None:
        secure = _handshake(peer)
        with socket.socket(fileno=secure.detach()) as raw:
            raw.settimeout(DEADLINE)
            raw.sendall(BAD_RECORD)
            while raw.recv(100):
                pass

    _survives(arena, misbehave)


def garbage_in_traffic(arena: Arena) -> None:
    """so does one that comes while much is being sent"""

    def misbehave(peer: socket.socket) -> None:
        secure = _handshake(peer)
        secure.sendall(b"x" * 100_000)
        with socket.socket(fileno=secure.detach()) as raw:
            raw.settimeout(DEADLINE)
            raw.sendall(BAD_RECORD + BAD_RECORD[:7])
            while raw.recv(100_000):
                pass

    _survives(arena, misbehave)


def leaves_after_handshake(arena: Arena) -> None:
    """a peer that hangs up, half-closes or resets without saying so in TLS ends the connection"""

    def ragged(how: Misbehaviour) -> Misbehaviour:
        def misbehave(peer: socket.socket) -> None:
            secure = _handshake(peer)
            secure.sendall(b"hello")
            raw = socket.socket(fileno=secure.detach())
            raw.settimeout(DEADLINE)
            try:
                how(raw)
            finally:
                raw.close()

        return misbehave

    def half_close(raw: socket.socket) -> None:
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(1_000):
            pass

    for how in (socket.socket.close, reset, half_close):
        made = _survives(arena, ragged(how), 3)
        assert all(len(each.lost) == 1 for each in made.all if each.transport)


def _fake_server(answer: Callable[[socket.socket], None]) -> tuple[tuple[str, int], Any]:
    """A server of one connection that speaks no TLS; its address and its thread."""
    listener = socket.create_server((HOST, 0))
    listener.settimeout(DEADLINE)

    def serve() -> None:
        with listener:
            peer, _ = listener.accept()
            with peer:
                peer.recv(10)
                answer(peer)

    thread = threading.Thread(target=serve)
    thread.start()
    return listener.getsockname(), thread


def bad_servers(arena: Arena) -> None:
    """a server that answers with garbage, an alert, the end or a reset fails create_connection()"""
    chance = random.Random(51)
    answers: list[Callable[[socket.socket], None]] = [
        lambda peer: peer.sendall(chance.randbytes(500)),
        lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda peer: peer.sendall(b"\x15\x03\x03\x00\x02\x02\x28"),
        lambda peer: peer.shutdown(socket.SHUT_WR),
        reset,
    ]
    for answer in answers:
        where, thread = _fake_server(answer)

        async def connect(where: tuple[str, int] = where) -> None:
            await arena.loop.create_connection(
                Echo, *where, ssl=client_context(), server_hostname="localhost"
            )

        try:
            arena.run(connect())
        except OSError:  # which ssl.SSLError is
            pass
        else:
            raise AssertionError("it was taken for a TLS server")
        thread.join()
    _lives(arena, _server(arena, Made(Echo)))


def untrusted(arena: Arena) -> None:
    """a certificate that nobody vouches for fails create_connection(); so does another name"""
    server = _server(arena, Made(Echo))
    strangers = ssl.create_default_context()
    for context, name in ((strangers, "localhost"), (client_context(), "example.org")):

        async def connect(context: ssl.SSLContext = context, name: str = name) -> None:
            await arena.loop.create_connection(
                Echo, *address(server), ssl=context, server_hostname=name
            )

        try:
            arena.run(connect())
        except ssl.SSLCertVerificationError:
            pass
        else:
            raise AssertionError("it was trusted")
    _lives(arena, server)
    server.close()


def silent_peer(arena: Arena) -> None:
    """a peer that says nothing is dropped when the time for the handshake is over"""
    made = Made(Echo)
    server = _server(arena, made, ssl_handshake_timeout=0.05)
    peer = arena.peer(server)
    assert arena.read(peer, 1) == b""
    assert not any(each.transport for each in made.all)
    server.close()


class Filling(Recorder):
    """Answers with more than goes out at once, and closes."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(b"x" * BIG)
        self.transport.close()


def reset_while_written_to(arena: Arena) -> None:
    """a peer that resets while it is sent to ends the connection"""
    made = Made(Filling)
    server = _server(arena, made)
    peer = arena.peer(server, SO_RCVBUF=8_192)

    def ask() -> None:
        secure = _handshake(peer)
        secure.sendall(b"question")
        secure.recv(1_000)
        reset(secure)

    arena.run(in_thread(arena.loop, ask))
    arena.until(lambda: made.last.lost)
    server.close()


def all_arrives(arena: Arena) -> None:
    """what was written before close() arrives, and the end is a proper one"""
    made = Made(Filling)
    server = _server(arena, made)
    peer = arena.peer(server, SO_RCVBUF=8_192)

    def ask() -> int:
        got = 0
        with _handshake(peer) as secure:
            secure.sendall(b"question")
            while more := secure.recv(1 << 16):
                got += len(more)
        return got

    # A ragged end would be an error of the peer's recv.
    assert arena.run(in_thread(arena.loop, ask)) == BIG
    arena.until(lambda: made.last.lost)
    server.close()


def changed_bytearray(arena: Arena) -> None:
    """a bytearray that is changed after write() is sent encrypted as it was"""
    made = Made(Recorder)
    server = _server(arena, made)
    peer = arena.peer(server, SO_RCVBUF=8_192)

    def take() -> bytes:
        data = bytearray()
        with _handshake(peer) as secure:
            secure.sendall(b"question")
            while len(data) < BIG and (more := secure.recv(1 << 16)):
                data += more
        return bytes(data)

    async def main() -> bytes:
        taking = asyncio.ensure_future(in_thread(arena.loop, take))
        while not (made.all and made.last.data):
            await asyncio.sleep(0.001)
        data = bytearray(b"x" * BIG)
        made.last.transport.write(data)
        data[:] = b"y" * BIG
        return await taking

    got = arena.run(main())
    assert len(got) == BIG
    assert got.count(b"y") == 0, f"{got.count(b'y')} bytes were sent as they became after write()"
    server.close()


ALL = {
    "tls_garbage_for_hello": garbage_for_hello,
    "tls_plain_http": plain_http,
    "tls_leaves_before_hello": leaves_before_hello,
    "tls_garbage_after_handshake": garbage_after_handshake,
    "tls_garbage_in_traffic": garbage_in_traffic,
    "tls_leaves_after_handshake": leaves_after_handshake,
    "tls_bad_servers": bad_servers,
    "tls_untrusted": untrusted,
    "tls_silent_peer": silent_peer,
    "tls_reset_while_written_to": reset_while_written_to,
    "tls_all_arrives": all_arrives,
    "tls_changed_bytearray": changed_bytearray,
}
