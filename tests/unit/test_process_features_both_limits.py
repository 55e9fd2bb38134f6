"""A soft time limit with a hard one, and with retries."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from counterpoint._errors import SoftTimeout
from tests.processes import Meeting, ProcessPoolExecutor, state_of
from tests.support import DEADLINE, eventually


def worker() -> int:
    """Brings this module into a worker, which would take a part of a limit."""
    return os.getpid()


def swallow(meeting: Any) -> None:
    """Is not to be told."""
    while True:
        try:
            signal.pause()
        except SoftTimeout:
            meeting.arrive()


def test_a_task_that_swallows_the_soft_limit_ends_at_the_hard_one(meeting: Meeting) -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(worker).result(DEADLINE)
        both = pool.options(soft_timeout=0.01, timeout=1.0)
        future = both.submit(swallow, meeting)
        assert meeting.arrived() == [pid]
        with pytest.raises(TimeoutError, match=r"limit of 1 s") as raised:
            future.result(DEADLINE)
        assert not isinstance(raised.value, SoftTimeout)
        # The process went with it; the next has another.
        assert pool.submit(worker).result(DEADLINE) != pid
        eventually(lambda: state_of(pid) in ("", "Z"))


def wait_to_be_told(path: Path, enough: int) -> int:
    """Notes that it was, and ends as asked to; returns at once at the last attempt."""
    try:
        attempt = len(path.read_text()) + 1
        while attempt < enough:
            signal.pause()
    except SoftTimeout:
        with open(path, "a") as file:
            file.write("x")
        raise
    return attempt


@pytest.mark.parametrize("options", [{}, {"retry_on": SoftTimeout}], ids=["any", "SoftTimeout"])
def test_an_attempt_that_ends_at_the_soft_limit_counts(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    path = tmp_path / "attempts"
    path.touch()
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(worker).result(DEADLINE)
        limited = pool.options(soft_timeout=0.03, retries=2, **options)
        with pytest.raises(SoftTimeout):
            limited.submit(wait_to_be_told, path, 4).result(DEADLINE)
        assert path.read_text() == "xxx"
        path.write_text("")
        assert limited.submit(wait_to_be_told, path, 3).result(DEADLINE) == 3
        # None of these attempts took the process.
        assert pool.submit(worker).result(DEADLINE) == pid


def test_what_is_not_to_be_retried_is_tried_once(tmp_path: Path) -> None:
    path = tmp_path / "attempts"
    path.touch()
    with ProcessPoolExecutor(1) as pool:
        pool.submit(worker).result(DEADLINE)
        limited = pool.options(soft_timeout=0.03, retries=2, retry_on=OSError)
        # A SoftTimeout is a TimeoutError, and so an OSError.
        with pytest.raises(SoftTimeout):
            limited.submit(wait_to_be_told, path, 9).result(DEADLINE)
        assert path.read_text() == "xxx"
        path.write_text("")
        limited = pool.options(soft_timeout=0.03, retries=2, retry_on=KeyError)
        with pytest.raises(SoftTimeout):
            limited.submit(wait_to_be_told, path, 9).result(DEADLINE)
        assert path.read_text() == "x"
