"""Which part of a call or a result cannot be pickled."""

from __future__ import annotations

import pickle
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from counterpoint._process.pickling import dumps

__all__ = ["blame_call", "blame_result", "name_of"]

# How deeply, and at how many parts of one object, it is worth looking.
_DEPTH = 8
_PARTS = 1000

# Raised by pickle itself: made of one text, so that an equal one with more text can be made.
_PLAIN = (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError)


def blame_call(
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
    keywords: Mapping[str, Any],
    error: BaseException,
) -> BaseException:
    """The error with the name of the part of a call that is to blame."""
    name = name_of(function)
    parts: list[tuple[str, object]] = [("the function", function)]
    parts += [(f"argument {at}", value) for at, value in enumerate(arguments, 1)]
    parts += [(f"argument {key!r}", value) for key, value in keywords.items()]
    return _blame(parts, f"of a call of {name}", error)


def blame_result(value: object, error: BaseException) -> BaseException:
    """The error with the name of the part of a result that is to blame."""
    return _blame([("the result", value)], "of the task", error)


def _blame(parts: list[tuple[str, object]], of: str, error: BaseException) -> BaseException:
    if not isinstance(error, Exception):
        return error
    for place, value in parts:
        own = _failure(value)
        if own is not None:
            path, own = _descend(value, own)
            where = f"{place} {of}" if not path else f"{place} {of}, at {path}"
            return _saying(error, own, where)
    return error


def _saying(error: Exception, own: Exception, where: str) -> Exception:
    """`error` with the place in its text, or in a note if its class may want other arguments."""
    text = f"{own}: this is {where}" if str(own) else f"cannot be pickled: this is {where}"
    if type(error) in _PLAIN and type(own) is type(error):
        blamed = type(error)(text)
        blamed.__cause__ = error
        return blamed
    error.add_note(text)
    return error


def _failure(value: object) -> Exception | None:
    try:
        dumps(value)
    except Exception as error:
        # Its frames would keep the arguments, and it is kept by one of them itself.
        error.__context__ = None
        return error.with_traceback(None)
    return None


def _descend(value: object, own: Exception) -> tuple[str, Exception]:
    """The path from `value` to the smallest part that fails, and how that one fails."""
    path = ""
    for _ in range(_DEPTH):
        found = _failing_part(value)
        if found is None:
            break
        step, value, own = found
        path += step
    return path, own


def _failing_part(value: object) -> tuple[str, object, Exception] | None:
    for _, (step, part) in zip(range(_PARTS), _parts(value), strict=False):
        own = _failure(part)
        if own is not None:
            return step, part, own
    return None


def _parts(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        for key, item in list(value.items()):
            yield f"[key {_short(key)}]", key
            yield f"[{_short(key)}]", item
    elif isinstance(value, list | tuple):
        yield from ((f"[{at}]", item) for at, item in enumerate(value))
    elif isinstance(value, set | frozenset):
        yield from ((f"[{_short(item)}]", item) for item in value)
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif isinstance(value, types.FunctionType):
        yield from _captured(value)
    if not isinstance(value, type | types.ModuleType | types.FunctionType):
        yield from _attributes(value)


def _captured(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    for name, cell in cells:
        try:
            yield f".{name}", cell.cell_contents
        except ValueError:
            continue
    for name in function.__code__.co_names:
        if name in function.__globals__:
            yield f".{name}", function.__globals__[name]


def _attributes(value: object) -> Iterator[tuple[str, object]]:
    # What an object pickles is up to itself; only what it has is known here.
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict):
        yield from ((f".{name}", item) for name, item in list(own.items()))
    for base in type(value).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(value, name):
                yield f".{name}", getattr(value, name)


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        return f"a {type(value).__name__}"
    return text if len(text) <= 40 else f"{text[:37]}..."


def name_of(function: Callable[..., Any]) -> str:
    """A function in words."""
    name = getattr(function, "__qualname__", None)
    return repr(name) if isinstance(name, str) else _short(function)
