"""What the watchdog's thread calls when a callback keeps its loop for long."""

from __future__ import annotations

import asyncio
import atexit
import functools
import itertools
import logging
import os
import threading
from asyncio import format_helpers
from asyncio.tasks import _PyTask  # type: ignore[attr-defined]
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from .native import Operation, end_watchdog
from .tls import SSLProtocol
from .transport import SocketTransport

if TYPE_CHECKING:
    import weakref

    from .native import LoopBase
    from .statistics import StackLine

__all__ = ["lines", "name", "warn"]

_logger = logging.getLogger("counterpoint")
# Where the latest is logged, and for how many seconds that is waited for in the end.
_latest: threading.Thread | None = None
_PATIENCE = 1.0
# As often a line of a stack is shown, as in a traceback.
_REPEATED = 3
# What brings a task on at once: bytes that it waits for.
_BRING = (SocketTransport, Operation)
# Of the frame from which the loop calls: what is outside goes without saying.
_FILE = os.path.join(os.path.dirname(__file__), "loop.py")
# Some interpreters have no other tasks: how these take a step goes without saying, as in C.
_STEPS = {step.__code__ for step in vars(_PyTask).values() if isinstance(step, FunctionType)}


def name(subject: Any, owner: weakref.ref[LoopBase] | None) -> str:
    """What a callback is called: the task whose step it is, or the function and its place.

    Args:
        subject: a task, a callback, a handle, or a transport or an operation on a socket. What
            these bring may have a task take its step at once, which is named then.
        owner: of the loop; None if the callback has ended, and another task may run by now.
    """
    loop = owner() if owner is not None and type(subject) in _BRING else None
    task = asyncio.current_task(loop) if loop is not None else None
    return _printable(_name(subject) if task is None else _task(task))


def _name(subject: Any) -> str:
    # Nothing of the program's own runs: no representation of a class of its own, of an argument.
    if isinstance(subject, asyncio.Handle):
        subject = getattr(subject, "_callback", None) or subject
    while type(subject) is functools.partial:
        subject = subject.func
    owner = subject
    if not isinstance(subject, (asyncio.Task, asyncio.BaseTransport)):
        owner = getattr(subject, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return _task(owner)
    if isinstance(owner, asyncio.BaseTransport) and (protocol := owner.get_protocol()) is not None:
        # What a transport does by itself is quick; what it calls may not be.
        if isinstance(protocol, SSLProtocol):
            protocol = protocol._app_protocol
        return f"protocol {_class(protocol)}"
    if callable(subject) and hasattr(subject, "__qualname__"):
        return str(format_helpers._format_callback_source(subject, ()))
    return _class(subject)


def _task(task: asyncio.Task[Any]) -> str:
    coroutine: Any = asyncio.Task.get_coro(task)
    what = getattr(coroutine, "__qualname__", None) or _class(coroutine)
    code = getattr(coroutine, "cr_code", None)
    where = f" at {code.co_filename}:{code.co_firstlineno}" if code is not None else ""
    return f"<{type(task).__name__} name={asyncio.Task.get_name(task)!r} coro=<{what}(){where}>>"


def _class(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


def _printable(text: str) -> str:
    # The name of a file may be undecodable.
    return text.encode("utf-8", "backslashreplace").decode()


def lines(frames: list[tuple[CodeType, int]]) -> list[StackLine]:
    """File, line and function of each frame that the callback is in, the innermost last.

    Args:
        frames: of the loop's thread, the innermost first.
    """
    found: list[tuple[CodeType, int]] = []
    for code, line in frames:
        if code.co_name == "_turn_until_stopped" and code.co_filename == _FILE:
            break
        place = line if line > 0 else code.co_firstlineno
        found.append((code, place))
    while found and found[-1][0] in _STEPS:
        found.pop()
    return [
        (_printable(code.co_filename), line, _printable(code.co_qualname))
        for code, line in reversed(found)
    ]


def warn(callback: str, seconds: float, stack: list[StackLine] | None) -> None:
    """Log it, in a thread of its own.

    Filters and handlers are the program's, and may take long. The watchdog's own thread has to be
    out of Python when the interpreter ends.
    """
    global _latest
    arguments = (callback, seconds, stack)
    _latest = threading.Thread(
        target=_warn, args=arguments, name="counterpoint-stalls", daemon=True
    )
    _latest.start()


def _warn(callback: str, seconds: float, stack: list[StackLine] | None) -> None:
    if stack is None:
        _logger.warning(
            "The event loop was blocked for more than %.3f seconds by %s, which had ended before "
            "its stack could be recorded: it kept the interpreter to itself",
            seconds,
            callback or "a callback",
        )
        return
    where = "".join(f"\n  {line}" for line in _told(stack))
    _logger.warning(
        "The event loop has been blocked for %.3f seconds by %s%s",
        seconds,
        callback,
        where and f":{where}",
    )


def _told(stack: list[StackLine]) -> Iterator[str]:
    """The stack as a traceback shows it: of a line that is repeated only the first few."""
    for (file, line, what), same in itertools.groupby(stack):
        count = len(list(same))
        for _ in range(min(count, _REPEATED)):
            yield f'File "{file}", line {line}, in {what}'
        if count > _REPEATED:
            more = count - _REPEATED
            yield f"[Previous line repeated {more} more time{'s' if more > 1 else ''}]"


def _end() -> None:
    end_watchdog()
    if _latest is not None:
        _latest.join(_PATIENCE)


atexit.register(_end)
