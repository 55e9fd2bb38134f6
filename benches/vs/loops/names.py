"""Event loops by name, so that each process imports the one that it is about, and no other."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import NamedTuple

BARE = "bare epoll"


class Looped(NamedTuple):
    """The factory of a library that has an event loop: ``module:function``, or the bare server."""

    name: str


def new_loop_of(name: str) -> Callable[[], asyncio.AbstractEventLoop]:
    """The function that makes loops."""
    module, _, function = name.partition(":")
    found: Callable[[], asyncio.AbstractEventLoop] = getattr(
        importlib.import_module(module), function
    )
    return found
