"""Futures of both kinds, for tests of what takes either."""

from __future__ import annotations

import concurrent.futures as stdlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from counterpoint import futures
from counterpoint.futures import Future

MODULES = [futures, stdlib]
MAKERS: list[Callable[[], Any]] = [Future, stdlib.Future]


def finished(value: object = None, make: Callable[[], Any] = Future) -> Any:
    future = make()
    future.set_result(value)
    return future


def is_asleep(thread: threading.Thread) -> bool:
    stat = Path(f"/proc/self/task/{thread.native_id}/stat").read_text()
    return stat.rpartition(")")[2].split()[0] == "S"
