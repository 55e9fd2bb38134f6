"""What asyncio consists of, to see whether somebody has changed it. Imports nothing of ours."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import pkgutil
import sys
from collections.abc import Mapping
from types import ModuleType

# Whose identity is a function's behaviour.
_OF_FUNCTIONS = ("__code__", "__defaults__", "__kwdefaults__", "__closure__", "__wrapped__")
_MISSING = object()


def names() -> dict[str, object]:
    """Every attribute of asyncio's modules, of the classes in them, and of their functions."""
    found: dict[str, object] = {}
    for module in _modules():
        found |= _attributes(module.__name__, vars(module))
    return found


def changes(before: Mapping[str, object]) -> list[str]:
    """What has come, gone, or is not the same object any more, since `names()` was asked."""
    now = names()
    every = before.keys() | now.keys()
    return sorted(at for at in every if before.get(at, _MISSING) is not now.get(at, _MISSING))


def _modules() -> list[ModuleType]:
    found = [asyncio]
    if "_asyncio" in sys.modules:  # some builds have none
        found.append(sys.modules["_asyncio"])
    for info in pkgutil.iter_modules(asyncio.__path__, "asyncio."):
        with contextlib.suppress(ImportError):  # of Windows, or of what some builds do not have
            if not info.name.endswith("__main__"):
                found.append(importlib.import_module(info.name))
    return found


def _attributes(owner: str, space: Mapping[str, object]) -> dict[str, object]:
    found = _functions(owner, space)
    for value in space.values():
        if isinstance(value, type) and value.__module__.startswith(("asyncio", "_asyncio")):
            itself = f"{value.__module__}.{value.__qualname__}"
            found[f"{itself}.__bases__"] = value.__bases__
            found |= _functions(itself, vars(value))
    return found


def _functions(owner: str, space: Mapping[str, object]) -> dict[str, object]:
    found = {}
    for name, value in space.items():
        at = f"{owner}.{name}"
        found[at] = value
        function = getattr(value, "fget", None) or getattr(value, "__func__", value)
        for detail in _OF_FUNCTIONS if hasattr(function, "__code__") else ():
            found[f"{at}.{detail}"] = getattr(function, detail, None)
    return found
