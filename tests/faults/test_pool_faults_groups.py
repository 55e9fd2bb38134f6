"""What a task has started ends with it, however the pool ends the task."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from counterpoint._process.errors import TaskKilled, WorkerCrashed
from counterpoint._worker import kernel, wire
from tests.processes import Meeting, ProcessPoolExecutor, square
from tests.support import DEADLINE

pytestmark = [
    pytest.mark.timeout(40),
    pytest.mark.usefixtures("nothing_left"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


def start_a_child(meeting: Any) -> None:
    """Says the child's number and, once it is let go, dies."""
    meeting.stay(subprocess.Popen(["sleep", "1000"]).pid)
    os.kill(os.getpid(), signal.SIGKILL)


def leads_its_group() -> bool:
    return os.getpgid(0) == os.getpid()


@contextmanager
def watched(pid: int) -> Iterator[int]:
    """A descriptor that is readable when the process has ended, which it has afterwards."""
    pidfd = kernel.pidfd_open(pid)
    try:
        yield pidfd
    finally:
        if not wire.wait_readable(pidfd, 0):
            kernel.pidfd_send_signal(pidfd, signal.SIGKILL)
        os.close(pidfd)


def wait(pool: ProcessPoolExecutor, future: Any, meeting: Meeting) -> type[BaseException]:
    """The time limit does it."""
    return type(future.exception(DEADLINE))


def kill(pool: ProcessPoolExecutor, future: Any, meeting: Meeting) -> type[BaseException]:
    assert future.kill()
    return type(future.exception(DEADLINE))


def cancel(pool: ProcessPoolExecutor, future: Any, meeting: Meeting) -> type[BaseException]:
    """Cancels the asyncio task that awaits it."""

    async def awaits() -> None:
        await future

    async def main() -> None:
        task = asyncio.create_task(awaits())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    return TaskKilled if future.cancelled() else type(future.exception(DEADLINE))


def crash(pool: ProcessPoolExecutor, future: Any, meeting: Meeting) -> type[BaseException]:
    meeting.let_go()
    return type(future.exception(DEADLINE))


ENDS = {wait: TimeoutError, kill: TaskKilled, cancel: TaskKilled, crash: WorkerCrashed}


@pytest.mark.parametrize("method", ["forkserver", "fork", "spawn"])
@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
def test_the_child_of_a_task_ends_with_it(end: Any, method: str, meeting: Meeting) -> None:
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        # The limit is for starting the child, too; but not for what that imports.
        assert pool.submit(leads_its_group).result(DEADLINE)
        limit = 1.5 if end is wait else None
        future = pool.options(timeout=limit).submit(start_a_child, meeting)
        (child,) = meeting.arrived()
        with watched(child) as ended:
            assert end(pool, future, meeting) is ENDS[end]
            assert wire.wait_readable(ended, DEADLINE), "the child lives on"
        assert pool.submit(square, 3).result(DEADLINE) == 9
