"""`create_connection()` to a host with several addresses, and options of sockets."""

from __future__ import annotations

import asyncio
import errno
import socket
from asyncio import AbstractEventLoop
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.pieces import Recorder
from tests.unit.sockets import run

V4, V6 = "127.0.0.1", "::1"


@pytest.fixture
def closed() -> Iterator[int]:
    """A port on which nobody listens, of both kinds of addresses."""
    with socket.socket() as taken:
        taken.bind((V4, 0))
        yield taken.getsockname()[1]


def resolve(loop: Any, monkeypatch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Every host has these addresses."""

    async def getaddrinfo(*_: object, **__: object) -> list[Any]:
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", (host, port, 0, 0))
            if ":" in host
            else (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))
            for host, port in addresses
        ]

    monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo, raising=False)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"happy_eyeballs_delay": 0.01},
    {"interleave": 1},
    {"interleave": 2, "happy_eyeballs_delay": 10.0},
    {"all_errors": True},
    {"all_errors": True, "happy_eyeballs_delay": 0.01},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_the_first_address_that_answers(
    loop: AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, closed: int, options: dict[str, Any]
) -> None:
    async def main() -> None:
        server = await loop.create_server(Recorder, V4, 0)
        port = server.sockets[0].getsockname()[1]
        resolve(loop, monkeypatch, (V4, closed), (V6, closed), (V4, port))
        transport, protocol = await loop.create_connection(Recorder, "host", 1, **options)
        assert transport.get_extra_info("peername") == (V4, port)
        assert isinstance(protocol, Recorder)
        transport.abort()
        server.close()

    run(loop, main())


@pytest.mark.parametrize("options", OPTIONS)
def test_no_address_answers(
    loop: AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, closed: int, options: dict[str, Any]
) -> None:
    async def main() -> None:
        resolve(loop, monkeypatch, (V4, closed), (V6, closed))
        if options.get("all_errors"):
            with pytest.raises(ExceptionGroup, match="create_connection failed") as caught:
                await loop.create_connection(Recorder, "host", 1, **options)
            assert len(caught.value.exceptions) == 2
            assert all(isinstance(each, OSError) for each in caught.value.exceptions)
        else:
            with pytest.raises(OSError, match=r"Multiple exceptions: .*127.0.0.1.*::1"):
                await loop.create_connection(Recorder, "host", 1, **options)

    run(loop, main())


def test_kinds_of_addresses_take_turns(
    loop: AbstractEventLoop, monkeypatch: pytest.MonkeyPatch, closed: int
) -> None:
    tried: list[str] = []

    async def main() -> None:
        inside: Any = loop
        connect = inside.sock_connect

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            tried.append(address[0])
            await connect(sock, address)

        monkeypatch.setattr(inside, "sock_connect", sock_connect)
        resolve(loop, monkeypatch, *[(host, closed) for host in (V4, "127.0.0.2", V6)])
        with pytest.raises(OSError, match="Multiple exceptions"):
            await loop.create_connection(Recorder, "host", 1, interleave=1)

    run(loop, main())
    assert tried == [V4, V6, "127.0.0.2"]


def test_a_slow_address_is_overtaken(
    loop: AbstractEventLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        inside: Any = loop
        connect, given_up = inside.sock_connect, loop.create_future()

        async def sock_connect(sock: socket.socket, address: Any) -> None:
            if address[0] == "127.0.0.2":
                try:
                    await loop.create_future()
                finally:
                    given_up.set_result(True)
            await connect(sock, address)

        monkeypatch.setattr(inside, "sock_connect", sock_connect)
        server = await loop.create_server(Recorder, V4, 0)
        port = server.sockets[0].getsockname()[1]
        resolve(loop, monkeypatch, ("127.0.0.2", port), (V4, port))
        options: dict[str, Any] = {"happy_eyeballs_delay": 0.01}
        transport, _ = await loop.create_connection(Recorder, "host", 1, **options)
        assert transport.get_extra_info("peername") == (V4, port)
        assert await given_up
        transport.abort()
        server.close()

    run(loop, main())


def test_from_an_address_of_ones_own(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        server = await loop.create_server(Recorder, V4, 0)
        port = server.sockets[0].getsockname()[1]
        made = await loop.create_connection(Recorder, V4, port, local_addr=("127.0.0.3", 0))
        assert made[0].get_extra_info("sockname")[0] == "127.0.0.3"
        made[0].abort()
        server.close()

    run(loop, main())


@pytest.mark.parametrize("allowed", [False, True])
def test_datagrams_to_all(loop: AbstractEventLoop, allowed: bool) -> None:
    errors: list[Exception] = []

    class Datagrams(asyncio.DatagramProtocol):
        def error_received(self, exc: Exception) -> None:
            errors.append(exc)

    async def main() -> None:
        transport, _ = await loop.create_datagram_endpoint(
            Datagrams, local_addr=(V4, 0), allow_broadcast=allowed or None
        )
        sock = transport.get_extra_info("socket")
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == allowed
        transport.sendto(b"to all", ("255.255.255.255", 9))
        transport.abort()
        await asyncio.sleep(0)

    run(loop, main())
    if not allowed:
        assert [error.errno for error in errors if isinstance(error, OSError)] == [errno.EACCES]
