"""What pools, shared objects and queues have open is for nobody else to inherit or connect to."""

from __future__ import annotations

import multiprocessing as stdlib
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from counterpoint import multiprocessing
from counterpoint._worker import zygotes
from counterpoint.futures import share
from tests.processes import Meeting, ProcessPoolExecutor, stay

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@contextmanager
def everything_open(method: str, meeting: Meeting) -> Iterator[Any]:
    """A pool that is busy, with whatever it shares, and what else there is between processes."""
    large = bytes(1 << 20)
    with ProcessPoolExecutor(2, mp_context=stdlib.get_context(method)) as pool:
        queue, lock, table = multiprocessing.Queue(), multiprocessing.Lock(), share(large)
        semaphore, event = multiprocessing.Semaphore(), multiprocessing.Event()
        queue.put(large)
        result = pool.submit(bytearray, large).result()
        tasks = [pool.submit(stay, meeting, (table, large)) for _ in range(2)]
        meeting.arrived(2)
        try:
            yield pool, queue, lock, semaphore, event, result
        finally:
            meeting.let_go(2)
            for task in tasks:
                task.result()


def inheritable() -> set[int]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found |= {int(name)} if os.get_inheritable(int(name)) else set()
        except OSError:
            continue  # it was the directory's own
    return found


def sockets(pid: int) -> set[str]:
    """The numbers of a process's sockets."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            kind, _, number = os.readlink(entry).partition(":")
        except OSError:
            continue
        found |= {number.strip("[]")} if kind == "socket" else set()
    return found


def names_of(numbers: set[str]) -> list[str]:
    """The names in the file system, or abstract ones, of those sockets that have one."""
    rows = [line.split() for line in Path("/proc/net/unix").read_text().splitlines()[1:]]
    return [row[7] for row in rows if len(row) > 7 and row[6] in numbers]


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_nothing_is_inherited_by_programs_that_are_executed(method: str, meeting: Meeting) -> None:
    before = inheritable()
    with everything_open(method, meeting) as (pool, *_):
        assert len(os.listdir("/proc/self/fd")) > len(before) + 10
        assert inheritable() <= before
        assert "counterpoint" not in execute()
        assert pool._processes


def execute() -> str:
    """What a program has open that this process executes."""
    command = ["ls", "-l", "/proc/self/fd"]
    done = subprocess.run(command, close_fds=False, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_nor_by_those_that_a_task_executes(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=stdlib.get_context(method)) as pool:
        seen = pool.submit(execute).result()
    for kind in ("counterpoint", "[eventfd]", "[eventpoll]", "[pidfd]"):
        assert kind not in seen, seen


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_no_socket_has_a_name_to_connect_to(method: str, meeting: Meeting) -> None:
    before = sockets(os.getpid())
    with everything_open(method, meeting) as (pool, *_):
        made = sockets(os.getpid()) - before
        for pid in (*pool._processes, zygotes.ensure().pid):
            made |= sockets(pid)
        assert made
        assert names_of(made) == []
