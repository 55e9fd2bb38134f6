"""`SocketTransport`: what a socket transport does once in its life; the rest is native."""

from __future__ import annotations

import contextvars
import socket
from asyncio import base_events, constants, futures, selector_events
from asyncio.log import logger
from typing import Any

from .native import Connection, TransportBase
from .statistics import ConnectionStatistics
from .streams import quick_reader

__all__ = ["SocketTransport"]


class SocketTransport(TransportBase):
    """A stream over a socket; the same as asyncio's, whose class it is derived from.

    What differs:
        `write()` keeps a copy of a bytearray or memoryview that it cannot send at once: what is
        sent is what was written.
        What `connection_made()` raises closes the connection, as with every other callback.
    """

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
        self._counterpoint_connection = Connection(loop._counterpoint_loop, sock, context)
        self._context = context
        # Not the base's own constructor, which would prepare what is native here.
        selector_events._SelectorTransport.__init__(  # type: ignore[attr-defined]
            self, loop, sock, protocol, extra, server
        )
        base_events._set_nodelay(sock)  # type: ignore[attr-defined]
        loop.call_soon(self._begin, waiter, context=context)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What asyncio's has; and `statistics`, a `ConnectionStatistics` of now."""
        if name == "statistics":
            connection = self._counterpoint_connection
            return ConnectionStatistics(*connection.counts(), len(connection))
        return super().get_extra_info(name, default)

    def set_protocol(self, protocol: Any) -> None:
        """Who gets the data from now on."""
        self._protocol = protocol
        self._protocol_connected = True
        reader = quick_reader(protocol)
        if reader is not None:
            self._counterpoint_connection.read_by(reader)

    def _begin(self, waiter: Any) -> None:
        if self._loop is None:
            return  # it failed, and was closed, before it began
        try:
            self._protocol.connection_made(self)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._fatal_error(error, "Fatal error: protocol.connection_made() call failed.")
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
            return
        self._add_reader(self._sock_fd, None)
        if waiter is not None:
            futures._set_result_unless_cancelled(waiter, None)  # type: ignore[attr-defined]

    def _maybe_pause_protocol(self) -> None:
        """Too much may be queued: tell the protocol, once."""
        if self._protocol_paused or self.get_write_buffer_size() <= self._high_water:
            return
        self._protocol_paused = True
        self._tell("pause_writing")

    def _maybe_resume_protocol(self) -> None:
        """Little may be queued: tell the protocol, once."""
        if self._protocol_paused and self.get_write_buffer_size() <= self._low_water:
            self._protocol_paused = False
            self._tell("resume_writing")

    def _tell(self, name: str) -> None:
        protocol = self._protocol
        try:
            getattr(protocol, name)()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self._loop.call_exception_handler(
                {
                    "message": f"protocol.{name}() failed",
                    "exception": error,
                    "transport": self,
                    "protocol": protocol,
                }
            )
            self._force_close(error)

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
