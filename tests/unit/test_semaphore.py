"""What `Semaphore` and `BoundedSemaphore` do beyond the stdlib's."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from counterpoint.threading import BoundedSemaphore, Semaphore
from tests.support import eventually, loops, result, run_async, spawn

both = pytest.mark.parametrize("kind", [Semaphore, BoundedSemaphore])


@both
def test_threads_and_tasks_share_the_permits(kind: Any) -> None:
    semaphore = kind(3)

    async def main() -> None:
        async with semaphore, semaphore:
            with semaphore:
                assert semaphore._value == 0
                assert await semaphore.async_acquire(0) is False
                assert await semaphore.async_acquire(0.001) is False
                assert semaphore.acquire(timeout=0.001) is False

    run_async(main())
    assert semaphore._value == 3


def test_release_lets_in_as_many_as_it_says() -> None:
    semaphore = Semaphore(0)
    with loops() as [loop]:
        waiting: list[Any] = [loop.start(semaphore.async_acquire()) for _ in range(2)]
        waiting += [spawn(semaphore.acquire) for _ in range(3)]
        eventually(lambda: semaphore.waiters == 5)
        semaphore.release(3)
        eventually(lambda: sum(future.done() for future in waiting) == 3)
        semaphore.release(n=4)
        assert all(result(future) for future in waiting)
    assert semaphore._value == 2


def test_a_task_may_be_overtaken_by_one_that_comes_while_it_is_free_but_not_for_long() -> None:
    async def main() -> None:
        semaphore = Semaphore(0)
        waiting = asyncio.create_task(semaphore.async_acquire())
        while semaphore.waiters == 0:
            await asyncio.sleep(0)
        overtaken = 0
        while not waiting.done():
            semaphore.release()
            if semaphore.acquire(blocking=False):
                overtaken += 1
                assert overtaken < 1_000_000
            await asyncio.sleep(0)
        assert await waiting

    run_async(main())


@both
def test_bad_arguments(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"^semaphore initial value must be >= 0$"):
        kind(-1)
    for wrong in "1", None, 1.5:
        with pytest.raises(TypeError):
            kind(wrong)
    semaphore = kind(1)
    for n in 0, -1:
        with pytest.raises(ValueError, match=r"^n must be one or more$"):
            semaphore.release(n)
    with pytest.raises(ValueError, match=r"^can't specify timeout for non-blocking acquire$"):
        semaphore.acquire(False, 1.0)
    assert semaphore._value == 1


def test_bounded_is_bounded() -> None:
    semaphore = BoundedSemaphore(2)
    for n in 1, 2:
        with pytest.raises(ValueError, match=r"^Semaphore released too many times$"):
            semaphore.release(n)
    semaphore.acquire()
    with pytest.raises(ValueError, match=r"^Semaphore released too many times$"):
        semaphore.release(2)
    semaphore.release()
    assert semaphore._value == 2


@both
def test_repr_and_names(kind: Any) -> None:
    value = "2/2" if kind is BoundedSemaphore else "2"
    pattern = rf"<threading\.{kind.__name__} at 0x[0-9a-f]+: value={value}>"
    assert re.fullmatch(pattern, repr(kind(2)))

    class Mine(kind):  # type: ignore[misc]
        pass

    assert "Mine at 0x" in repr(Mine())


@both
def test_an_observer_is_shown_a_semaphore_once(kind: Any) -> None:
    from counterpoint import _core

    seen: list[object] = []
    _core.set_observer(seen.append)
    try:
        semaphore = kind(1)
    finally:
        _core.set_observer(None)
    assert seen == [semaphore]
