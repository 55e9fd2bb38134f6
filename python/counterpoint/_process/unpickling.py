"""What could not be unpickled: a note on an error that the value's own code, or pickle, raised."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from itertools import islice
from types import FrameType, TracebackType
from typing import Any

from .blaming import name_of
from .pickling import loads

__all__ = ["note_call", "note_result"]

# How far a pickle is looked through, and how much of what it names is shown.
_OPCODES = 100_000
_SHOWN = 5

# What every map has in its pickles.
_OURS = "counterpoint._process."


def note_call(error: BaseException, part: str, function: Callable[..., Any] | None) -> None:
    """Note that a call could not be unpickled: its "function", its "arguments", or all of it."""
    of = "a call" if function is None else f"a call of {name_of(function)}"
    _note(error, of if part == "call" else f"the {part} of {of}")


def note_result(error: BaseException, definition: bytes | None, name: str | None) -> None:
    """Note that a result could not be; `definition` is the pickle of the function, by its name."""
    if definition is not None:
        of = f"a call of {name_of(loads(definition))}"
    else:
        of = "a task" if name is None else f"the task {name!r}"
    _note(error, f"the result of {of}")


def _note(error: BaseException, what: str) -> None:
    frames = list(_frames(error.__traceback__))
    if not frames:
        # It was not pickle that failed: a record is damaged, or there is no memory.
        return
    note = f"this was raised while unpickling {what}{_culprit(frames)}"
    # The same exception may be raised again.
    if note not in getattr(error, "__notes__", ()):
        error.add_note(note)


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    """The frames of an unpickling, if there was one."""
    within = False
    while traceback is not None:
        within = within or traceback.tb_frame.f_code is loads.__code__
        if within:
            yield traceback.tb_frame
        traceback = traceback.tb_next


def _culprit(frames: list[FrameType]) -> str:
    """Whose code raised; if it was none of Python's, what the pickle names."""
    unpickling, *others = frames
    for frame in others:
        module = frame.f_globals.get("__name__", "?")
        if not module.startswith("importlib."):
            name = frame.f_code.co_qualname
            return f", by module {module}" if name == "<module>" else f", by {module}.{name}"
    names = _names(unpickling.f_locals["stream"])
    return f", whose pickle names {', '.join(names)}" if names else ""


def _names(stream: Any) -> list[str]:
    """The classes and functions that a pickle names."""
    import pickletools  # which few programs ever need

    names: dict[str, None] = {}
    # The texts that were pushed; what else was is no part of a name.
    pushed: list[str] = []
    memo: list[str] = []
    argument: Any
    for opcode, argument, _ in islice(pickletools.genops(io.BytesIO(stream)), _OPCODES):
        if "UNICODE" in opcode.name:
            pushed.append(argument)
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            pushed.append(memo[argument])
        elif opcode.name == "MEMOIZE":
            memo.append(pushed[-1] if pushed else "")
        elif opcode.name == "STACK_GLOBAL":
            names[".".join(pushed[-2:])] = None
    return [name for name in names if not name.startswith(_OURS)][:_SHOWN]
