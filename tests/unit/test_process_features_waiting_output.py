"""Workers that say more than the parent's handlers deal with: they wait, and nobody else does."""

from __future__ import annotations

import logging
import mmap
import os
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from counterpoint._process.errors import WorkerCrashed
from counterpoint._process.executor import ProcessPoolExecutor
from tests.processes import die, identity, own_pid
from tests.support import DEADLINE, eventually, result, spawn

LINE = "x" * 999
ALL = 8_000  # lines, of a thousand bytes with their end
# It gets so far even if nobody listens; and no further than that beyond what was dealt with.
SURELY, MOST = 128_000, 1_000_000
NAMES = ("chatty", "counterpoint.worker.stdout")


class Progress:
    """How many bytes a worker has said, in a file that both map."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.exists():
            path.write_bytes(bytes(8))
        with open(path, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    def __reduce__(self) -> tuple[type[Progress], tuple[Path]]:
        return Progress, (self.path,)

    @property
    def bytes(self) -> int:
        count: int = struct.unpack("q", self._memory)[0]
        return count

    def add(self, count: int) -> None:
        struct.pack_into("q", self._memory, 0, self.bytes + count)


def write(progress: Progress, lines: int) -> int:
    for _ in range(lines):
        os.write(1, f"{LINE}\n".encode())
        progress.add(1000)
    return os.getpid()


def log(progress: Progress, lines: int) -> int:
    logger = logging.getLogger("chatty")
    for _ in range(lines):
        logger.info(LINE)
        progress.add(1000)
    return os.getpid()


class Gate(logging.Handler):
    """Deals with nothing until it is opened; notes how far a worker was ahead of it."""

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.reached, self.opened = threading.Event(), threading.Event()
        self.dealt_with = self.ahead = 0
        self._progress = progress

    def __enter__(self) -> None:
        """Opened in the end, or a test that fails would not end."""

    def __exit__(self, *_: object) -> None:
        self.opened.set()

    def emit(self, record: logging.LogRecord) -> None:
        if record.name not in NAMES:
            return
        self.reached.set()
        assert self.opened.wait(DEADLINE)
        self.ahead = max(self.ahead, self._progress.bytes - self.dealt_with)
        self.dealt_with += len(record.getMessage()) + 1

    def is_far_behind(self) -> bool:
        return self.reached.is_set() and self._progress.bytes >= SURELY


@pytest.fixture
def progress(tmp_path: Path) -> Progress:
    return Progress(tmp_path / "progress")


@pytest.fixture
def gate(progress: Progress) -> Iterator[Gate]:
    """Handles what reaches the root logger, whose level is INFO meanwhile."""
    handler, level = Gate(progress), logging.root.level
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.INFO)
    yield handler
    handler.opened.set()
    logging.root.setLevel(level)
    logging.root.removeHandler(handler)


@pytest.mark.parametrize("say", [write, log])
def test_it_waits_and_everything_else_goes_on(
    say: Callable[[Progress, int], int], progress: Progress, gate: Gate
) -> None:
    called_back = threading.Event()
    with ProcessPoolExecutor(2, capture_output=True) as pool, gate:
        chatty = pool.submit(say, progress, ALL)
        eventually(gate.is_far_behind)
        for n in range(1000):
            assert pool.submit(identity, n).result(DEADLINE) == n
        crashing = pool.submit(die)
        crashing.add_done_callback(lambda _: called_back.set())
        with pytest.raises(WorkerCrashed):
            crashing.result(DEADLINE)
        assert called_back.wait(DEADLINE)
        assert pool.submit(identity, 1).result(DEADLINE) == 1
        assert not chatty.done()
        gate.opened.set()
        chatty.result(DEADLINE)
    assert gate.dealt_with == 1000 * ALL
    assert SURELY <= gate.ahead <= MOST


@pytest.mark.parametrize("say", [write, log])
def test_it_can_be_killed_while_it_waits(
    say: Callable[[Progress, int], int], progress: Progress, gate: Gate
) -> None:
    with ProcessPoolExecutor(1, capture_output=True) as pool, gate:
        chatty = pool.submit(say, progress, ALL)
        eventually(gate.is_far_behind)
        (pid,) = pool._processes
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(WorkerCrashed):
            chatty.result(DEADLINE)
        assert pool.submit(own_pid).result(DEADLINE) != pid
        said = progress.bytes
    # The last line may have been said and not been counted.
    assert said <= gate.dealt_with <= said + 1000


def test_a_time_limit_ends_its_wait(progress: Progress, gate: Gate) -> None:
    with ProcessPoolExecutor(1, capture_output=True) as pool, gate:
        chatty = pool.options(timeout=1).submit(write, progress, ALL)
        with pytest.raises(TimeoutError):
            chatty.result(DEADLINE)
        assert pool.submit(identity, 1).result(DEADLINE) == 1


def test_a_shutdown_waits_for_all_that_is_said(progress: Progress, gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, capture_output=True)
    chatty = pool.submit(write, progress, ALL)
    eventually(gate.is_far_behind)
    ending = spawn(pool.shutdown)
    eventually(lambda: pool._shutdown_thread)
    gate.opened.set()
    result(ending)
    assert chatty.done()
    assert gate.dealt_with == 1000 * ALL


def test_workers_that_wait_can_be_ended(progress: Progress, gate: Gate) -> None:
    pool = ProcessPoolExecutor(1, capture_output=True)
    chatty, other = pool.submit(write, progress, ALL), pool.submit(identity, 1)
    eventually(gate.is_far_behind)
    pool.kill_workers()
    with pytest.raises((WorkerCrashed, CancelledError)):
        chatty.result(DEADLINE)
    assert other.cancelled()
    gate.opened.set()
    pool.shutdown()


def test_a_submit_that_waits_for_room_gets_it(progress: Progress, gate: Gate) -> None:
    with ProcessPoolExecutor(1, max_pending=1, capture_output=True) as pool, gate:
        submitting = spawn(lambda: [pool.submit(write, progress, 1000) for _ in range(5)])
        eventually(gate.is_far_behind)
        assert not submitting.done()
        gate.opened.set()
        for future in result(submitting):
            future.result(DEADLINE)
    assert gate.dealt_with == 5 * 1000 * 1000


class Meddler(logging.Handler):
    """Does what would wait for itself."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        super().__init__()
        self.pool = pool
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        for step in (self.pool._counterpoint_pool.wait_for_room, self.pool.shutdown):
            try:
                step()
            except RuntimeError as error:
                self.errors.append(str(error))


def test_a_handler_cannot_wait_for_its_own_pool() -> None:
    logger = logging.getLogger("counterpoint.worker.stdout")
    with ProcessPoolExecutor(1, capture_output=True) as pool:
        meddler = Meddler(pool)
        logger.addHandler(meddler)
        logger.setLevel(logging.INFO)
        try:
            pool.submit(os.write, 1, b"hello\n").result(DEADLINE)
            pool.shutdown()
        finally:
            logger.removeHandler(meddler)
            logger.setLevel(logging.NOTSET)
    room, end = meddler.errors
    assert "cannot wait for room in its own pool" in room
    assert end == "cannot join current thread"
