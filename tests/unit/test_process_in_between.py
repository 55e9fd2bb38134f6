"""What another thread, or a signal's handler, does in between is neither lost nor in the way."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from counterpoint import multiprocessing
from counterpoint._multiprocessing.results import MapResult
from counterpoint._process import ending, sharing
from counterpoint._process.supervisor import Employed, Supervisor
from counterpoint.futures import Future, share
from tests.unit import processes

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

_ended = pytest.fixture(scope="module", autouse=True)(processes.ended)


def once(act: Callable[[], object]) -> Callable[[], None]:
    """It, the first time."""
    acts = [act]

    def call() -> None:
        while acts:
            acts.pop()()

    return call


@contextlib.contextmanager
def in_between(lines: int, act: Callable[[], object]) -> Iterator[list[int]]:
    """Acts as a signal's handler may, before the line of this number that the block runs.

    Yields:
        What is empty once that line was reached.
    """
    left = [lines]

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if event == "line" and left:
            left[0] -= 1
            if not left[0]:
                left.clear()
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield left
    finally:
        sys.settrace(before)


class Looked(MapResult):
    """One at whose futures somebody looks, and acts just then, when it is looked at so often."""

    looks = -1
    act: Callable[[], object] = staticmethod(lambda: None)

    @property
    def _futures(self) -> Any:
        self.looks -= 1
        if self.looks == 0:
            self.act()
        return self.now

    @_futures.setter
    def _futures(self, futures: Any) -> None:
        self.now = futures


@pytest.mark.parametrize("looks", [1, 2, 3])
def test_a_result_that_another_thread_collects_meanwhile_is_the_same(looks: int) -> None:
    future: Future[list[int]] = Future()
    future.set_result([1, 2])
    results = Looked([future], None, None)
    seen: list[Any] = []
    results.looks, results.act = looks, lambda: seen.append(results.get())
    assert results.get() == [1, 2]
    assert seen[0] is results.get()
    assert results.now == ()


class Slow:
    """An input that is being read, and of which somebody asks whether it is."""

    def __init__(self, asked: Callable[[], None]) -> None:
        self.asked = asked

    @property
    def is_submitted(self) -> bool:
        self.asked()
        return True


def test_an_input_whose_reading_begins_meanwhile_is_read_to_its_end() -> None:
    with multiprocessing.Pool(1) as pool:
        results: list[Iterator[int]] = []

        def read() -> None:
            results.append(pool.imap(abs, range(-100, 0)))

        pool._reading.add(Slow(once(read)))  # type: ignore[arg-type]
        read()
        pool.close()
        pool.join()
        assert not pool._reading
        for each in results:
            assert list(each) == list(range(100, 0, -1))


_in_between: list[Callable[[], object]] = []


class Acting:
    """Somebody acts while one is unpickled, the first time."""

    def __reduce__(self) -> Any:
        return _acted, ()


def _acted() -> Acting:
    while _in_between:
        _in_between.pop()()
    return Acting()


def test_a_shared_object_that_is_wanted_twice_at_once_is_one() -> None:
    shared, seen = share(Acting()), []
    _in_between.append(lambda: seen.append(shared.get()))
    assert shared.get() is seen[0]
    assert shared.get() is seen[0]


def test_what_is_closed_while_it_is_unpacked_is_not_kept() -> None:
    shared = share(Acting())
    _in_between.append(shared.close)
    assert isinstance(shared.get(), Acting)
    with pytest.raises(ValueError, match="closed"):
        shared.get()


class Arriving:
    """What arrived, while more comes."""

    fd = -1

    @property
    def value(self) -> None:
        sharing._arrivals[max(sharing._arrivals) + 1] = self  # type: ignore[assignment]


def test_parcels_arrive_while_one_looks_for_an_object(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "_arrivals", {1: Arriving(), 2: Arriving()})
    assert sharing.arrival_of(object()) is None
    assert len(sharing._arrivals) == 4


def hire_two(employed: int, lines: int) -> list[int]:
    """The places of two workers, one of which is hired before that line of hiring the other."""
    nothing: Any = None
    supervisor = Supervisor(nothing, nothing)
    for number in range(employed):
        supervisor.employed[number] = Employed(nothing, number, nothing)
    places: list[int] = []
    with in_between(lines, lambda: places.append(supervisor._take_place(11))):
        places.append(supervisor._take_place(10))
    return places


@pytest.mark.parametrize("employed", [0, 2])
def test_workers_that_are_hired_at_once_have_places_of_their_own(employed: int) -> None:
    lines = 1
    while len(places := hire_two(employed, lines)) == 2:
        assert sorted(places) == [employed, employed + 1]
        lines += 1
    assert lines > 5


class Ending:
    """A pool, as the interpreter's end sees it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def close(self, cancel: bool) -> None:
        self.calls.append("close")

    def wait_for_end(self) -> None:
        self.calls.append("wait")


def end_while_one_is_made(monkeypatch: pytest.MonkeyPatch, lines: int) -> bool:
    """Whether the end has so many lines; before that one, two pools are made."""
    monkeypatch.setattr(ending, "_pools", ending._Pools())
    monkeypatch.setattr(ending, "_left", {})
    pools: Any = [Ending() for _ in range(6)]
    for pool in pools[:2]:
        ending.remember(pool)
    ending._left.update(dict.fromkeys(pools[2:4], pools[3]))

    def make() -> None:
        ending.remember(pools[4])
        ending._left[pools[5]] = pools[5]

    with in_between(lines, make) as left:
        ending._end()
    for pool in (*pools[:2], pools[3]):
        assert pool.calls == ["close", "wait"]
    return not left


def test_pools_are_made_while_the_interpreter_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "_is_interrupted", lambda: False)
    lines = 1
    while end_while_one_is_made(monkeypatch, lines):
        lines += 1
    assert lines > 5
