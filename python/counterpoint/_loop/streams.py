"""Streams over a transport of ours: the reader that asyncio made waits natively."""

from __future__ import annotations

import asyncio
import sys
import sysconfig
import weakref
from types import SimpleNamespace
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

# From there on an object's attributes lie in it.
_KEEPS_PLACES = sys.version_info >= (3, 13)

quicken(StreamReader)


def quick_reader(protocol: Any) -> StreamReader | None:
    """The reader of a protocol, if both are asyncio's own and unchanged; it waits natively then."""
    if type(protocol) is not _PROTOCOL or _STANDS_STILL:
        return None
    if not _is(protocol.data_received, _DATA_RECEIVED):
        return None
    if type(protocol._stream_reader) is _ORDINARY:
        if not all(_is(getattr(_ORDINARY, name), was) for name, was in _AS_THEY_WERE.items()):
            return None
        if _KEEPS_PLACES and _references(protocol) == _ALONE:
            _replace(protocol)
        else:
            protocol._stream_reader.__class__ = StreamReader
    reader: Any = protocol._stream_reader
    return reader if type(reader) is StreamReader else None


def _is(method: object, function: object) -> bool:
    return getattr(method, "__func__", method) is function


def _references(protocol: Any) -> tuple[int, int, int]:
    """How many there are to a reader that its protocol keeps, and to the weak one that it has."""
    reader, weak = getattr(protocol, "_strong_reader", None), protocol._stream_reader_wr
    return sys.getrefcount(reader), weakref.getweakrefcount(reader), sys.getrefcount(weak)


def _alone() -> tuple[int, int, int]:
    """The same where nobody else knows the reader."""
    protocol = SimpleNamespace(_strong_reader=StreamReader.__new__(StreamReader))
    protocol._stream_reader_wr = weakref.ref(protocol._strong_reader)
    return _references(protocol)


_ALONE = _alone()


def _replace(protocol: Any) -> None:
    """Give a protocol a new reader, of our class and else the same, for one that nobody else knows.

    A change of an object's class would cost CPython its short way to its attributes for good.
    """
    reader: Any = StreamReader.__new__(StreamReader)
    for name, value in vars(protocol._strong_reader).items():
        setattr(reader, name, value)
    protocol._strong_reader = reader
    protocol._stream_reader_wr = weakref.ref(reader)
