"""Makes the loop under test the one that asyncio makes by default, in this whole process.

CPython's modules come to their loops in several ways: `asyncio.new_event_loop()` and the runners
ask the policy, which a test may have reset; some name `asyncio.SelectorEventLoop` or
`asyncio.EventLoop`; many take `test_utils.TestLoop`, which is not of any use here but where a
test needs its invented time. Each of these ways leads to the factory, which counts.
"""

from __future__ import annotations

import asyncio
import asyncio.unix_events
from collections.abc import Sequence
from fnmatch import fnmatch
from types import ModuleType
from typing import Any
from unittest import TestCase

from tests.loops import Factory

# The policy to which a reset goes back: its name since 3.14, and before.
POLICIES = ("_DefaultEventLoopPolicy", "DefaultEventLoopPolicy")

# What a program calls asyncio's own loop.
NAMES = ("SelectorEventLoop", "EventLoop")


class Maker:
    """A factory that counts the loops that it made."""

    def __init__(self, make: Factory) -> None:
        self._make = make
        self.made = 0
        self.classes: tuple[type, ...] = ()

    def __call__(self, *_: object) -> asyncio.AbstractEventLoop:
        """A new loop; a selector, which some tests pass, is not for other loops."""
        loop = self._make()
        self.made += 1
        if type(loop) not in self.classes:
            self.classes += (type(loop),)
        return loop


def install(make: Factory) -> Maker:
    """Has asyncio make its loops by this factory from now on."""
    maker = Maker(make)
    policy = next(found for name in POLICIES if (found := getattr(asyncio.unix_events, name, None)))
    policy._loop_factory = staticmethod(maker)
    stand_in = _stand_in(maker)
    for name in NAMES:
        if hasattr(asyncio, name):
            setattr(asyncio, name, stand_in)
    return maker


def _stand_in(maker: Maker) -> type:
    """A class that the loops are instances of, and that makes them when it is called."""

    class Meta(type):
        def __call__(cls, *args: object) -> asyncio.AbstractEventLoop:
            return maker(*args)

        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, maker.classes)

    return Meta("SelectorEventLoop", (), {"__doc__": "Stands for the loop under test."})


def name_of(test: TestCase) -> str:
    """The test's class and method: no two tests of a module have both in common."""
    return ".".join(test.id().split(".")[-2:])


def replace_test_loop(maker: Maker, invented: Sequence[str]) -> None:
    """Gives the loop under test to tests that ask for `TestLoop`.

    Not where the test invents the time, or is one of the patterns in `invented`.
    """
    from test.test_asyncio import utils

    original = utils.TestCase.new_test_loop

    def new_test_loop(case: TestCase, gen: object = None) -> asyncio.AbstractEventLoop:
        if gen is not None or any(fnmatch(name_of(case), pattern) for pattern in invented):
            return original(case, gen)
        loop = maker()
        case.set_event_loop(loop)
        return loop

    utils.TestCase.new_test_loop = new_test_loop


def adapt(module: ModuleType, maker: Maker) -> None:
    """Gives the loop under test to the tests of runners, which have a loop full of stand-ins."""
    if module.__name__.endswith(".test_runners"):
        module.BaseTest.new_loop = lambda _: _noting_shutdown(maker())


def _noting_shutdown(loop: Any) -> asyncio.AbstractEventLoop:
    """The loop, which remembers in the tests' own attribute that generators were shut down."""
    shut_down = loop.shutdown_asyncgens

    async def shutdown_asyncgens() -> None:
        loop.shutdown_ag_run = True
        await shut_down()

    loop.shutdown_ag_run = False
    loop.shutdown_asyncgens = shutdown_asyncgens
    return loop
