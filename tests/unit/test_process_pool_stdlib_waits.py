"""The stdlib's own `wait` and `as_completed`, which look at `_state` under the condition."""

from __future__ import annotations

import concurrent.futures as stdlib
from collections.abc import Iterator

import pytest

from counterpoint.futures import ProcessPoolExecutor
from tests.processes import square
from tests.support import DEADLINE

ROUNDS = 300


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as made:
        yield made


def test_all_that_are_waited_for_are_done(pool: ProcessPoolExecutor) -> None:
    for _ in range(ROUNDS):
        futures = [pool.submit(square, number) for number in range(8)]
        done, pending = stdlib.wait(futures, DEADLINE)
        assert (len(done), pending) == (8, set())


def test_the_first_is_done(pool: ProcessPoolExecutor) -> None:
    for _ in range(ROUNDS):
        futures = [pool.submit(square, number) for number in range(8)]
        done, pending = stdlib.wait(futures, DEADLINE, stdlib.FIRST_COMPLETED)
        assert done
        assert len(done | pending) == 8


def test_each_comes_once(pool: ProcessPoolExecutor) -> None:
    for _ in range(ROUNDS):
        futures = [pool.submit(square, number) for number in range(8)]
        seen = [future.result() for future in stdlib.as_completed(futures, DEADLINE)]
        assert sorted(seen) == [number * number for number in range(8)]
