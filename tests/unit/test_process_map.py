"""`map` of a process pool: chunks change nothing but the cost."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator
from typing import Any, Literal, cast

import pytest

from counterpoint.futures import ProcessPoolExecutor
from tests.support import DEADLINE

Chunks = Literal["auto"] | int
SIZES: tuple[Chunks, ...] = ("auto", 1, 2, 7, 1000)


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(2) as made:
        yield made


@pytest.mark.parametrize("size", SIZES)
def test_results_are_those_of_the_builtin_map(pool: ProcessPoolExecutor, size: Chunks) -> None:
    numbers = range(-150, 150)
    assert list(pool.map(abs, numbers, chunksize=size, timeout=DEADLINE)) == [*map(abs, numbers)]
    both = list(pool.map(pow, numbers, itertools.repeat(2), chunksize=size, timeout=DEADLINE))
    assert both == [number**2 for number in numbers]
    pairs = [(1, 2), (3, 4)]
    assert list(pool.map(sum, pairs, chunksize=size, timeout=DEADLINE)) == [3, 7]


@pytest.mark.parametrize("size", SIZES)
def test_nothing_in_nothing_out(pool: ProcessPoolExecutor, size: Chunks) -> None:
    assert list(pool.map(abs, [], chunksize=size)) == []
    assert list(pool.map(abs, chunksize=size)) == []


@pytest.mark.parametrize("size", SIZES)
def test_an_exception_arrives_at_its_place(pool: ProcessPoolExecutor, size: Chunks) -> None:
    def stop_at_five(number: int) -> int:
        if number == 5:
            raise StopIteration
        return number

    taken: list[int] = []
    results = pool.map(stop_at_five, range(20), chunksize=size, timeout=DEADLINE)
    # As an iterator cannot raise it: it is not to be the end of the results.
    with pytest.raises(RuntimeError, match="StopIteration"):
        taken.extend(results)


@pytest.mark.parametrize("wrong", [0, -1])
def test_sizes_that_are_not_positive_are_refused(pool: ProcessPoolExecutor, wrong: int) -> None:
    with pytest.raises(ValueError, match="chunksize must be >= 1"):
        pool.map(abs, [1], chunksize=wrong)


def test_an_endless_iterable_needs_a_buffer_only(pool: ProcessPoolExecutor) -> None:
    seen: list[int] = []

    def numbers() -> Iterator[int]:
        for number in itertools.count():
            seen.append(number)
            yield number

    results = pool.map(abs, numbers(), chunksize=3, buffersize=12)
    assert list(itertools.islice(results, 9)) == list(range(9))
    assert len(seen) <= 9 + 12 + 3
    cast("Generator[int]", results).close()
    assert list(itertools.islice(results, 3)) == []


@pytest.mark.parametrize("options", [{}, {"ordered": False}, {"buffersize": 20}])
def test_what_is_closed_submits_no_more(pool: ProcessPoolExecutor, options: Any) -> None:
    for size in (1, 5):
        results = pool.map(abs, itertools.repeat(1, 1000), chunksize=size, **options)
        assert next(iter(results)) == 1
        cast("Generator[int]", results).close()
        assert len(list(results)) < size
