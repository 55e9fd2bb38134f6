"""`SocketTransport`: what a socket transport does once in its life; the rest is native."""

from __future__ import annotations

import contextvars
import socket
import warnings
import weakref
from asyncio import base_events, constants, futures, trsock
from asyncio.log import logger
from collections.abc import Callable
from typing import Any

from .native import Connection, TransportBase
from .servers import attach
from .statistics import ConnectionStatistics
from .streams import quick_reader

__all__ = ["SocketTransport"]

# Limits of what is not sent, in bytes; asyncio's. One object each, for however many transports.
_HIGH = 64 * 1024
_LOW = _HIGH // 4
# True: it was another protocol that was paused.
_ANOTHER = 2


class _Socket(trsock.TransportSocket):
    """A transport's socket: what it does comes after what was written."""

    __slots__ = ("_transport",)

    def __init__(self, sock: socket.socket, transport: SocketTransport) -> None:
        super().__init__(sock)
        self._transport = weakref.ref(transport)

    def _give(self) -> None:
        if transport := self._transport():
            transport._counterpoint_connection.holds_nothing_back()

    def fileno(self) -> int:
        self._give()
        return super().fileno()

    def dup(self) -> socket.socket:
        self._give()
        return super().dup()

    def shutdown(self, how: int) -> None:
        if transport := self._transport():
            transport._counterpoint_connection.try_to_send_held()
        super().shutdown(how)

    def __repr__(self) -> str:
        return repr(trsock.TransportSocket(self._sock))  # type: ignore[attr-defined]


def tell(transport: Any, name: str, end: Callable[[BaseException], object]) -> None:
    """Call that method of a transport's protocol.

    Args:
        end: ends the connection, once the exception handler was told what the method has raised.
    """
    protocol = transport.get_protocol()
    try:
        getattr(protocol, name)()
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:
        transport._loop.call_exception_handler(
            {
                "message": f"protocol.{name}() failed",
                "exception": error,
                "transport": transport,
                "protocol": protocol,
            }
        )
        end(error)


def pause_protocol(transport: Any, end: Callable[[BaseException], object]) -> None:
    """Too much may be queued: tell a transport's protocol, once; what it raises calls `end`."""
    if transport._protocol_paused or transport.get_write_buffer_size() <= transport._high_water:
        return
    transport._protocol_paused = True
    tell(transport, "pause_writing", end)


def resume_protocol(transport: Any, end: Callable[[BaseException], object]) -> None:
    """Little may be queued: the same."""
    paused = transport._protocol_paused
    if paused and transport.get_write_buffer_size() <= transport._low_water:
        transport._protocol_paused = False
        # One that was never paused may well refuse to be resumed.
        tell(transport, "resume_writing", _ignore if paused is _ANOTHER else end)


