"""What the tests of `counterpoint.multiprocessing` share; its functions run in other processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from typing import Any

METHODS = ("fork", "forkserver", "spawn")


def ended() -> Iterator[None]:
    """Afterwards ends what the stdlib keeps running for its start methods."""
    yield
    forkserver._forkserver._stop()
    resource_tracker._resource_tracker._stop()


def hold_for_ever(lock: Any, held: Any) -> None:
    """Dies with the lock, by a signal."""
    lock.acquire()
    held.set()
    signal.pause()


def hold_permits(permits: Any, count: int, held: Any) -> None:
    """Dies with so many permits, by a signal."""
    for _ in range(count):
        permits.acquire()
    held.set()
    signal.pause()


def end_with_a_permit(permits: Any) -> None:
    """Does not return it."""
    assert permits.acquire() is True


def wait_for_a_permit(permits: Any, waiting: Any, answers: Any) -> None:
    """Says what it got, and returns it."""
    waiting.set()
    with permits as acquired:
        answers.put((type(acquired).__name__, getattr(acquired, "pid", None)))


def release_permit(permits: Any) -> None:
    """Returns one that it has not acquired."""
    permits.release()


def echo(requests: Any, replies: Any) -> None:
    """Returns what it is sent, until it is sent None."""
    for item in iter(requests.get, None):
        replies.put(item)


def produce(queue: Any, producer: int, count: int, size: int = 0) -> None:
    """Numbers its items."""
    for number in range(count):
        queue.put((producer, number, b"x" * size))


def produce_for_ever(queue: Any, producer: int, size: int) -> None:
    """The same, until it is killed."""
    number = 0
    while True:
        queue.put((producer, number, bytes([number % 256]) * size))
        number += 1


def consume_for_ever(queue: Any, into: Any) -> None:
    """Hands items on, until it is killed."""
    while True:
        into.put(queue.get())


def wait_at(condition: Any, waiting: Any, woken: Any) -> None:
    """Waits for one notification."""
    with condition:
        waiting.release()
        assert condition.wait(50)
    woken.release()


def wait_at_for_ever(condition: Any, waiting: Any) -> None:
    """The same, and is stopped before it can use it."""
    with condition:
        waiting.release()
        condition._waiters.wait(condition._waiters.enter(), None)


def pass_barrier(barrier: Any, places: Any) -> None:
    """Arrives, and says as which."""
    places.put(barrier.wait(50))


def use_everything(
    lock: Any, rlock: Any, semaphore: Any, event: Any, condition: Any, value: Any, queue: Any
) -> None:
    """Something with each."""
    with lock, rlock, rlock, semaphore, condition:
        condition.notify_all()
    with value.get_lock():
        value.value += 1
    event.set()
    queue.put(os.getpid())


_given: Any = None


def keep(*given: Any) -> None:
    """An initializer."""
    global _given
    _given = given


def use_kept(number: int) -> int:
    """A task that uses what the initializer was given."""
    lock, queue, value = _given
    with lock:
        value.value += number
    queue.put(number)
    return os.getpid()


def square(number: int) -> int:
    """A task."""
    return number * number


def fail(number: int) -> int:
    """A task that raises."""
    raise ValueError(number)


def exit_hard(number: int) -> int:
    """A task whose process dies."""
    os._exit(number)
