"""Exceptions on their way from a worker, as `concurrent.futures.process` sends them.

The traceback arrives as text, in the cause of the exception; what had been its cause is the cause
of that. An exception that cannot be pickled, or cannot be unpickled here, becomes another that
says so: there is always one.
"""

from __future__ import annotations

import pickle
import traceback
from typing import Any, TypeAlias

from counterpoint._process.pickling import REFUSALS, dumps, loads

__all__ = ["dumps_exception", "loads_exception"]

_Stream: TypeAlias = tuple[bytes, list[memoryview]]

# How many causes of causes are sent.
_CAUSES = 16


def dumps_exception(error: BaseException) -> _Stream:
    """The pickle of an exception with its traceback's text; for `loads_exception` alone."""
    text = _traceback_text(error)
    summary = _summary(error)
    # The frames keep the arguments alive, which the parent may wait for.
    error.__traceback__ = None
    stream, views = _dumps_inner(error, summary)
    return pickle.dumps((text, summary, stream), 5), views


def loads_exception(stream: bytes, buffers: list[Any] | None = None) -> BaseException:
    """The exception, with the traceback's text as its cause."""
    # Not loaded before a pool is, which is where exceptions arrive.
    from concurrent.futures.process import _RemoteTraceback

    text, summary, inner = loads(stream)
    cause = _RemoteTraceback(text)
    error = _loads_inner(summary, inner, buffers, cause)
    error.__cause__ = cause
    return error


def _loads_inner(
    summary: str, stream: bytes, buffers: list[Any] | None, cause: BaseException
) -> BaseException:
    try:
        error, notes, causes = loads(stream, buffers)
    except (Exception, SystemExit) as failure:
        return _not_unpickled(summary, failure)
    if not isinstance(error, BaseException):
        return _not_unpickled(summary, TypeError(f"it became {error!r}"))
    _link(cause, causes)
    # Most exceptions bring their notes themselves.
    for note in () if getattr(error, "__notes__", None) else notes:
        error.add_note(note)
    return error


def _dumps_inner(error: BaseException, summary: str) -> _Stream:
    notes = tuple(note for note in _notes(error) if isinstance(note, str))
    refused: BaseException | None = None
    # A cause that cannot be pickled must not cost the exception.
    for causes in (_causes(error), []):
        try:
            return dumps((error, notes, causes))
        except BaseException as failure:
            refused = failure.with_traceback(None)
    return dumps((_not_pickled(summary, refused), (), []))


def _not_pickled(summary: str, refused: BaseException | None) -> Exception:
    kind = next((kind for kind in REFUSALS if isinstance(refused, kind)), pickle.PicklingError)
    reason = "" if refused is None else f": {_summary(refused)}"
    return kind(f"the exception that the task raised, {summary}, cannot be pickled{reason}")


def _not_unpickled(summary: str, failure: BaseException) -> Exception:
    text = f"the exception that the task raised, {summary}, cannot be unpickled here"
    return pickle.UnpicklingError(f"{text}: {_summary(failure)}")


def _traceback_text(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, error.__traceback__)
    except Exception as failure:
        lines = [f"{type(error).__name__}, whose traceback cannot be shown: {failure!r}\n"]
    return f'\n"""\n{"".join(lines)}"""'


def _summary(error: BaseException) -> str:
    try:
        return "".join(traceback.format_exception_only(type(error), error)).strip()
    except Exception:
        return type(error).__qualname__


def _notes(error: BaseException) -> tuple[object, ...]:
    notes = getattr(error, "__notes__", ())
    return tuple(notes) if isinstance(notes, list | tuple) else ()


def _causes(error: BaseException) -> list[BaseException]:
    """The cause, its cause and so on."""
    causes: list[BaseException] = []
    seen = {id(error)}
    cause = error.__cause__
    while cause is not None and id(cause) not in seen and len(causes) < _CAUSES:
        seen.add(id(cause))
        causes.append(cause)
        cause = cause.__cause__
    return causes


def _link(error: BaseException, causes: list[BaseException]) -> None:
    for cause in causes:
        if isinstance(cause, BaseException):
            error.__cause__ = cause
            error = cause