class SocketTransport(TransportBase):
    """A stream over a socket; the same as asyncio's, whose class it is derived from.

    What differs:
        `write()` keeps a copy of a bytearray or memoryview that it cannot send at once: what is
        sent is what was written.
        What `connection_made()` raises closes the connection, as with every other callback.

    Servers have many, which are idle most of the time: so it has slots, and makes what
    `get_extra_info()` returns when that is asked for.
    """

    __slots__ = (
        "_context",
        "_given",
        "_known",
        "_protocol_connected",
        "_server",
        "_sock",
        "_sock_fd",
    )

    def __init__(
        self,
        loop: Any,
        sock: socket.socket,
        protocol: Any,
        waiter: Any = None,
        extra: Any = None,
        server: Any = None,
        context: contextvars.Context | None = None,
    ) -> None:
        # Not the base's own constructor, which would prepare what is native or late here.
        self._sock = None  # the destructor looks at it
        self._counterpoint_connection = Connection(loop._counterpoint_loop, sock, context)
        self._context = context
        self._loop = loop
        self._protocol_paused = False
        self._high_water, self._low_water = _HIGH, _LOW
        self._given = _compact(extra, sock)
        self._known: dict[str, Any] | None = None
        self._sock_fd = sock.fileno()
        self._sock = sock
        self.set_protocol(protocol)
        self._server = server
        if server is not None:
            attach(server, self)
            self._counterpoint_connection.may_hold_back()
        self._counterpoint_connection.hold()
        base_events._set_nodelay(sock)  # type: ignore[attr-defined]
        loop.call_soon(self._begin, waiter, context=context)

    def __del__(self, _warn: Any = warnings.warn) -> None:
        if getattr(self, "_sock", None) is not None:
            # Before somebody is told of this transport and keeps it: its descriptor is free then.
            self._counterpoint_connection.release()
            super().__del__(_warn)

    @property
    def _extra(self) -> dict[str, Any]:
        known = self._known
        if known is None:
            sock = self._sock
            if sock is None and self._known is not None:
                return self._known  # it has ended meanwhile, in another thread
            known = self._known = _known(self._given, sock, self)
        return known

    @_extra.setter
    def _extra(self, extra: dict[str, Any]) -> None:
        self._known = extra

    def close(self) -> None:
        """Close it when all is sent."""
        self._counterpoint_connection.send_held(self)
        super().close()

    def write_eof(self) -> None:
        """End what is written when all is sent."""
        self._counterpoint_connection.send_held(self)
        super().write_eof()

    def _make_empty_waiter(self) -> Any:
        self._counterpoint_connection.send_held(self)
        if self.is_closing():
            raise RuntimeError("Transport is closing")  # by what that has called
        return super()._make_empty_waiter()  # type: ignore[misc]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What asyncio's has; and `statistics`, a `ConnectionStatistics` of now."""
        if name == "statistics":
            connection = self._counterpoint_connection
            return ConnectionStatistics(*connection.counts(), self.get_write_buffer_size())
        return super().get_extra_info(name, default)

    def set_protocol(self, protocol: Any) -> None:
        """Who gets the data from now on."""
        if self._protocol_paused:
            self._protocol_paused = _ANOTHER
        self._protocol = protocol
        self._protocol_connected = True
        reader = quick_reader(protocol)
        if reader is not None:
            self._counterpoint_connection.read_by(reader, protocol)

    def _begin(self, waiter: Any) -> None:
        if self._loop is None:
            return  # it failed, and was closed, before it began
        try:
            self._protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            # The loop may be run again.
            self._loop.call_soon(self._go_on, waiter, context=self._context)
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.connection_made() call failed.")
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
            return
        self._go_on(waiter)

    def _go_on(self, waiter: Any) -> None:
        """It has begun: read, and tell who waits for it."""
        try:
            self._add_reader(self._sock_fd, None)
        except BaseException as error:
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
            self._fatal_error(error, "Fatal read error on socket transport")
            return
        if waiter is not None:
            futures._set_result_unless_cancelled(waiter, None)  # type: ignore[attr-defined]

    def _maybe_pause_protocol(self) -> None:
        pause_protocol(self, self._force_close)

    def _maybe_resume_protocol(self) -> None:
        resume_protocol(self, self._force_close)

    def _cannot_write(self, name: str) -> None:
        """Say why nothing can be written, in asyncio's words."""
        if self._eof:
            raise RuntimeError(f"Cannot call {name}() after write_eof()")
        if self._empty_waiter is not None:
            raise RuntimeError(f"unable to {name}; sendfile is in progress")
        if self._conn_lost >= constants.LOG_THRESHOLD_FOR_CONNLOST_WRITES:
            logger.warning("socket.send() raised exception.")
        self._conn_lost += 1

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        """Tell the protocol, and close the socket; once."""
        if self._sock is None:
            return
        # Its descriptor is the next connection's as soon as it is closed.
        self._counterpoint_connection.end()
        try:
            _ = self._extra  # to be asked for also when the socket does not know any more
        finally:
            super()._call_connection_lost(exc)

    def _all_sent(self) -> None:
        """The last of what was queued is sent."""
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_result(None)
        if self._closing:
            self._call_connection_lost(None)
        elif self._eof and self._sock is not None:
            self._sock.shutdown(socket.SHUT_WR)

    def _write_failed(self, error: OSError) -> None:
        self._fatal_error(error, "Fatal write error on socket transport")
        if self._empty_waiter is not None and not self._empty_waiter.done():
            self._empty_waiter.set_exception(error)


def _compact(extra: dict[str, Any] | None, sock: socket.socket) -> tuple[Any] | dict[str, Any]:
    """What is known of a connection when it begins.

    The peer's name cannot be asked for later, when the peer may have gone: of a connection that was
    accepted it is all that is kept. Of another the socket may be its maker's, who may take it away.
    """
    if extra and extra.keys() == {"peername"}:
        return (extra["peername"],)
    known = dict(extra or ())
    if "peername" not in known:
        known["peername"] = _name(sock.getpeername)
    known["sockname"] = _name(sock.getsockname)
    return known


def _known(
    given: tuple[Any] | dict[str, Any], sock: Any, transport: SocketTransport
) -> dict[str, Any]:
    known = {"peername": given[0]} if isinstance(given, tuple) else dict(given)
    holds = transport._server is not None
    known["socket"] = _Socket(sock, transport) if holds else trsock.TransportSocket(sock)
    if "sockname" not in known:
        known["sockname"] = _name(sock.getsockname)
    return known


def _ignore(error: BaseException) -> None:
    """It was reported, which is all."""


def _name(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except OSError:
        return None
