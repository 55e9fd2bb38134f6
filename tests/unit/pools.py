"""What the tests of the thread pool share."""

from __future__ import annotations

import threading
import time

from counterpoint.futures import ThreadPoolExecutor
from tests.support import DEADLINE


def spin(seconds: float) -> None:
    """What a task does that is to be measured."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


class Busy:
    """Keeps a pool's only worker busy until told otherwise; without `wait`, when its turn comes."""

    def __init__(self, pool: ThreadPoolExecutor, wait: bool = True) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.future = pool.submit(self._run)
        assert not wait or self.begun.wait(DEADLINE)

    def _run(self) -> None:
        self.begun.set()
        assert self.go_on.wait(DEADLINE)

    def __enter__(self) -> Busy:
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
