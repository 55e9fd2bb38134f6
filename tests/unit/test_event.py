"""What `Event` does beyond the stdlib's."""

from __future__ import annotations

import re
from typing import Any

import pytest

from counterpoint.threading import Event
from tests.support import DEADLINE, eventually, loops, result, run_async, spawn


def test_everyone_who_waits_goes_on_at_once() -> None:
    event = Event()
    with loops(2) as running:
        waiting: list[Any] = [spawn(event.wait) for _ in range(3)]
        waiting += [loop.start(event.async_wait()) for loop in running for _ in range(2)]
        eventually(lambda: event.waiters == 7)
        event.set()
        assert event.waiters == 0
        assert all(result(future) for future in waiting)


def test_those_who_were_told_are_not_held_back_by_a_clear() -> None:
    event = Event()
    with loops() as [loop]:
        waiting: list[Any] = [spawn(event.wait, DEADLINE), loop.start(event.async_wait(DEADLINE))]
        eventually(lambda: event.waiters == 2)
        event.set()
        event.clear()
        assert all(result(future) for future in waiting)
    assert event.wait(0.001) is False
    assert run_async(event.async_wait(0.001)) is False


def test_a_flag_that_is_up_is_not_waited_for() -> None:
    event = Event()
    event.set()
    event.set()
    assert event.wait()
    assert run_async(event.async_wait())
    assert event.statistics().waits.count == 0


def test_after_a_fork_the_flag_stays() -> None:
    for flag in True, False:
        event = Event()
        if flag:
            event.set()
        event._at_fork_reinit()
        assert event.is_set() is flag


def test_repr_and_old_name() -> None:
    event = Event()
    assert re.fullmatch(r"<threading\.Event at 0x[0-9a-f]+: unset>", repr(event))
    event.set()
    assert repr(event).endswith(": set>")
    with pytest.warns(DeprecationWarning, match="is_set"):
        assert event.isSet()
    with pytest.raises(TypeError):
        Event(1)  # type: ignore[call-arg]
