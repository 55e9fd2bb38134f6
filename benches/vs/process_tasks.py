"""What worker processes do in the benchmarks: a module of its own, which is quick to import."""

from __future__ import annotations

import os
import time
from typing import Any

PAGE = 4096
PATIENCE_SECONDS = 60.0

_kept: dict[int, Any] = {}


def same(item: Any) -> Any:
    """The least that a task can do."""
    return item


def burn(nanoseconds: int) -> None:
    """Pure CPU work that takes so much of this thread's own time, whoever else is running."""
    end = time.thread_time_ns() + nanoseconds
    while time.thread_time_ns() < end:
        pass


def buffer_of(size: int) -> Any:
    """So many bytes: a NumPy array where there is one."""
    try:
        import numpy
    except ImportError:
        return bytearray(b"\1" * size)
    return numpy.ones(size // 8)


def touch(buffer: Any) -> int:
    """Read from each page, as whoever computes with it does."""
    return len(memoryview(buffer).cast("B")[::PAGE].tobytes())


def give(size: int) -> Any:
    """A result of so many bytes, which had been made before."""
    if size not in _kept:
        _kept[size] = buffer_of(size)
    return _kept[size]


def meet(meeting: tuple[str, int, int]) -> int:
    """Wait in a directory until so many tasks are there: then as many workers run."""
    directory, number, wanted = meeting
    open(os.path.join(directory, str(number)), "w").close()
    end = time.monotonic() + PATIENCE_SECONDS
    while len(os.listdir(directory)) < wanted:
        if time.monotonic() > end:
            raise TimeoutError(f"fewer than {wanted} workers run at the same time")
        time.sleep(0.0005)
    return os.getpid()


def wait_for(path: str) -> None:
    """Keep a worker busy until a file exists; another one says that it is."""
    open(f"{path}-begun", "w").close()
    end = time.monotonic() + 5 * PATIENCE_SECONDS
    while not os.path.exists(path) and time.monotonic() < end:
        time.sleep(0.005)
