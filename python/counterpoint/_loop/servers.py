"""Servers as Python 3.13 has them, on the versions before it."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import weakref
from asyncio import base_events
from asyncio.log import logger
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from .native import LoopBase

__all__ = ["Server", "attach", "create_server", "create_unix_server", "stop_serving"]

_loop: Any = LoopBase


class Server(base_events.Server):
    """asyncio's, which also knows its connections."""

    _clients: weakref.WeakSet[Any]

    def close_clients(self) -> None:
        """Close the connections; what is written is still sent."""
        for transport in self._clients.copy():
            transport.close()

    def abort_clients(self) -> None:
        """Close the connections at once."""
        for transport in self._clients.copy():
            transport.abort()


def attach(server: Any, transport: Any) -> None:
    """Have a server know one more of its connections."""
    if sys.version_info >= (3, 13):  # from where on it knows them itself
        server._attach(transport)
        return
    server._attach()
    if isinstance(server, Server):
        server._clients.add(transport)


async def create_server(
    self: Any,
    protocol_factory: Any,
    host: str | Iterable[str] | None = None,
    port: int | None = None,
    *,
    sock: socket.socket | None = None,
    keep_alive: bool | None = None,
    start_serving: bool = True,
    **more: Any,
) -> Server:
    """Serve on addresses or a socket; as in Python 3.13.

    Args:
        keep_alive: have the kernel look now and then whether the peers of silent connections are
            there yet. Not for a socket that was passed, which has options of its own.
    """
    server = await _loop.create_server(
        self, protocol_factory, host, port, sock=sock, start_serving=False, **more
    )
    if keep_alive and sock is None:
        try:
            for listener in server._sockets:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, True)
        except BaseException:
            server.close()
            raise
    return await _begun(server, start_serving)


async def create_unix_server(
    self: Any,
    protocol_factory: Any,
    path: Any = None,
    *,
    start_serving: bool = True,
    cleanup_socket: bool = False,
    **more: Any,
) -> Server:
    """Serve on a Unix socket; as in Python 3.13, but for the default of `cleanup_socket`.

    Args:
        cleanup_socket: remove the socket's file when the server is closed, if it is this server's
            still. Before 3.13 asyncio left it, so here that has to be asked for.
    """
    server = await _loop.create_unix_server(
        self, protocol_factory, path, start_serving=False, **more
    )
    if cleanup_socket:
        (listener,) = server._sockets
        name = listener.getsockname()
        if name and name[0] not in (0, "\0"):  # the others are no files
            with suppress(FileNotFoundError):
                self._unix_server_sockets[listener] = os.stat(name).st_ino
    return await _begun(server, start_serving)


async def _begun(server: Any, start_serving: bool) -> Server:
    server.__class__ = Server
    server._clients = weakref.WeakSet()
    if start_serving:
        server._start_serving()
        await asyncio.sleep(0)
    return server  # type: ignore[no-any-return]


def stop_serving(self: Any, sock: socket.socket) -> None:
    """Close a listening socket, and remove its file if that was asked for."""
    number = self._unix_server_sockets.pop(sock, None)
    path = None if number is None else sock.getsockname()
    _loop._stop_serving(self, sock)
    if path is None:
        return
    try:
        if os.stat(path).st_ino == number:
            os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        # The words are asyncio's.
        logger.error("Unable to clean up listening UNIX socket %r: %r", path, error)
