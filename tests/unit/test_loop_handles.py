"""The memory of a loop's handles: small, and whole whatever is done to the stdlib's slots in it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import time

import pytest

from counterpoint.aio import new_event_loop
from tests.support import DEADLINE, FREE_THREADED

MANY = 10_000


@pytest.mark.skipif(FREE_THREADED, reason="a lock and a larger header are in each")
def test_a_handle_is_small() -> None:
    loop = new_event_loop()
    for handle in (loop.call_soon(print), loop.call_later(60, print, 1, 2, 3)):
        assert sys.getsizeof(handle) <= 136
    loop.close()


@pytest.mark.skipif(FREE_THREADED, reason="none is kept there")
def test_the_memory_of_many_is_used_again_and_given_back_when_it_is_not() -> None:
    loop = new_event_loop()

    def kept() -> int:
        gc.collect()
        return sys.getallocatedblocks() - before

    def many() -> None:
        for _ in range(MANY):
            loop.call_soon(int)
        loop.call_soon(loop.stop)
        loop.run_forever()

    before = 0
    before = kept()
    many()
    assert kept() > MANY / 2
    once = kept()
    many()
    assert kept() < once + MANY / 10
    end = time.monotonic() + DEADLINE
    while kept() > MANY / 2:
        assert time.monotonic() < end
        loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()


@pytest.mark.parametrize("name", [name for name in asyncio.Handle.__slots__ if name[:2] != "__"])
@pytest.mark.parametrize("arguments", [(), (1, 2, 3), (1, 2, 3, 4, 5)])
def test_the_stdlibs_slots_may_be_meddled_with(name: str, arguments: tuple[int, ...]) -> None:
    loop = new_event_loop()
    loop.set_exception_handler(lambda _, context: None)
    slot = asyncio.Handle.__dict__[name]

    def nothing(*_: object) -> None: ...

    def handles() -> tuple[asyncio.Handle, ...]:
        return loop.call_soon(nothing, *arguments), loop.call_later(0, nothing, *arguments)

    def replace(handle: asyncio.Handle) -> None:
        slot.__set__(handle, object())

    for meddle in (slot.__get__, replace, slot.__delete__):
        for handle in handles():
            with contextlib.suppress(AttributeError):
                meddle(handle)
            with contextlib.suppress(Exception):
                repr(handle)
        for handle in handles():
            with contextlib.suppress(AttributeError):
                meddle(handle)
            handle.cancel()
        loop.call_later(0, loop.stop)
        loop.run_forever()
    loop.close()
    gc.collect()
