"""Handles of `call_soon_threadsafe`: who cancels one in another thread waits while it runs."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from asyncio import events
from collections.abc import Iterator

import pytest

from counterpoint.aio import EventLoop, new_event_loop
from tests.support import DEADLINE, eventually, is_collected, result, spawn

# New in Python 3.14.
CLASS = getattr(events, "_ThreadSafeHandle", None)
waits = pytest.mark.skipif(CLASS is None, reason="this Python's handles do not wait")


@pytest.fixture
def loop() -> Iterator[EventLoop]:
    loop = new_event_loop()
    yield loop
    loop.close()


def test_it_is_a_handle(loop: EventLoop) -> None:
    handle = loop.call_soon_threadsafe(print, 1, 2, 3, 4)
    assert isinstance(handle, CLASS or asyncio.Handle)
    assert not handle.cancelled()
    assert "print(" in repr(handle)
    handle.cancel()
    handle.cancel()
    assert handle.cancelled()
    assert "cancelled" in repr(handle)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("watched", [False, True])
def test_it_calls_once_and_in_order(loop: EventLoop, debug: bool, watched: bool) -> None:
    seen: list[object] = []
    loop.set_debug(debug)
    loop.watch(10.0 if watched else None, log=False)
    loop.call_soon(seen.append, 1)
    loop.call_soon_threadsafe(seen.append, 2)
    loop.call_soon_threadsafe(seen.append, 3).cancel()
    loop.call_soon(seen.append, 4)
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    assert seen == [1, 2, 4]


def run_with_a_callback_inside(loop: EventLoop, ask: str) -> list[str]:
    """Another thread asks a handle something while its callback runs; what happened, in order."""
    seen: list[str] = []
    asking = threading.Event()

    def callback() -> None:
        begun.set()
        assert asking.wait(DEADLINE)
        # It must not get on meanwhile; there is no telling but by time.
        assert not answered.wait(0.05)
        seen.append("callback")

    def other() -> None:
        handle = loop.call_soon_threadsafe(callback)
        assert begun.wait(DEADLINE)
        asking.set()
        answer = getattr(handle, ask)()
        answered.set()
        seen.append(f"{ask}: {answer}")
        loop.call_soon_threadsafe(loop.stop)

    begun, answered = threading.Event(), threading.Event()
    asked = spawn(other)
    loop.run_forever()
    result(asked)
    return seen


@waits
@pytest.mark.parametrize("ask", ["cancel", "cancelled"])
@pytest.mark.parametrize("debug", [False, True])
def test_who_asks_in_another_thread_waits(loop: EventLoop, ask: str, debug: bool) -> None:
    loop.set_debug(debug)
    answers = {"cancel": None, "cancelled": False}
    assert run_with_a_callback_inside(loop, ask) == ["callback", f"{ask}: {answers[ask]}"]


@waits
def test_several_who_ask_all_wait(loop: EventLoop) -> None:
    going = threading.Event()
    begun = threading.Event()
    ended = threading.Event()

    def callback() -> None:
        begun.set()
        assert going.wait(DEADLINE)
        ended.set()

    def ask() -> bool:
        started.release()
        handle.cancel()
        return ended.is_set()

    started = threading.Semaphore(0)
    handle = loop.call_soon_threadsafe(callback)
    running = spawn(lambda: loop.run_forever())
    assert begun.wait(DEADLINE)
    asked = [spawn(ask) for _ in range(5)]
    for _ in asked:
        assert started.acquire(timeout=DEADLINE)
    going.set()
    assert all(result(one) for one in asked)
    loop.call_soon_threadsafe(loop.stop)
    result(running)


def test_a_callback_may_cancel_itself(loop: EventLoop) -> None:
    seen = []

    def callback() -> None:
        handle.cancel()
        seen.append(handle.cancelled())

    handle = loop.call_soon_threadsafe(callback)
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert seen == [True]


def test_what_it_raises_is_reported(loop: EventLoop) -> None:
    contexts: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _, context: contexts.append(context))
    handle = loop.call_soon_threadsafe(int, "x")
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert contexts[0]["handle"] is handle
    assert not handle.cancelled(), "and nobody waits for it"


def test_an_interrupt_leaves_nobody_waiting(loop: EventLoop) -> None:
    def callback() -> None:
        raise KeyboardInterrupt

    handle = loop.call_soon_threadsafe(callback)
    with pytest.raises(KeyboardInterrupt):
        loop.run_forever()
    assert not result(spawn(handle.cancelled))


def test_cancelling_races_with_calling(loop: EventLoop) -> None:
    ran: list[int] = []
    running = spawn(loop.run_forever)
    expected = []
    for number in range(2000):
        handle = loop.call_soon_threadsafe(ran.append, number)
        if number % 3 == 0:
            handle.cancel()
            # Either it never runs, or it has.
            expected.append((number, len(ran)))
    eventually(lambda: ran and ran[-1] == 1999)
    loop.call_soon_threadsafe(loop.stop)
    result(running)
    assert sorted(ran) == ran
    if CLASS is not None:
        for number, length in expected:
            assert number not in ran[length:]


class Owner:
    handle: asyncio.Handle

    def method(self) -> None:
        pass


def test_cycles_are_collected(loop: EventLoop) -> None:
    for run in (False, True):
        owner = Owner()
        owner.handle = loop.call_soon_threadsafe(owner.method)
        reference = weakref.ref(owner)
        if run:
            loop.call_soon(loop.stop)
            loop.run_forever()
        else:
            owner.handle.cancel()
        del owner
        gc.collect()
        assert is_collected(reference)
