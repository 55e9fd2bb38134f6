"""Streams over a transport of ours: the reader that asyncio made gets a `read` that is native."""

from __future__ import annotations

import asyncio
import sysconfig
import weakref
from typing import Any

from .native import quicken

__all__ = ["quick_reader"]

_ORDINARY: Any = asyncio.StreamReader
_PROTOCOL: Any = asyncio.StreamReaderProtocol


class StreamReader(asyncio.StreamReader):
    """`asyncio.StreamReader`, of the same attributes, whose `read(n)` is native."""

    __module__ = "counterpoint.aio"


# What is passed by. Where somebody has replaced it, nothing is.
_AS_THEY_WERE = (
    (_ORDINARY, "read", _ORDINARY.read),
    (_ORDINARY, "feed_data", _ORDINARY.feed_data),
    (_ORDINARY, "_wakeup_waiter", _ORDINARY._wakeup_waiter),
    (_ORDINARY, "_wait_for_data", _ORDINARY._wait_for_data),
    (_PROTOCOL, "data_received", _PROTOCOL.data_received),
)

# There the class of an object is changed while all threads stand still: not for each connection.
_STANDS_STILL = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

quicken(StreamReader, _ORDINARY.read)


def quick_reader(protocol: object) -> weakref.ref[asyncio.StreamReader] | None:
    """The reader of a protocol, if both are asyncio's own and unchanged; its `read` is native then."""
    if type(protocol) is not _PROTOCOL or _STANDS_STILL or "data_received" in vars(protocol):
        return None
    reader: Any = protocol._stream_reader
    if type(reader) is _ORDINARY and not vars(reader).keys() & {"read", "feed_data"}:
        if any(getattr(owner, name) is not was for owner, name, was in _AS_THEY_WERE):
            return None
        reader.__class__ = StreamReader
    return weakref.ref(reader) if type(reader) is StreamReader else None
