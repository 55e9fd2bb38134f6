"""Bytes per object and per queued item, each number from a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

from benches.vs.case import Demand
from benches.vs.footprint import exact_environment
from benches.vs.libraries import Library
from benches.vs.measure import Column, Row

QUEUES = ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")
OBJECTS = (
    "Lock",
    "RLock",
    "Semaphore",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Barrier",
    *QUEUES,
    "Future",
    "ThreadPoolExecutor",
)
OBJECT_COUNT = 2_000
ITEM_COUNT = 100_000
CHILD_SECONDS = 300


def child(*arguments: object, exact: bool) -> dict[str, float]:
    """Run ``benches.vs.child`` and read what it says."""
    environment = dict(os.environ) | (exact_environment() if exact else {})
    done = subprocess.run(
        [sys.executable, "-m", "benches.vs.child", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr else "no message")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def child_column(*arguments: object) -> Column:
    """One sample from one child; these numbers hardly scatter."""
    try:
        answer = child(*arguments, exact=True)
        samples = [max(answer["bytes"], 0.01)]
        return Column(n=1, samples=samples, shallow=int(answer.get("shallow", 0)))
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        return Column(error=str(error))


def measure_memory(
    libraries: Sequence[Library],
    wanted: Callable[[str], bool],
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Row]:
    """A row for each kind of object, then one for the items of each kind of queue."""
    demands = (Demand(1),)
    for kind in OBJECTS:
        name = f"bytes-{kind.lower()}"
        if wanted(name):
            progress(name)
            columns = {
                library.name: child_column("objects", library.name, kind, OBJECT_COUNT)
                for library in libraries
                if kind in library.classes
            }
            yield Row(name, f"{kind}, bytes of one", "memory", demands, columns, unit="B")
    for kind in QUEUES:
        name = f"bytes-per-item-{kind.lower()}"
        if wanted(name):
            progress(name)
            columns = {
                library.name: child_column("items", library.name, kind, ITEM_COUNT)
                for library in libraries
                if kind in library.factories
            }
            title = f"{kind}, bytes for each of {ITEM_COUNT:,} items"
            yield Row(name, title, "memory", demands, columns, unit="B")
