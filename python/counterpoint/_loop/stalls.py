"""What the watchdog's thread calls when a callback keeps its loop for long."""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from asyncio import format_helpers
from types import CodeType
from typing import TYPE_CHECKING, Any

from .native import end_watchdog

if TYPE_CHECKING:
    from .statistics import StackLine

__all__ = ["lines", "name", "warn"]

_logger = logging.getLogger("counterpoint")
# Of the frame from which the loop calls: what is outside goes without saying.
_FILE = os.path.join(os.path.dirname(__file__), "loop.py")


def name(subject: Any) -> str:
    """What a callback is called: the task whose step it is, or the function and its place.

    Args:
        subject: a callback, a handle, or a transport that reads or writes.
    """
    if isinstance(subject, asyncio.Handle):
        subject = getattr(subject, "_callback", None) or subject
    owner = getattr(subject, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return repr(owner)
    if isinstance(subject, asyncio.BaseTransport):
        protocol = type(subject.get_protocol())
        return f"protocol {protocol.__module__}.{protocol.__qualname__}"
    if callable(subject):
        # Not its arguments, whose representations are the program's code.
        return str(format_helpers._format_callback_source(subject, ()))
    return repr(subject)


def lines(frames: list[tuple[CodeType, int]]) -> list[StackLine]:
    """File, line and function of each frame that the callback is in, the innermost last.

    Args:
        frames: of the loop's thread, the innermost first.
    """
    found: list[StackLine] = []
    for code, line in frames:
        if code.co_name == "_turn_until_stopped" and code.co_filename == _FILE:
            break
        found.append((code.co_filename, line or code.co_firstlineno, code.co_qualname))
    return found[::-1]


def warn(callback: str, seconds: float, stack: list[StackLine] | None) -> None:
    """Log it."""
    if stack is None:
        _logger.warning(
            "The event loop was blocked for more than %.3f seconds by %s, which had ended before "
            "its stack could be recorded: it kept the interpreter to itself",
            seconds,
            callback or "a callback",
        )
        return
    where = "".join(f'\n  File "{file}", line {line}, in {what}' for file, line, what in stack)
    _logger.warning(
        "The event loop has been blocked for %.3f seconds by %s:%s", seconds, callback, where
    )


atexit.register(end_watchdog)
