"""Context variables on their way to a task.

A ContextVar cannot be pickled; it is found again by the module and the attribute that hold it. A
variable that no module holds, and a value that cannot be pickled, are left out.
"""

from __future__ import annotations

import contextvars
import importlib
import pickle
import sys
from contextvars import Context, ContextVar
from typing import Any, TypeAlias

from .pickling import dumps, loads

__all__ = ["dump_context", "load_context"]

_Place: TypeAlias = tuple[str, str]

# Where variables are. For one that no module has, how many modules there were when it was looked
# for: more may have been imported since.
_places: dict[ContextVar[Any], _Place | int] = {}


def dump_context(context: Context) -> bytes | None:
    """What of a context can travel; None if nothing can."""
    carried = []
    for variable, value in context.items():
        place = _place_of(variable)
        if place is not None:
            try:
                stream, buffers = dumps(value)
            except Exception:
                continue
            carried.append((*place, stream, [bytes(buffer) for buffer in buffers]))
    return pickle.dumps(carried, 5) if carried else None


def load_context(stream: bytes) -> Context:
    """A copy of this context with what travelled, as far as it can be found and unpickled here."""
    context = contextvars.copy_context()
    for module, name, value, buffers in pickle.loads(stream):
        try:
            variable = getattr(importlib.import_module(module), name)
            context.run(variable.set, loads(value, buffers))
        except Exception:
            continue
    return context


def _place_of(variable: ContextVar[Any]) -> _Place | None:
    place = _places.get(variable)
    if place is None or (isinstance(place, int) and place != len(sys.modules)):
        place = _places[variable] = _find(variable) or len(sys.modules)
    return None if isinstance(place, int) else place


def _find(variable: ContextVar[Any]) -> _Place | None:
    for module_name, module in list(sys.modules.items()):
        names = getattr(module, "__dict__", None)
        if isinstance(names, dict):
            for name, value in list(names.items()):
                if value is variable:
                    return module_name, name
    return None
