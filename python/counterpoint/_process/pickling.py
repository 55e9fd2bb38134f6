"""Pickle, then cloudpickle: what the native codec leaves to them.

A value is pickled as `multiprocessing` does it: with its reducers for connections, sockets and so
on. What plain pickle refuses, lambdas and local functions and classes, cloudpickle takes by value;
so it does with what belongs to a `__main__` that a worker cannot import, as in a notebook.
"""

from __future__ import annotations

import copyreg
import io
import os
import pickle
import sys
import types
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from counterpoint._core import _OUT_OF_BAND

__all__ = ["REFUSALS", "damaged", "dumps", "dumps_by_reference", "loads"]

_Stream: TypeAlias = tuple[bytes, list[memoryview]]

_PROTOCOL = 5
_MAIN = b"__main__"

# What plain pickle raises for what it cannot do; anything else was raised by the value's own code.
REFUSALS = (pickle.PicklingError, AttributeError, TypeError)


def dumps(value: object) -> _Stream:
    """The pickle of a value, and views of its large buffers, which are not in it."""
    views: list[memoryview] = []
    try:
        stream = _plain(value, _keep_large(views))
    except REFUSALS as error:
        return _by_value(value, error)
    if _MAIN in stream and not _main_is_importable():
        return _by_value(value, None)
    return stream, views


def loads(stream: bytes, buffers: list[Any] | None = None) -> Any:
    """What was pickled; its buffers are kept by the objects made of them."""
    return pickle.loads(stream, buffers=buffers or ())


def dumps_by_reference(function: object) -> bytes | None:
    """The pickle of a function that is pickled as its name; None if it is not."""
    if type(function) in copyreg.dispatch_table or type(function) in _reducers():
        return None
    try:
        stream = pickle.dumps(function, _PROTOCOL)
    except Exception:
        return None
    return None if _MAIN in stream and not _main_is_importable() else stream


def damaged(what: str) -> Exception:
    """The error for a record that nobody could have written."""
    text = f"a record from another process is damaged, it has {what}: let that process be replaced"
    return pickle.UnpicklingError(text)


def _keep_large(views: list[memoryview]) -> Callable[[pickle.PickleBuffer], bool]:
    """Decides about a buffer: true if it is to be pickled with the rest."""

    def keep(buffer: pickle.PickleBuffer) -> bool:
        try:
            view = buffer.raw()
        except BufferError:
            return True  # Not contiguous, which pickle will say better.
        if view.nbytes < _OUT_OF_BAND:
            return True
        views.append(view)
        return False

    return keep


def _plain(value: object, keep: Callable[[pickle.PickleBuffer], bool]) -> bytes:
    reducers = _reducers()
    if not reducers:
        return pickle.dumps(value, _PROTOCOL, buffer_callback=keep)
    file = io.BytesIO()
    pickler = pickle.Pickler(file, _PROTOCOL, buffer_callback=keep)
    pickler.dispatch_table = {**copyreg.dispatch_table, **reducers}
    pickler.dump(value)
    return file.getvalue()


def _by_value(value: object, refused: Exception | None) -> _Stream:
    """The same by cloudpickle. Its error is the one to show: it was stopped by what stops both."""
    try:
        import cloudpickle
    except ImportError:
        if refused is None:
            raise
        raise refused from None
    views: list[memoryview] = []
    file = io.BytesIO()
    try:
        pickler = cloudpickle.Pickler(file, _PROTOCOL, buffer_callback=_keep_large(views))
        pickler.dispatch_table = ChainMap(dict(_reducers()), *pickler.dispatch_table.maps)
        pickler.dump(value)
    except Exception as error:
        raise error from None
    return file.getvalue(), views


def _reducers() -> Mapping[type, Callable[[Any], Any]]:
    """How `multiprocessing` pickles some types; nothing before it is used."""
    reduction = sys.modules.get("multiprocessing.reduction")
    return reduction.ForkingPickler._extra_reducers if reduction is not None else {}


def _main_is_importable() -> bool:
    """Whether a worker can make the `__main__` of this process, as `multiprocessing` would."""
    main: types.ModuleType | None = sys.modules.get("__main__")
    if getattr(getattr(main, "__spec__", None), "name", None) is not None:
        return True
    path = getattr(main, "__file__", None)
    return isinstance(path, str) and os.path.exists(path)
