"""Which event loop is under test: the one seam of the conformance, safety and client tests."""

from __future__ import annotations

import asyncio
import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Factory = Callable[[], asyncio.AbstractEventLoop]

# Holds a name of FACTORIES, or `module:function` of a loop that nobody here knows.
VARIABLE = "COUNTERPOINT_LOOP"

FACTORIES = {
    "counterpoint": "counterpoint.aio:new_event_loop",
    "asyncio": "asyncio:SelectorEventLoop",
    "uvloop": "uvloop:new_event_loop",
    "rloop": "rloop:new_event_loop",
}

# What the tests are about; the others are run for comparison.
OURS = "counterpoint"


def is_installed(name: str) -> bool:
    """Whether the module that makes this loop can be found."""
    try:
        return importlib.util.find_spec(_place(name)[0]) is not None
    except ModuleNotFoundError:
        return False


def installed() -> list[str]:
    """The known loops that are installed here."""
    return [name for name in FACTORIES if is_installed(name)]


def chosen() -> str:
    """The loop that the environment names; else ours."""
    named = os.environ.get(VARIABLE)
    return named or (OURS if is_installed(OURS) else "asyncio")


@functools.lru_cache
def factory(name: str | None = None) -> Factory:
    """What makes the loop of this name; without one, the loop under test."""
    module, function = _place(name or chosen())
    made: Factory = getattr(importlib.import_module(module), function)
    return made


def class_name() -> str:
    """The name of the class of the loop under test."""
    loop = factory()()
    loop.close()
    return type(loop).__qualname__


@contextmanager
def running_in(name: str | None = None) -> Iterator[asyncio.AbstractEventLoop]:
    """A new loop of this name, closed in the end with what its callbacks left to do."""
    loop = factory(name)()
    try:
        yield loop
    finally:
        if not loop.is_closed():
            loop.run_until_complete(asyncio.sleep(0))
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()


def _place(name: str) -> tuple[str, str]:
    module, _, function = FACTORIES.get(name, name).partition(":")
    if not function:
        known = ", ".join(FACTORIES)
        raise ValueError(f"{VARIABLE} is {name!r}: it takes {known} or module:function")
    return module, function
