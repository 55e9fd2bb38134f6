"""`map` of a process pool: chunks change nothing but the cost."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Generator, Iterator
from types import SimpleNamespace
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


@pytest.mark.parametrize("wrong", [2.5, "7", None])
def test_sizes_that_are_no_numbers_are_refused(pool: ProcessPoolExecutor, wrong: Any) -> None:
    for mapping in (pool.map, pool.options(priority=1).map):
        with pytest.raises(TypeError) as raised:
            mapping(abs, [1], chunksize=wrong)
        assert str(raised.value) == f"chunksize must be an integer or 'auto', not {wrong!r}"


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


def test_chunks_of_a_buffer_grow_while_they_are_quick() -> None:
    with ProcessPoolExecutor(2) as pool:
        results = pool.map(abs, itertools.count(), buffersize=1000)
        assert list(itertools.islice(results, 50_000)) == list(range(50_000))
        cast("Generator[int]", results).close()
        assert pool.statistics().done < 10_000


def test_what_has_no_length_travels_in_chunks_too() -> None:
    with ProcessPoolExecutor(2) as pool:
        assert list(pool.map(abs, iter(range(50_000)))) == list(range(50_000))
        assert pool.statistics().done < 10_000


def test_options_choose_chunks_by_the_number_of_workers(pool: ProcessPoolExecutor) -> None:
    before = pool.statistics().done
    assert list(pool.options().map(abs, range(1024), chunksize="auto")) == list(range(1024))
    assert pool.statistics().done - before == 2 * 16 * 1
    assert list(pool.options().map(abs, range(64))) == list(range(64))
    assert pool.statistics().done - before == 32 + 64


class Bar:
    """A tqdm that shows nothing."""

    made: list[Bar]

    def __init__(self, total: int | None = None) -> None:
        self.total, self.count = total, 0
        self.made.append(self)

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self, n: int = 1) -> None:
        self.count += n


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    monkeypatch.setattr(Bar, "made", [], raising=False)
    monkeypatch.setitem(sys.modules, "tqdm", SimpleNamespace(tqdm=Bar))
    return Bar.made


@pytest.mark.parametrize("options", [{}, {"ordered": False}, {"buffersize": 100}], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_the_bar_counts_items(
    pool: ProcessPoolExecutor, bars: list[Bar], size: Chunks, options: dict[str, Any]
) -> None:
    results = pool.map(abs, range(1000), chunksize=size, progress=True, **options)
    assert sorted(results) == list(range(1000))
    assert [(bar.count, bar.total) for bar in bars] == [(1000, 1000)]


def test_the_bar_of_what_has_no_length_has_no_total(
    pool: ProcessPoolExecutor, bars: list[Bar]
) -> None:
    assert list(pool.map(abs, iter(range(100)), progress=True)) == list(range(100))
    assert [(bar.count, bar.total) for bar in bars] == [(100, None)]


def test_the_bar_that_is_shown(
    pool: ProcessPoolExecutor, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tqdm")
    assert len(list(pool.map(abs, range(1000), progress=True))) == 1000
    assert "1000/1000" in capsys.readouterr().err


ITEM = 8192


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("options", [{}, {"ordered": False}, {"chunksize": 5}], ids=str)
def test_an_endless_iterable_takes_bounded_memory(
    pool: ProcessPoolExecutor, options: dict[str, Any]
) -> None:
    items: Callable[[], Iterator[bytes]] = lambda: map(bytes, itertools.repeat(ITEM))  # noqa: E731
    results = pool.map(bytes, items(), buffersize=100, **options)
    assert sum(map(len, itertools.islice(results, 500))) == 500 * ITEM
    before = most = resident()
    for _ in range(40):
        assert sum(map(len, itertools.islice(results, 500))) == 500 * ITEM
        most = max(most, resident())
    cast("Generator[bytes]", results).close()
    # A tenth of what went by.
    assert most - before < 20_000 * ITEM / 10
