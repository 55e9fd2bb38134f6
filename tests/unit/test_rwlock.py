"""`RWLock`: readers together, writers alone, in both modes, as threads and as tasks."""

from __future__ import annotations

import asyncio
import re
import threading as stdlib
from typing import Any, Literal

import pytest

from counterpoint.threading import DeadlockError, RWLock
from tests.support import DEADLINE, eventually, loops, result, run_async, spawn

Mode = Literal["writer", "fair"]
modes = pytest.mark.parametrize("mode", ["writer", "fair"])


@modes
def test_readers_share_and_a_writer_is_alone(mode: Mode) -> None:
    lock = RWLock(mode)
    with lock.read_lock:
        assert run_async(lock.read_lock.async_acquire())
        assert result(spawn(lock.write_lock.acquire, False)) is False
        assert run_async(lock.write_lock.async_acquire(0)) is False

        async def read() -> int:
            async with lock.read_lock:
                return lock.readers

        assert run_async(read()) == 3
    assert lock.read_lock.locked()


@modes
def test_the_writer_keeps_everyone_out(mode: Mode) -> None:
    lock = RWLock(mode)
    with lock.write_lock:
        assert lock.owner == stdlib.get_ident()
        assert lock.write_lock.locked()
        assert not lock.read_lock.locked()
        for side in lock.read_lock, lock.write_lock:
            assert result(spawn(side.acquire, True, 0.001)) is False
            assert run_async(side.async_acquire(0.001)) is False
    assert lock.owner is None


@modes
def test_a_waiting_writer_keeps_new_readers_out(mode: Mode) -> None:
    lock, order = RWLock(mode), []

    def write() -> None:
        with lock.write_lock:
            order.append("writer")

    async def read() -> None:
        async with lock.read_lock:
            order.append("reader")

    lock.read_lock.acquire()
    with loops() as [loop]:
        writing = spawn(write)
        eventually(lambda: lock.waiters == 1)
        reading = loop.start(read())
        eventually(lambda: lock._waiting() == (1, 1))
        # A reader that is in may read again; it would wait for itself otherwise.
        with lock.read_lock:
            assert lock.readers == 1
        lock.read_lock.release()
        result(writing), result(reading)
    assert order == ["writer", "reader"]


@modes
@pytest.mark.parametrize("how", ["timeout", "cancel"])
def test_a_writer_that_gives_up_lets_in_the_readers_behind_it(mode: Mode, how: str) -> None:
    lock = RWLock(mode)
    lock.read_lock.acquire()
    with loops() as [loop]:
        writing = loop.start(lock.write_lock.async_acquire(None if how == "cancel" else 0.3))
        eventually(lambda: lock.waiters == 1 or writing.done())
        reading = spawn(lock.read_lock.acquire)
        eventually(lambda: lock.waiters == 2 or reading.done())
        if how == "cancel":
            writing.cancel()
        assert result(reading)
    assert lock.readers == 2


@modes
def test_what_could_only_wait_for_itself_is_refused(mode: Mode) -> None:
    lock = RWLock(mode)
    with lock.read_lock:
        with pytest.raises(RuntimeError, match="cannot upgrade a read lock to a write lock"):
            lock.write_lock.acquire()
    with lock.write_lock:
        with pytest.raises(RuntimeError, match="it is not reentrant"):
            lock.write_lock.acquire()
        with pytest.raises(RuntimeError, match=re.escape("use downgrade()")):
            lock.read_lock.acquire()

    async def main() -> None:
        async with lock.read_lock:
            with pytest.raises(RuntimeError, match="cannot upgrade"):
                await lock.write_lock.async_acquire()
            with pytest.raises(RuntimeError, match="cannot upgrade"):
                lock.write_lock.acquire()
        async with lock.write_lock:
            with pytest.raises(RuntimeError, match="it is not reentrant"):
                await lock.write_lock.async_acquire()
            with pytest.raises(DeadlockError, match=re.escape(repr(asyncio.current_task())[:12])):
                lock.read_lock.acquire()

    run_async(main())
    assert (lock.readers, lock.owner, lock.waiters) == (0, None, 0)


