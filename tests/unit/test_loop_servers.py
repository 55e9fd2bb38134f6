"""What Python 3.13's servers can do, on every version."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from asyncio import AbstractEventLoop
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sockets import run

HOST = "127.0.0.1"
LARGE = 1 << 22


class Peer(asyncio.Protocol):
    """A connection that has been accepted."""

    def __init__(self) -> None:
        self.begun = asyncio.get_running_loop().create_future()
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.begun.set_result(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set_result(exc)


async def connected(**options: Any) -> tuple[Any, Peer, asyncio.StreamReader, asyncio.StreamWriter]:
    """A server, its one connection, and the other end of it."""
    peers: asyncio.Queue[Peer] = asyncio.Queue()

    def accepted() -> Peer:
        peers.put_nowait(peer := Peer())
        return peer

    server: Any = await asyncio.get_running_loop().create_server(accepted, HOST, 0, **options)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    peer = await peers.get()
    await peer.begun
    return server, peer, reader, writer


def test_clients_are_closed_when_all_is_sent(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        server, peer, reader, writer = await connected()
        peer.begun.result().write(bytes(LARGE))
        server.close()
        server.close_clients()
        assert len(await reader.read(-1)) == LARGE
        assert await peer.ended is None
        await server.wait_closed()
        writer.close()

    run(loop, main())


def test_clients_are_aborted_at_once(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        server, peer, reader, writer = await connected()
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        peer.begun.result().write(bytes(LARGE))
        server.close()
        server.abort_clients()
        assert await peer.ended is None
        await server.wait_closed()
        writer.close()

    run(loop, main())


def test_a_connection_that_has_ended_is_left_alone(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        server, peer, _, writer = await connected()
        writer.close()
        await peer.ended
        server.close_clients()
        server.abort_clients()
        server.close()
        await server.wait_closed()

    run(loop, main())


@pytest.mark.parametrize("wanted", [None, False, True])
def test_connections_are_kept_alive_if_that_is_wanted(
    loop: AbstractEventLoop, wanted: bool | None
) -> None:
    async def main() -> None:
        server, peer, _, writer = await connected(keep_alive=wanted)
        for sock in (server.sockets[0], peer.begun.result().get_extra_info("socket")):
            option = sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert bool(option) is bool(wanted)
        writer.close()
        server.close()
        await peer.ended

    run(loop, main())


def test_a_server_that_is_not_to_serve_yet_does_not(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        server: Any = await loop.create_server(Peer, HOST, 0, start_serving=False)
        assert not server.is_serving()
        await server.start_serving()
        assert server.is_serving()
        server.close()

    run(loop, main())


async def serve_at(path: Path, **options: Any) -> Any:
    return await asyncio.get_running_loop().create_unix_server(Peer, path, **options)


@pytest.mark.parametrize("cleanup", [True, False])
def test_a_server_removes_its_socket_if_it_is_to(
    loop: AbstractEventLoop, tmp_path: Path, cleanup: bool
) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        server = await serve_at(path, cleanup_socket=cleanup)
        assert server.is_serving()
        server.close()
        assert path.exists() is not cleanup

    run(loop, main())


def test_the_default_is_the_interpreters(loop: AbstractEventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        (await serve_at(path)).close()
        assert path.exists() is (sys.version_info < (3, 13))

    run(loop, main())


def test_a_socket_of_somebody_elses_is_left(loop: AbstractEventLoop, tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "socket"
        first = await serve_at(path, cleanup_socket=True)
        path.rename(tmp_path / "before")  # so that its number is not given out again
        second = await serve_at(path, cleanup_socket=True)
        first.close()
        assert path.exists()
        path.unlink()
        second.close()  # it is gone already

    run(loop, main())


def test_a_socket_that_cannot_be_removed_is_logged(
    loop: AbstractEventLoop,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(_: object) -> None:
        raise PermissionError(1, "not permitted")

    async def main() -> None:
        server = await serve_at(tmp_path / "socket", cleanup_socket=True)
        with monkeypatch.context() as patched:
            patched.setattr("os.unlink", refuse)
            server.close()
        assert not server.is_serving()
        await server.wait_closed()
        assert "Unable to clean up listening UNIX socket" in caplog.text

    run(loop, main())


def test_an_abstract_socket_is_no_file(loop: AbstractEventLoop) -> None:
    async def main() -> None:
        server: Any = await loop.create_unix_server(
            Peer, f"\0{__name__}-{os.getpid()}", cleanup_socket=True
        )
        server.close()
        await server.wait_closed()

    run(loop, main())
