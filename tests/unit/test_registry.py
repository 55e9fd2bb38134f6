"""The registry: sites, grouping, what the dead leave behind, and that observing limits itself."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from counterpoint._observe import registry
from counterpoint._observe.rows import HOMES
from counterpoint._statistics import (
    ExecutorStatistics,
    LockStatistics,
    QueueStatistics,
    WaitStatistics,
)

NONE = WaitStatistics(0, 0.0, 0.0, 0.0, 0.0)


class FakeMeter:
    """A meter in Python, as the registry's docstring asks for."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name
        self.numbers: dict[str, int] = {}
        self.times: dict[str, list[float]] = {}

    def counts(self) -> dict[str, int]:
        return dict(self.numbers)

    def waits(self, which: str) -> WaitStatistics:
        times = sorted(self.times.get(which, ()))
        if not times:
            return NONE
        middle, most = times[len(times) // 2], times[-1]
        return WaitStatistics(len(times), sum(times), middle, most, most)

    def _histogram(self, which: str) -> list[tuple[float, int]]:
        times = self.times.get(which, ())
        return [(max(times), len(times))] if times else []


def merge(meters: list[FakeMeter]) -> FakeMeter:
    merged = FakeMeter(meters[0].name)
    for meter in meters:
        for key, number in meter.numbers.items():
            known = merged.numbers.get(key, 0)
            merged.numbers[key] = max(known, number) if key.startswith("max") else known + number
        for key, times in meter.times.items():
            merged.times.setdefault(key, []).extend(times)
    return merged


class FakeCore:
    """The two functions of the native core that the registry calls."""

    observer: Callable[[object], None] | None = None
    merge_meters = staticmethod(merge)

    def set_observer(self, observer: Callable[[object], None] | None) -> None:
        self.observer = observer


CORE = FakeCore()


def _init(self: Observed, name: str | None = None) -> None:
    self.meter = FakeMeter(name)
    if CORE.observer is not None:
        CORE.observer(self)


class Observed:
    """An object whose constructor reports it, and leaves no frame outside our package."""

    meter: FakeMeter
    __init__ = _init
    _init.__code__ = _init.__code__.replace(co_filename=registry.__file__)

    @property
    def _meter(self) -> FakeMeter:
        return self.meter


class Lock(Observed):
    def statistics(self) -> LockStatistics:
        return LockStatistics(None, None, 2, NONE)


class Queue(Observed):
    def statistics(self) -> QueueStatistics:
        return QueueStatistics(None, 3, 0, 4, 0, 0, 0, NONE, NONE, 1, 2)


class ThreadPoolExecutor(Observed):
    def statistics(self) -> ExecutorStatistics:
        return ExecutorStatistics(None, 0, 4, 1, 2, 0, 0, 0, NONE, NONE, 0.0, (), ())


for _class in (Lock, Queue, ThreadPoolExecutor):
    _class.__module__ = HOMES[_class.__name__]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(registry, "_core", CORE)
    registry.clear()
    registry.enable()
    yield
    registry.disable()
    registry.clear()


def line_here() -> int:
    return sys._getframe(1).f_lineno


def test_a_row_tells_kind_site_and_number() -> None:
    kept = [Lock() for _ in range(3)]
    line = line_here() - 1
    (row,) = registry.snapshot()
    assert row[:4] == ("Lock", None, f"{__file__}:{line}", 3)
    assert row.statistics == LockStatistics(None, None, 2 * len(kept), NONE)


def test_two_lines_are_two_rows_in_order() -> None:
    kept = [Lock()]
    kept.append(Lock())
    sites = [row.site for row in registry.snapshot()]
    assert len(set(sites)) == len(kept)
    assert sites == sorted(sites)


def test_a_subclass_counts_as_what_it_derives_from() -> None:
    class Mine(Queue):
        pass

    mine = Mine()
    assert [row.kind for row in registry.snapshot()] == ["Queue"]
    del mine


def test_what_the_dead_counted_is_kept() -> None:
    def use(seconds: float, name: str) -> None:
        queue = Queue(name)
        queue._meter.numbers |= {"puts": 2, "gets": 1, "max_size": int(seconds * 10), "maxsize": 7}
        queue._meter.times["put_waits"] = [seconds]

    for seconds in (0.5, 0.1, 0.9):
        use(seconds, "jobs")
    gc.collect()
    (row,) = registry.snapshot()
    assert row.objects == 3
    assert row.name == "jobs"
    assert isinstance(row.statistics, QueueStatistics)
    assert row.statistics[1:7] == (0, 7, 0, 6, 3, 9)
    assert row.statistics.put_waits == WaitStatistics(3, 1.5, 0.5, 0.9, 0.9)
    assert registry.snapshot() == [row]


def test_an_executors_utilisation_is_busy_time_over_capacity() -> None:
    pools = [ThreadPoolExecutor("a"), ThreadPoolExecutor("a")]
    for pool in pools:
        pool._meter.numbers |= {"max_workers": 4, "done": 5, "busy_ns": 300, "capacity_ns": 400}
    first, second = registry.snapshot()[0], registry.snapshot()[-1]
    assert isinstance(first.statistics, ExecutorStatistics)
    assert first.statistics.utilisation == 0.75
    assert first.statistics.max_workers == 4
    assert first.statistics.workers == second.statistics[2]


def test_names_that_differ_are_left_out() -> None:
    kept = [ThreadPoolExecutor(name) for name in ("a", "b")]
    assert [row.name for row in registry.snapshot()] == [None]
    del kept


def test_a_million_dead_cost_no_memory() -> None:
    for _ in range(5000):
        Lock()
    assert len(registry._state.incoming) <= registry._SWEEP_AT_LEAST
    (group,) = registry._state.groups.values()
    assert len(group.alive) <= 1
    (row,) = registry.snapshot()
    assert row.objects + registry.cost().unobserved == 5000


def test_observing_limits_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FREE_NS", -(10**12))
    kept = [Lock() for _ in range(10)]
    assert registry.snapshot() == []
    assert registry.cost().unobserved == len(kept)


def test_disabled_it_sees_nothing_and_keeps_what_it_saw() -> None:
    first = Lock()
    registry.disable()
    second = Lock()
    assert len(registry.snapshot()) == 1
    first._meter.times["waits"] = [0.25]
    (row,) = registry.snapshot()
    assert row.statistics.waits.count == 1  # type: ignore[union-attr]
    del first, second


def test_the_event_of_a_thread_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Event(Lock):
        __module__ = HOMES["Event"]

    monkeypatch.setattr(threading, "Event", Event)
    thread = threading.Thread(target=int)
    assert isinstance(thread._started, Event)  # type: ignore[attr-defined]
    assert registry.snapshot() == []
    timer = threading.Timer(60, int)  # its own event is of interest, and the site is here
    line = line_here() - 1
    assert [row.site for row in registry.snapshot()] == [f"{__file__}:{line}"]
    del timer


def test_what_cannot_be_observed_harms_nobody() -> None:
    class Slotted:
        __slots__ = ()
        _meter = property(lambda _: FakeMeter())

    class Lock(Observed):
        __module__ = HOMES["Lock"]

        @property
        def _meter(self) -> FakeMeter:
            raise OSError

    Slotted.__module__, Slotted.__name__ = HOMES["Queue"], "Queue"
    registry.created(Slotted())  # type: ignore[arg-type]
    registry.created(object())  # type: ignore[arg-type]
    Lock()
    assert registry.snapshot() == []
    assert registry.cost().unobserved == 3


def test_the_name_of_a_program_s_class_means_nothing() -> None:
    class Semaphore(Queue):
        pass

    class Barrier(Semaphore):
        @property
        def _meter(self) -> Any:
            raise KeyError

        def statistics(self) -> Any:
            raise KeyError

    kept = Semaphore(), Barrier()
    (row,) = registry.snapshot()
    assert (row.kind, row.objects, row.statistics[1]) == ("Queue", 2, 3 * len(kept))


def test_one_row_that_fails_costs_no_other() -> None:
    class Failing(FakeMeter):
        def waits(self, which: str) -> WaitStatistics:
            raise KeyError(which)

    kept = [Lock(), Queue()]
    kept[0].meter = Failing()
    for _ in range(2):
        assert [row.kind for row in registry.snapshot()] == ["Queue"]
        assert registry.cost().unobserved == 1


def test_statistics_that_fail_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Queue) -> QueueStatistics:
        raise RuntimeError

    monkeypatch.setattr(Queue, "statistics", fail)
    broken = Queue()
    broken._meter.numbers["puts"] = 1
    (row,) = registry.snapshot()
    assert isinstance(row.statistics, QueueStatistics)
    assert row.statistics.puts == 1
    assert row.statistics.size == 0