@modes
def test_a_downgrade_lets_readers_in_and_no_writer(mode: Mode) -> None:
    lock = RWLock(mode)
    with loops() as [loop], lock.write_lock:
        waiting = loop.start(lock.read_lock.async_acquire())
        eventually(lambda: lock.waiters == 1)
        lock.write_lock.downgrade()
        assert result(waiting)
        assert (lock.readers, lock.owner) == (2, None)
        assert result(spawn(lock.write_lock.acquire, False)) is False
        with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
            lock.write_lock.downgrade()
    assert lock.readers == 1

    async def main() -> None:
        other = RWLock(mode)
        async with other.write_lock:
            assert other.owner is asyncio.current_task()
            other.write_lock.downgrade()
            assert other.readers == 1
        assert other.readers == 0

    run_async(main())


@modes
def test_only_holders_release(mode: Mode) -> None:
    lock = RWLock(mode)
    for side in lock.read_lock, lock.write_lock:
        with pytest.raises(RuntimeError, match=r"^cannot release un-acquired lock$"):
            side.release()
    with lock.read_lock:
        with pytest.raises(RuntimeError, match="un-acquired"):
            result(spawn(lock.read_lock.release))
    with lock.write_lock:
        with pytest.raises(RuntimeError, match="un-acquired"):
            result(spawn(lock.write_lock.release))


@modes
def test_a_blocking_call_that_a_task_of_this_loop_holds_up_is_refused(mode: Mode) -> None:
    lock = RWLock(mode)

    async def main() -> None:
        async with lock.write_lock:

            async def other() -> None:
                for side in lock.read_lock, lock.write_lock:
                    with pytest.raises(DeadlockError, match="the-holder"):
                        side.acquire()
                    assert side.acquire(timeout=0.001) is False

            asyncio.current_task().set_name("the-holder")  # type: ignore[union-attr]
            await asyncio.create_task(other())

    run_async(main())


def test_writers_go_first_but_not_for_ever() -> None:
    lock, order = RWLock(), []

    def write() -> None:
        with lock.write_lock:
            order.append("w")

    def read() -> None:
        with lock.read_lock:
            order.append("r")

    lock.write_lock.acquire()
    futures: list[Any] = [spawn(read)]
    eventually(lambda: lock.waiters == 1)
    for number in range(20):
        futures.append(spawn(write))
        eventually(lambda number=number: lock.waiters == number + 2)
    lock.write_lock.release()
    for future in futures:
        result(future)
    assert 1 <= order.index("r") <= 17


def test_fair_is_first_come_first_served() -> None:
    lock, order = RWLock("fair"), []

    def use(side: Any, name: str) -> None:
        with side:
            order.append(name)

    lock.write_lock.acquire()
    futures = []
    for number, name in enumerate("rwrwwr"):
        side = lock.read_lock if name == "r" else lock.write_lock
        futures.append(spawn(use, side, name))
        eventually(lambda number=number: lock.waiters == number + 1)
    lock.write_lock.release()
    for future in futures:
        result(future)
    assert "".join(order) == "rwrwwr"


def test_a_side_is_equal_to_itself_and_shows_the_lock() -> None:
    lock, other = RWLock(), RWLock()
    assert lock.read_lock == lock.read_lock
    assert len({lock.read_lock, lock.read_lock, lock.write_lock, other.read_lock}) == 3
    assert lock.read_lock != lock.write_lock
    with lock.read_lock:
        assert repr(lock.read_lock) == f"<ReadLock of {lock!r}>"
    with lock.write_lock:
        assert ": writing " in repr(lock.write_lock)


def test_bad_arguments_and_repr() -> None:
    with pytest.raises(ValueError, match=r"^mode must be 'writer' or 'fair', not 'reader'$"):
        RWLock("reader")  # type: ignore[arg-type]
    lock = RWLock()
    for side in lock.read_lock, lock.write_lock:
        with pytest.raises(ValueError, match="can't specify a timeout for a non-blocking call"):
            side.acquire(False, 1)
        with pytest.raises(ValueError, match="non-negative"):
            side.acquire(timeout=-3)
    with lock.read_lock:
        assert repr(lock).endswith(": readers=1 waiters=0>")
    with lock.write_lock:
        assert repr(lock).endswith(": writing waiters=0>")
        assert lock.read_lock.acquire is not None
    assert lock.write_lock.acquire(timeout=DEADLINE)
    lock.write_lock.release()
