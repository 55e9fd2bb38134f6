"""Locks, semaphores, conditions, events, barriers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat

from benches.vs.case import Case, Demand, Run, Sample, Work, in_one_thread, in_threads
from benches.vs.libraries import Factory
from benches.vs.subjects import BarrierSubject, ConditionSubject, EventSubject, LockSubject


def acquire_release(lock: LockSubject, n: int) -> None:
    acquire, release = lock.acquire, lock.release
    for _ in repeat(None, n):
        acquire()
        release()


def with_lock(lock: LockSubject, n: int) -> None:
    manager = lock.manager
    for _ in repeat(None, n):
        with manager:
            pass


def with_condition(condition: ConditionSubject, n: int) -> None:
    for _ in repeat(None, n):
        with condition:
            pass


def contend(count: int) -> Callable[[LockSubject, int], list[Work]]:
    """Threads that acquire and release one lock."""

    def divide(lock: LockSubject, n: int) -> list[Work]:
        return [partial(acquire_release, lock, n // count) for _ in range(count)]

    return divide


def condition_ping_pong(condition: ConditionSubject, n: int) -> list[Work]:
    """Two threads take turns; an operation is one turn of both."""
    turn = [0]

    def play(me: int) -> None:
        with condition:
            for _ in repeat(None, n):
                while turn[0] != me:
                    condition.wait()
                turn[0] = 1 - me
                condition.notify()

    return [partial(play, 0), partial(play, 1)]


def event_ping_pong(make: Callable[[], EventSubject], n: int) -> list[Work]:
    """Two threads wake each other with an event each."""
    ping, pong = make(), make()

    def play(mine: EventSubject, other: EventSubject) -> None:
        wait, clear, wake = mine.wait, mine.clear, other.set
        for _ in repeat(None, n):
            wait()
            clear()
            wake()

    ping.set()
    return [partial(play, ping, pong), partial(play, pong, ping)]


def meet(parties: int) -> Callable[[BarrierSubject, int], list[Work]]:
    """Threads that meet again and again; an operation is one meeting."""

    def attend(barrier: BarrierSubject, n: int) -> None:
        wait = barrier.wait
        for _ in repeat(None, n):
            wait()

    def divide(barrier: BarrierSubject, n: int) -> list[Work]:
        return [partial(attend, barrier, n) for _ in range(parties)]

    return divide


def in_threads_with_factory(divide: Callable[[Callable[[], EventSubject], int], list[Work]]) -> Run:
    """For a case that makes more than one subject."""

    def run(factory: Factory, n: int) -> Sample:
        return in_threads(divide)(lambda: factory, n)

    return run


def uncontended(name: str, times: float, times_with: float) -> tuple[Case, Case]:
    """The two ways to hold a lock for nothing."""
    lower = name.lower()
    calls, block = in_one_thread(acquire_release), in_one_thread(with_lock)
    return (
        Case(lower, f"{name}, acquire + release", name, calls, (Demand(times),), clock="cpu"),
        Case(f"{lower}-with", f"with {name}", name, block, (Demand(times_with),), clock="cpu"),
    )


CASES = (
    *uncontended("Lock", 1, 1),
    *uncontended("RLock", 1, 1),
    *uncontended("Semaphore", 10, 1),
    Case(
        "condition-with",
        "with Condition",
        "Condition",
        in_one_thread(with_condition),
        (Demand(2),),
        clock="cpu",
    ),
    Case(
        "lock-2t",
        "Lock, acquire + release in 2 threads",
        "Lock",
        in_threads(contend(2)),
        step=2,
    ),
    Case(
        "condition-ping-pong",
        "Condition, ping-pong of 2 threads",
        "Condition",
        in_threads(condition_ping_pong),
        (Demand(1.5),),
    ),
    Case(
        "event-ping-pong",
        "Event, ping-pong of 2 threads",
        "Event",
        in_threads_with_factory(event_ping_pong),
        (Demand(1.5),),
    ),
    *(
        Case(
            f"barrier-{parties}",
            f"Barrier, {parties} threads meet",
            "Barrier",
            in_threads(meet(parties), parties),
            (Demand(2),),
        )
        for parties in (2, 4)
    ),
)
