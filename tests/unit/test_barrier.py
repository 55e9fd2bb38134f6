"""What `Barrier` does beyond the stdlib's: threads and tasks in one generation."""

from __future__ import annotations

import asyncio
import sys
import threading as stdlib
import time
from contextlib import suppress
from typing import Any

import pytest

from counterpoint._sync import barrier as barrier_module
from counterpoint.threading import Barrier, BrokenBarrierError
from tests.support import DEADLINE, eventually, eventually_async, loops, result, run_async, spawn


def test_threads_and_tasks_pass_together_each_with_its_place() -> None:
    barrier, acted = Barrier(4, action=lambda: acted.append(len(acted))), []
    with loops(2) as running:
        for turn in range(3):
            waiting: list[Any] = [spawn(barrier.wait)]
            waiting += [loop.start(barrier.async_wait()) for loop in running]
            eventually(lambda: barrier.n_waiting == 3)
            assert barrier.wait() == 3
            assert sorted(result(future) for future in waiting) == [0, 1, 2]
            assert acted == list(range(turn + 1))
    assert barrier.n_waiting == barrier.waiters == 0


def test_an_error_is_the_stdlib_s() -> None:
    assert BrokenBarrierError is stdlib.BrokenBarrierError


@pytest.mark.parametrize("timeout", [0, 0.001])
def test_the_timeout_of_one_breaks_it_for_all(timeout: float) -> None:
    barrier = Barrier(3)
    with loops() as [loop]:
        waiting: list[Any] = [spawn(barrier.wait), loop.start(barrier.async_wait())]
        eventually(lambda: barrier.n_waiting == 2)
        barrier.reset()
        for future in waiting:
            with pytest.raises(BrokenBarrierError):
                result(future)
        assert not barrier.broken
        waiting = [spawn(barrier.wait)]
        eventually(lambda: barrier.n_waiting == 1)
        with pytest.raises(BrokenBarrierError):
            run_async(barrier.async_wait(timeout))
        with pytest.raises(BrokenBarrierError):
            result(waiting[0])
    assert barrier.broken
    assert barrier.n_waiting == 0
    with pytest.raises(BrokenBarrierError):
        run_async(barrier.async_wait())


def test_a_task_whose_time_is_over_waits_for_the_end_of_an_action() -> None:
    begun, end = stdlib.Event(), stdlib.Event()

    def action() -> None:
        begun.set()
        assert end.wait(DEADLINE)

    barrier = Barrier(2, action)

    async def main() -> int:
        loop = asyncio.get_running_loop()
        started = loop.time()
        waiting = asyncio.create_task(barrier.async_wait(0.2))
        await asyncio.sleep(0)  # it is there; that its time is over takes this loop's next turn
        acting = spawn(barrier.wait)
        assert begun.wait(DEADLINE)
        await eventually_async(lambda: loop.time() > started + 0.3)
        assert not waiting.done()
        end.set()
        place = await waiting
        assert result(acting) + place == 1
        return place

    assert run_async(main()) == 0
    assert not barrier.broken


@pytest.mark.parametrize("as_task", [False, True])
@pytest.mark.parametrize("timeout", [0, 0.05])
def test_one_who_came_during_an_action_has_its_time_afterwards(
    as_task: bool, timeout: float
) -> None:
    begun, end = stdlib.Event(), stdlib.Event()

    def action() -> None:
        begun.set()
        assert end.wait(DEADLINE)

    barrier = Barrier(2, action)
    passing = [spawn(barrier.wait) for _ in range(2)]
    assert begun.wait(DEADLINE)
    with loops() as [loop]:
        late: Any = (
            loop.start(barrier.async_wait(timeout)) if as_task else spawn(barrier.wait, timeout)
        )
        eventually(lambda: barrier.waiters == 2)
        started = time.monotonic()
        eventually(lambda: time.monotonic() > started + 2 * timeout)
        # At the door: neither counted nor out of time.
        assert not late.done()
        end.set()
        assert sorted(map(result, passing)) == [0, 1]
        with pytest.raises(BrokenBarrierError):
            result(late)
    assert barrier.broken


