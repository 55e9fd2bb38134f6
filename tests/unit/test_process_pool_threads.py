"""Invariant 3: a process pool needs no thread of Python's, and no GIL, to go on."""

from __future__ import annotations

import multiprocessing as stdlib
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from counterpoint import multiprocessing
from tests.processes import Meeting, ProcessPoolExecutor, square, stay
from tests.support import DEADLINE, FREE_THREADED, eventually


def of_python() -> tuple[list[threading.Thread], int]:
    """The threads that Python knows, and how many run Python code."""
    return threading.enumerate(), len(sys._current_frames())


@contextmanager
def unchanged() -> Iterator[None]:
    threads, running = of_python()
    yield

    def is_so() -> bool:
        after, still = of_python()
        return after == threads and still <= running

    eventually(is_so)  # who has called back may not have left the interpreter yet


def test_a_pool_makes_no_thread_of_pythons() -> None:
    heard: list[Any] = []
    with unchanged():
        with ProcessPoolExecutor(2) as pool, unchanged():
            future = pool.submit(square, 3)
            # Runs in a thread of the pool's, which is Python's for so long and no longer.
            future.add_done_callback(lambda future: heard.append(future.result()))
            assert list(pool.map(square, range(100))) == [n * n for n in range(100)]
            assert list(pool.map(square, range(9), buffersize=2, chunksize=1)) == [
                n * n for n in range(9)
            ]
            eventually(lambda: heard == [9])
        with multiprocessing.Pool(1) as other, unchanged():
            assert other.map(square, range(10)) == [n * n for n in range(10)]
            assert list(other.imap_unordered(square, [2])) == [4]
        other.join()


def note(path: str, number: int, ready: str) -> int:
    """A task that appends its number; the last one says so."""
    with open(path, "a") as file:
        file.write(f"{number}\n")
    if ready:
        Path(ready).write_bytes(b"!")
    return number


@pytest.mark.skipif(FREE_THREADED, reason="there is no GIL to hold")
def test_calls_go_on_and_end_while_the_gil_is_held(tmp_path: Path, meeting: Meeting) -> None:
    """A worker with a limited call has no other: the next is sent once that has ended."""
    ctypes = pytest.importorskip("ctypes", reason="this build has no ctypes")
    ready, path = tmp_path / "ready", str(tmp_path / "numbers")
    os.mkfifo(ready)
    reading = os.open(ready, os.O_RDWR)
    with ProcessPoolExecutor(1) as pool:
        limited = pool.options(timeout=DEADLINE)
        first = limited.submit(stay, meeting)
        meeting.arrived()
        futures = [
            limited.submit(note, path, number, str(ready) if number == 19 else "")
            for number in range(20)
        ]
        assert not any(future.done() for future in (first, *futures))

        class Polled(ctypes.Structure):  # type: ignore[misc,name-defined]
            _fields_ = [("fd", ctypes.c_int), ("events", ctypes.c_short), ("seen", ctypes.c_short)]

        polled = Polled(reading, 1, 0)
        meeting.let_go()
        # A call of this kind keeps the GIL: until the last of them runs, or for so long in vain.
        count = ctypes.PyDLL(None).poll(ctypes.byref(polled), 1, int(DEADLINE * 1000))
        done = [future.done() for future in (first, *futures)]
        assert count == 1
        assert all(done[:-1])
        assert [future.result(DEADLINE) for future in futures] == list(range(20))
    assert [int(line) for line in Path(path).read_text().split()] == list(range(20))
    os.close(reading)


def test_a_queue_has_no_feeder_thread() -> None:
    queue = multiprocessing.Queue()
    tasks = set(os.listdir("/proc/self/task"))
    with unchanged():
        queue.put(bytes(5_000_000))
        queue.put_many(range(1000))
        assert set(os.listdir("/proc/self/task")) <= tasks
        # It is there, and not on its way.
        assert queue.qsize() == 1001
    assert len(queue.get_nowait()) == 5_000_000


def answer(end: Any) -> None:
    end.send([end.recv(), os.getpid()])
    end.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_pipe_is_the_stdlibs() -> None:
    assert multiprocessing.Pipe == stdlib.Pipe
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=answer, args=(theirs,))
    process.start()
    ours.send(b"spam")
    assert ours.poll(DEADLINE)
    assert ours.recv() == [b"spam", process.pid]
    process.join()
    ours.close()
    theirs.close()


def cpus(meeting: Any) -> set[int]:
    meeting.stay()
    return os.sched_getaffinity(0)


def test_each_place_has_its_own_cpus(meeting: Meeting) -> None:
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        pytest.skip("takes two CPUs")
    with ProcessPoolExecutor(2, cpu_affinity=[usable[0], usable[1:]]) as pool:
        futures = [pool.submit(cpus, meeting) for _ in range(2)]
        meeting.arrived(2)
        meeting.let_go(2)
        seen = sorted(sorted(future.result(DEADLINE)) for future in futures)
    assert seen == [usable[:1], usable[1:]]


def test_the_higher_priority_first_then_the_older(meeting: Meeting, tmp_path: Path) -> None:
    path = str(tmp_path / "numbers")
    with ProcessPoolExecutor(1) as pool:
        # With a limit, so that the worker is given nothing else.
        busy = pool.options(timeout=DEADLINE).submit(stay, meeting)
        meeting.arrived()
        order = [(0, 50), (5, 30), (-5, 60), (9, 10), (0, 51), (9, 11), (5, 31)]
        futures = [
            pool.options(priority=priority).submit(note, path, number, "")
            for priority, number in order
        ]
        meeting.let_go()
        busy.result(DEADLINE)
        for future in futures:
            future.result(DEADLINE)
    assert Path(path).read_text().split() == ["10", "11", "30", "31", "50", "51", "60"]