def test_objects_made_by_finalizers_during_a_sweep() -> None:
    kept: list[Lock] = []

    class Trap:
        def __del__(self) -> None:
            kept.append(Lock())

    class Tripping(FakeMeter):
        def counts(self) -> dict[str, int]:
            trap: list[object] = [Trap()]
            trap.append(trap)
            del trap
            gc.collect()
            return super().counts()

    queue = Queue.__new__(Queue)
    queue.meter = Tripping()
    registry.created(queue)
    assert {row.kind for row in registry.snapshot()} == {"Queue"}
    assert len(kept) == 1
    assert {row.kind for row in registry.snapshot()} == {"Queue", "Lock"}


def test_a_snapshot_from_inside_the_registry_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Impatient:
        @contextlib.contextmanager
        def held(self, timeout: float) -> Iterator[bool]:
            assert timeout > 0
            yield False

    monkeypatch.setattr(registry._state, "sweeping", Impatient())
    with pytest.raises(RuntimeError, match="outside finalizers"):
        registry.snapshot()


def lock_in_threads(count: int) -> None:
    """Make so many locks in each of four threads at once."""

    def work() -> None:
        for _ in range(count):
            Lock()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_many_threads_at_once() -> None:
    lock_in_threads(500)
    total = sum(row.objects for row in registry.snapshot())
    assert total + registry.cost().unobserved == 2000


def test_what_many_threads_make_unobserved_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_FREE_NS", -(10**18))
    lock_in_threads(20_000)
    assert registry.cost().unobserved == 80_000


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_stops_observing() -> None:
    kept = Lock()
    child = os.fork()
    if child == 0:
        os._exit(10 * len(registry.snapshot()) + (CORE.observer is not None))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(registry.snapshot()) == 1
    assert CORE.observer is not None
    del kept


def test_nothing_is_kept_alive() -> None:
    lock = Lock()
    gone = weakref.ref(lock)
    registry.snapshot()
    del lock
    assert gone() is None
