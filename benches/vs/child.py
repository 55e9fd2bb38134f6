"""What runs in a fresh process: ``python -m benches.vs.child WHAT LIBRARY …`` prints JSON."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from benches.vs.cases.pools import tiny
from benches.vs.footprint import EXACT, allocated_bytes
from benches.vs.libraries import Factory, Library, named
from benches.vs.process_tasks import same, wait_for
from benches.vs.process_works import descendants

POINTER_BYTES = 8  # of the list that holds the objects
# Resident pages come two MiB at a time and some lie free at the start: fill those, count many.
RESIDENT_WARM_UP = 16 << 20
RESIDENT_ENOUGH = 64 << 20
RESIDENT_ITEMS = 2_000_000


def of_objects(library: Library, kind: str, count: int) -> dict[str, float]:
    """Bytes of one object, with all that it owns."""
    new = maker(library.classes[kind], kind)
    kept: list[object] = [new()]
    if EXACT:
        kept += [None] * count
        before = allocated_bytes()
        for i in range(1, count + 1):
            kept[i] = new()
        size = (allocated_bytes() - before) / count
    else:
        create(new, count, RESIDENT_WARM_UP, kept)
        size = create(new, count, RESIDENT_ENOUGH, kept)
    return {"bytes": size, "shallow": sys.getsizeof(kept[0])}


def create(new: Callable[[], object], step: int, growth: int, kept: list[object]) -> float:
    """Make objects until the process has grown so much; the bytes of one."""
    before, made, grown = allocated_bytes(), 0, 0
    while grown < growth:
        objects: list[object] = [None] * step
        kept.append(objects)
        for i in range(step):
            objects[i] = new()
        made += step
        grown = allocated_bytes() - before
    return grown / made - POINTER_BYTES


def maker(new: Factory, kind: str) -> Callable[[], object]:
    if kind == "Barrier":
        return lambda: new(2)
    if kind == "ThreadPoolExecutor":
        return lambda: new(2)
    return new


def of_items(library: Library, kind: str, count: int) -> dict[str, float]:
    """Bytes that a queue needs for one item, beside the item itself."""
    queues = 1 if EXACT else max(RESIDENT_ITEMS // count, 1)
    subjects = [library.factories[kind]() for _ in range(queues)]
    for put, get in subjects:
        put(1)
        get()
    before = allocated_bytes()
    for put, _ in subjects:
        for _ in range(count):
            put(1)
    return {"bytes": (allocated_bytes() - before) / count / queues}


def of_pending(library: Library, count: int) -> dict[str, float]:
    """Futures whose pool is busy: bytes of one, time to submit one, time to run and fetch one."""
    opened = threading.Event()
    pool = library.factories["ThreadPoolExecutor"](1)
    pool.submit(opened.wait)
    futures: list[object] = [None] * count
    submit = pool.submit
    before = allocated_bytes()
    start = time.perf_counter_ns()
    for i in range(count):
        futures[i] = submit(tiny, 1)
    submitted = time.perf_counter_ns()
    held = allocated_bytes() - before
    resumed = time.perf_counter_ns()
    opened.set()
    for future in futures:
        future.result()  # type: ignore[attr-defined]
    fetched = time.perf_counter_ns()
    pool.shutdown()
    return {
        "bytes": held / count,
        "submit_ns": (submitted - start) / count,
        "fetch_ns": (fetched - resumed) / count,
    }


def of_queued_processes(library: Library, count: int, run: bool) -> dict[str, float]:
    """Tasks that wait for a busy worker process: bytes of one, time to submit and to run it."""
    with tempfile.TemporaryDirectory() as directory:
        gate = os.path.join(directory, "gate")
        face = library.factories["ProcessPool"](1)
        submit = face.submit
        first = submit(wait_for, gate)
        wait_until_exists(f"{gate}-begun")
        futures: list[object] = [None] * count
        before = allocated_bytes()
        start = time.perf_counter_ns()
        for i in range(count):
            futures[i] = submit(same, 1)
        submitted = time.perf_counter_ns()
        held = allocated_bytes() - before
        answer = {"bytes": held / count, "submit_ns": (submitted - start) / count}
        if run:
            resumed = time.perf_counter_ns()
            open(gate, "w").close()
            for future in (first, *futures):
                future.result()  # type: ignore[attr-defined]
            answer["fetch_ns"] = (time.perf_counter_ns() - resumed) / count
            face.close()
    return answer


def wait_until_exists(path: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > end:
            raise TimeoutError(f"no worker began within {seconds:.0f} s")
        time.sleep(0.001)


def leave() -> None:
    """End at once, with whatever still runs: tasks wait that nobody wants."""
    for pid in descendants(os.getpid()):
        # Some end by themselves when the one above them does.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    what, library, *rest = sys.argv[1:]
    gc.disable()
    allocated_bytes()  # the first call allocates for itself
    if what == "objects":
        result = of_objects(named(library), rest[0], int(rest[1]))
    elif what == "items":
        result = of_items(named(library), rest[0], int(rest[1]))
    elif what == "processes":
        result = of_queued_processes(named(library), int(rest[0]), rest[1] == "run")
    else:
        result = of_pending(named(library), int(rest[0]))
    print(json.dumps(result), flush=True)
    if what == "processes":
        leave()


if __name__ == "__main__":
    main()
