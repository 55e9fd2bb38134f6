"""Streams over a transport of ours: the reader that asyncio made waits natively."""

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
    """`asyncio.StreamReader`, of the same attributes, which waits natively."""

    __module__ = "counterpoint.aio"


# What is passed by. Where somebody has replaced it, nothing is.
_OF_READERS = ("read", "feed_data", "_wakeup_waiter", "_wait_for_data")
_AS_THEY_WERE = {name: getattr(_ORDINARY, name) for name in _OF_READERS}
_DATA_RECEIVED = _PROTOCOL.data_received

# There the class of an object is changed while all threads stand still: not for each connection.
_STANDS_STILL = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))

quicken(StreamReader)


def quick_reader(protocol: Any) -> weakref.ref[asyncio.StreamReader] | None:
    """The reader of a protocol, if both are asyncio's own and unchanged; it waits natively then."""
    if type(protocol) is not _PROTOCOL or _STANDS_STILL:
        return None
    reader: Any = protocol._stream_reader
    if not _is(protocol.data_received, _DATA_RECEIVED):
        return None
    if type(reader) is _ORDINARY:
        if not all(_is(getattr(reader, name), was) for name, was in _AS_THEY_WERE.items()):
            return None
        reader.__class__ = StreamReader
    return weakref.ref(reader) if type(reader) is StreamReader else None


def _is(method: object, function: object) -> bool:
    return getattr(method, "__func__", None) is function
