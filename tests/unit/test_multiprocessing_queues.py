"""Queues between processes."""

from __future__ import annotations

import gc
import itertools
import os
import queue as stdlib_queue
import random
import signal
import threading
from typing import Any

import pytest

from counterpoint import multiprocessing
from counterpoint.queue import ShutDown
from tests.support import DEADLINE
from tests.unit import processes

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

_ended = pytest.fixture(scope="module", autouse=True)(processes.ended)


class Weird:
    """A value of a class of its own."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Weird) and other.number == self.number

    __hash__ = None


VALUES = [
    None,
    True,
    -5,
    2**80,
    1.5,
    "text",
    "tëxt\U0001f600" * 50,
    b"bytes",
    b"b" * 20_000,
    os.urandom(100_000),
    bytearray(b"a" * 70_000),
    (1, [2, {"three": 4}]),
    ["x" * 1000] * 100,
    list(range(20_000)),
    [b"z" * 200_000, b"y" * 65_536],
    Weird(7),
    ValueError("seven"),
]


@pytest.fixture
def fork() -> Any:
    """The fastest start method."""
    return multiprocessing.get_context("fork")


@pytest.mark.parametrize("method", processes.METHODS)
def test_every_value_arrives_as_it_was(method: str) -> None:
    context = multiprocessing.get_context(method)
    requests, replies = context.Queue(), context.SimpleQueue()
    process = context.Process(target=processes.echo, args=(requests, replies))
    process.start()
    for value in VALUES:
        if value is not None:
            requests.put(value)
    for value in VALUES[1:]:
        got = replies.get(timeout=DEADLINE)
        assert type(got) is type(value)
        if isinstance(value, Exception):
            assert repr(got) == repr(value)
        else:
            assert got == value
    requests.put(None)
    process.join()


def test_arrays_come_writable_and_are_the_receivers_own() -> None:
    numpy = pytest.importorskip("numpy")
    queue = multiprocessing.Queue()
    sent = numpy.arange(100_000)
    for _ in range(20):
        queue.put(sent)
        queue.put({"a": sent, "b": 1})
    for _ in range(20):
        first, second = queue.get(), queue.get()["a"]
        first[0] = 7
        assert (second == sent).all()
        assert first[0] == 7
        assert (first[1:] == sent[1:]).all()


def test_what_cannot_be_pickled_raises_and_nothing_is_put() -> None:
    queue = multiprocessing.Queue(maxsize=2)
    with pytest.raises(TypeError, match="cannot pickle"):
        queue.put(threading.Lock())
    with pytest.raises(TypeError, match="cannot pickle"):
        queue.put_many([1, threading.Lock()])
    queue.put(2)
    assert queue.get_many(5) == [2]


class Refuses:
    """Cannot be unpickled."""

    def __reduce__(self) -> Any:
        return processes.fail, (5,)


def test_what_cannot_be_unpickled_raises_and_the_queue_goes_on() -> None:
    queue = multiprocessing.Queue()
    queue.put(Refuses())
    queue.put("next")
    with pytest.raises(ValueError, match="5"):
        queue.get()
    assert queue.get() == "next"


def test_a_value_may_use_the_queue_while_it_is_pickled() -> None:
    queue = multiprocessing.Queue()

    class Nested:
        def __reduce__(self) -> Any:
            queue.put("inner")
            return str, ("outer",)

    queue.put(Nested())
    assert queue.get_many(5) == ["inner", "outer"]


def test_a_bounded_queue_is_full_and_empty() -> None:
    queue = multiprocessing.Queue(maxsize=3)
    queue.put_many([1, 2])
    assert not queue.full()
    queue.put(3)
    assert (queue.full(), queue.qsize(), queue._maxsize) == (True, 3, 3)
    for call in (queue.put_nowait, lambda item: queue.put(item, True, 0.01)):
        with pytest.raises(stdlib_queue.Full):
            call(4)
    with pytest.raises(stdlib_queue.Full):
        queue.put_many([4, 5], timeout=0.01)
    assert queue.get_many(2) == [1, 2]
    assert queue.get() == 3
    for empty in (queue.get_nowait, lambda: queue.get(True, 0.01)):
        with pytest.raises(stdlib_queue.Empty):
            empty()
    with pytest.raises(stdlib_queue.Empty):
        queue.get_many(3, timeout=0.01)
    for most in (0, -1):
        with pytest.raises(ValueError, match=f"^max must be at least 1, not {most}$"):
            queue.get_many(most)


def test_any_number_is_put_without_a_consumer() -> None:
    queue = multiprocessing.Queue()
    queue.put_many(range(300_000))
    assert queue.qsize() == 300_000
    got = itertools.chain.from_iterable(queue.get_many(1000) for _ in range(300))
    assert list(got) == list(range(300_000))


def test_each_producers_items_arrive_in_its_order(fork: Any) -> None:
    queue = fork.Queue(maxsize=50)
    producers = [
        fork.Process(target=processes.produce, args=(queue, producer, 2_000, 10 * producer))
        for producer in range(4)
    ]
    for process in producers:
        process.start()
    seen = [0] * 4
    for _ in range(8_000):
        producer, number, _ = queue.get(timeout=DEADLINE)
        assert number == seen[producer]
        seen[producer] += 1
    for process in producers:
        process.join()
    assert queue.empty()


@pytest.mark.parametrize("size", [10, 100_000])
def test_the_killed_neither_block_nor_damage_a_queue(fork: Any, size: int) -> None:
    queue, out = fork.Queue(maxsize=20), fork.Queue()
    chance = random.Random(size)
    numbers = itertools.count()

    def start(role: int) -> Any:
        if role % 2:
            arguments = (queue, next(numbers), size)
            process = fork.Process(target=processes.produce_for_ever, args=arguments)
        else:
            process = fork.Process(target=processes.consume_for_ever, args=(queue, out))
        process.start()
        return process

    running = [start(role) for role in range(4)]
    seen = set()
    for round in range(60):
        for _ in range(chance.randrange(30)):
            producer, number, content = out.get(timeout=DEADLINE)
            assert content == bytes([number % 256]) * size
            assert (producer, number) not in seen
            seen.add((producer, number))
        role = round % 4
        os.kill(running[role].pid, signal.SIGKILL)
        running[role].join()
        running[role] = start(role)
    for process in running:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    while not queue.empty():
        queue.get(timeout=DEADLINE)
    queue.put("usable")
    assert queue.get(timeout=DEADLINE) == "usable"


def test_shut_down_ends_waits_and_iteration(fork: Any) -> None:
    queue, replies = fork.Queue(), fork.Queue()
    process = fork.Process(target=lambda: replies.put(list(queue)))
    process.start()
    queue.put_many("abc")
    queue.shutdown()
    assert replies.get(timeout=DEADLINE) == ["a", "b", "c"]
    process.join()
    with pytest.raises(ShutDown):
        queue.put(1)
    with pytest.raises(ShutDown):
        queue.get()
    assert queue.is_shutdown


def test_shut_down_at_once_drops_what_there_is() -> None:
    queue = multiprocessing.JoinableQueue()
    queue.put_many([b"x" * 100_000] * 5)
    queue.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        queue.get()
    assert queue.join(DEADLINE)


def test_a_joinable_queue_knows_what_is_done(fork: Any) -> None:
    queue = fork.JoinableQueue()

    def work() -> None:
        for _ in iter(queue.get, None):
            queue.task_done()

    process = fork.Process(target=work)
    queue.put_many(range(100))
    assert queue.join(0.01) is False
    process.start()
    assert queue.join(DEADLINE) is True
    queue.put(None)
    process.join()
    queue.task_done()
    with pytest.raises(ValueError, match="too many times"):
        queue.task_done()


def test_a_closed_queue_refuses_this_process_alone(fork: Any) -> None:
    queue = fork.Queue()
    with pytest.raises(AssertionError, match="not closed"):
        queue.join_thread()
    process = fork.Process(target=queue.put, args=("theirs",))
    process.start()
    process.join()
    other = fork.Process(target=lambda: queue.close())
    other.start()
    other.join()
    assert queue.get(timeout=DEADLINE) == "theirs"
    queue.close()
    queue.join_thread()
    queue.cancel_join_thread()
    for call in (queue.get, lambda: queue.put(1), lambda: queue.get_many(2)):
        with pytest.raises(ValueError, match="is closed"):
            call()


def test_threads_of_one_process_share_a_queue() -> None:
    queue = multiprocessing.Queue(maxsize=7)
    got: list[Any] = []
    lock = threading.Lock()

    def take() -> None:
        for item in iter(queue.get, None):
            with lock:
                got.append(item)

    takers = [threading.Thread(target=take) for _ in range(3)]
    putters = [
        threading.Thread(target=processes.produce, args=(queue, producer, 500, 70_000 * producer))
        for producer in range(2)
    ]
    for thread in takers + putters:
        thread.start()
    for thread in putters:
        thread.join()
    queue.put_many([None] * 3)
    for thread in takers:
        thread.join()
    assert sorted(item[:2] for item in got) == [(p, n) for p in range(2) for n in range(500)]


def test_no_descriptor_and_no_memory_is_left() -> None:
    def make() -> None:
        queue = multiprocessing.Queue()
        queue.put(b"x" * 1_000_000)
        queue.get()
        multiprocessing.Condition(), multiprocessing.Event()

    make()
    gc.collect()  # what earlier tests have left in cycles
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        make()
    assert len(os.listdir("/proc/self/fd")) == before
