"""What another thread, or a signal's handler, does in between is neither lost nor in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from counterpoint import multiprocessing
from counterpoint._multiprocessing.results import MapResult
from counterpoint._process import sharing
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
