"""`DatagramTransport`: what it does when it cannot send at once; the rest is native."""

from __future__ import annotations

import collections
import socket
from typing import Any

from .native import Datagram, DatagramBase
from .statistics import ConnectionStatistics

__all__ = ["DatagramTransport"]

# What each datagram counts besides its bytes, as in asyncio: none is for nothing.
_HEAD = 8


class _Unsent(collections.deque[tuple[bytes, Any]]):
    """The datagrams that wait for room, with their addresses.

    It counts them itself: there are versions of asyncio that lose count.
    """

    def __init__(self, datagram: Datagram) -> None:
        super().__init__()
        self._datagram = datagram
        self.size = 0

    def append(self, item: tuple[bytes, Any]) -> None:
        super().append(item)
        self._came(item)

    def appendleft(self, item: tuple[bytes, Any]) -> None:
        super().appendleft(item)
        self._came(item)
        self._datagram.has_sent(-len(item[0]))

    def popleft(self) -> tuple[bytes, Any]:
        item = super().popleft()
        self.size -= len(item[0]) + _HEAD
        self._datagram.queue(bool(self))
        self._datagram.has_sent(len(item[0]))
        return item

    def clear(self) -> None:
        super().clear()
        self.size = 0
        self._datagram.queue(False)

    def _came(self, item: tuple[bytes, Any]) -> None:
        self.size += len(item[0]) + _HEAD
        self._datagram.queue(True)


class _Empty(bytes):
    """An empty datagram, which asyncio sends from Python 3.13 on, as it does all that is true."""

    def __bool__(self) -> bool:
        return True


class DatagramTransport(DatagramBase):
    """Datagrams over an IP socket; the same as asyncio's, whose class it is derived from.

    What differs:
        One event of the socket is for up to 16 datagrams, each a call of `datagram_received()`.
        Empty datagrams are sent by every version of Python.
    """

    _buffer: _Unsent

    def __init__(
        self,
        loop: Any,
        sock: socket.socket,
        protocol: Any,
        address: Any = None,
        waiter: Any = None,
        extra: Any = None,
    ) -> None:
        self._counterpoint_datagram = Datagram(loop._counterpoint_loop, sock)
        super().__init__(loop, sock, protocol, address, waiter, extra)
        self._buffer = _Unsent(self._counterpoint_datagram)
        if self._extra["peername"]:
            self._counterpoint_datagram.connect()

    def get_write_buffer_size(self) -> int:
        """Bytes of datagrams that wait to be sent, and 8 for each."""
        return self._buffer.size

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What asyncio's has; and `statistics`, a `ConnectionStatistics` of now."""
        if name == "statistics":
            counts = self._counterpoint_datagram.counts()
            return ConnectionStatistics(*counts, self.get_write_buffer_size())
        return super().get_extra_info(name, default)

    def _send_otherwise(self, data: Any, addr: Any = None) -> None:
        """Send what was not sent natively."""
        was_queued = bool(self._buffer)
        is_empty = isinstance(data, (bytes, bytearray, memoryview)) and len(data) == 0
        super(DatagramBase, self).sendto(_Empty() if is_empty else data, addr)
        if not was_queued and not self._buffer:
            self._counterpoint_datagram.has_sent(len(data))