def test_one_who_came_during_an_action_meets_a_partner_in_its_time() -> None:
    begun, end = stdlib.Event(), stdlib.Event()

    def action() -> None:
        begun.set()
        assert end.wait(DEADLINE)

    barrier = Barrier(2, action)
    passing = [spawn(barrier.wait) for _ in range(2)]
    assert begun.wait(DEADLINE)
    late = spawn(barrier.wait, 0.5)
    eventually(lambda: barrier.waiters == 2)
    started = time.monotonic()
    eventually(lambda: time.monotonic() > started + 0.6)
    ended = time.monotonic()
    end.set()
    try:
        assert barrier.wait(DEADLINE) + result(late) == 1
    except BrokenBarrierError:
        assert time.monotonic() >= ended + 0.5
    assert sorted(map(result, passing)) == [0, 1]


def _interrupting(after: int, made: list[str]) -> Any:
    """A trace function that raises KeyboardInterrupt at that event in our code."""

    def trace(frame: Any, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if name == barrier_module.__file__ or (name == __file__ and event == "call"):
            made.append(event)
            if len(made) == after:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    return trace


def _is_interrupted(barrier: Barrier, after: int) -> bool:
    """Whether the last to arrive at this barrier for two is interrupted at that event."""
    other = spawn(barrier.wait)
    eventually(lambda: barrier.n_waiting == 1)
    sys.settrace(_interrupting(after, []))
    try:
        assert barrier.wait() == 1
        return False
    except KeyboardInterrupt:
        # It never arrived, or the other hears how it ended.
        eventually(lambda: other.done() or barrier.n_waiting == 1)
        return True
    finally:
        sys.settrace(None)
        barrier.abort()
        with suppress(BrokenBarrierError):
            result(other)


def test_ctrl_c_at_any_moment_of_the_one_who_acts_reaches_the_others() -> None:
    acted: list[int] = []

    def action() -> None:
        acted.append(1)

    after = 1
    while _is_interrupted(Barrier(2, action), after):
        after += 1
    assert after > 3
    # Also in those rounds in which it was interrupted after the action.
    assert len(acted) > 1


def test_a_cancelled_task_is_no_longer_counted() -> None:
    barrier = Barrier(2)

    async def main() -> None:
        cancelled = asyncio.create_task(barrier.async_wait())
        await eventually_async(lambda: barrier.n_waiting == 1)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        assert barrier.n_waiting == 0
        places = await asyncio.gather(barrier.async_wait(), barrier.async_wait())
        assert sorted(places) == [0, 1]

    run_async(main())


def test_an_action_that_fails_breaks_it() -> None:
    def action() -> None:
        raise ZeroDivisionError

    barrier = Barrier(2, action)
    with loops() as [loop]:
        waiting = loop.start(barrier.async_wait())
        eventually(lambda: barrier.n_waiting == 1)
        with pytest.raises(ZeroDivisionError):
            barrier.wait()
        with pytest.raises(BrokenBarrierError):
            result(waiting)
    assert barrier.broken


def test_an_action_may_use_its_own_barrier() -> None:
    seen: list[object] = []
    barrier: Barrier = Barrier(1, lambda: seen.append((barrier.n_waiting, barrier.broken)))
    assert barrier.wait() == 0
    barrier = Barrier(1, lambda: barrier.abort())
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    assert seen == [(1, False)]


def test_bad_arguments_and_repr() -> None:
    for wrong in 0, -1:
        with pytest.raises(ValueError, match=r"^parties must be >= 1$"):
            Barrier(wrong)
    for kind in "2", None:
        with pytest.raises(TypeError):
            Barrier(kind)  # type: ignore[arg-type]
    barrier = Barrier(2)
    assert repr(barrier).endswith(": waiters=0/2>")
    barrier.abort()
    assert repr(barrier).endswith(": broken>")
    assert repr(barrier).startswith("<threading.Barrier at 0x")
