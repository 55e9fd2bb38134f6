"""Queues, from threads."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import repeat

from benches.vs.case import Case, Demand, Work, in_one_thread, in_threads
from benches.vs.subjects import QueueSubject

# The C SimpleQueue does less: no size limit, no task_done, no shutdown. It is the floor.
C_SIMPLE_QUEUE = {"C SimpleQueue": ("stdlib", "SimpleQueue")}


def put_get(queue: QueueSubject, n: int) -> None:
    put, get = queue.put, queue.get
    for _ in repeat(None, n):
        put(1)
        get()


def put_get_half_full(queue: QueueSubject, n: int) -> None:
    """The same with a thousand items in it, of mixed priorities."""
    put, get = queue.put, queue.get
    for i in range(1000):
        put(i * 7919 % 1000)
    for i in range(n):
        put(i % 1000)
        get()


def produce(queue: QueueSubject, n: int) -> None:
    put = queue.put
    for _ in repeat(None, n):
        put(1)


def consume(queue: QueueSubject, n: int) -> None:
    get = queue.get
    for _ in repeat(None, n):
        get()


def pairs(count: int) -> Callable[[QueueSubject, int], list[Work]]:
    """As many producers as consumers, each with its share of the items."""

    def divide(queue: QueueSubject, n: int) -> list[Work]:
        share = n // count
        works: list[Work] = []
        for _ in range(count):
            works += [partial(consume, queue, share), partial(produce, queue, share)]
        return works

    return divide


CASES = (
    Case(
        "queue-1t",
        "Queue, put + get in one thread",
        "Queue",
        in_one_thread(put_get),
        (Demand(15), Demand(1 / 1.5, "C SimpleQueue")),
        clock="cpu",
        also=C_SIMPLE_QUEUE,
    ),
    Case(
        "lifo-1t",
        "LifoQueue, put + get in one thread",
        "LifoQueue",
        in_one_thread(put_get),
        (Demand(15),),
        clock="cpu",
    ),
    Case(
        "priority-1t",
        "PriorityQueue, put + get in one thread",
        "PriorityQueue",
        in_one_thread(put_get),
        (Demand(8),),
        clock="cpu",
    ),
    Case(
        "priority-1000",
        "PriorityQueue, the same with 1,000 items in it",
        "PriorityQueue",
        in_one_thread(put_get_half_full),
        clock="cpu",
        base=1000,
    ),
    Case(
        "simple-1t",
        "SimpleQueue, put + get in one thread",
        "SimpleQueue",
        in_one_thread(put_get),
        (Demand(0.9),),
        clock="cpu",
    ),
    Case(
        "queue-1x1",
        "Queue, 1 producer and 1 consumer thread",
        "Queue",
        in_threads(pairs(1)),
        (Demand(12),),
        also=C_SIMPLE_QUEUE,
    ),
    Case(
        "queue-1x1-bounded",
        "Queue(16), 1 producer and 1 consumer thread",
        "Queue",
        in_threads(pairs(1), 16),
        (Demand(4),),
    ),
    Case(
        "queue-4x4",
        "Queue, 4 producers and 4 consumers",
        "Queue",
        in_threads(pairs(4)),
        (Demand(10),),
        step=4,
        also=C_SIMPLE_QUEUE,
    ),
)
