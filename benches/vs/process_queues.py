"""Queues between processes: what passes a host's producers to the host itself."""

from __future__ import annotations

import importlib
import multiprocessing
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from typing import Any

from benches.vs.case import PATIENCE_SECONDS, Clock, Sample

# Forked on every version, so that a library's queue only has to be inherited.
CONTEXT = multiprocessing.get_context("fork")


def counterpoint() -> Any:
    return importlib.import_module("counterpoint.multiprocessing").Queue()


def stdlib() -> Any:
    return CONTEXT.Queue()


def faster_fifo() -> Any:
    return importlib.import_module("faster_fifo").Queue()


OPENERS: dict[str, Callable[[], Any]] = {
    "counterpoint": counterpoint,
    "stdlib": stdlib,
    "faster-fifo": faster_fifo,
}


def pass_on(library: str, producers: int, n: int) -> Sample:
    """n small numbers from so many processes, one at a time, from their start to the last one."""
    queue = OPENERS[library]()
    with producing(queue, producers, n // producers) as start:
        get = queue.get
        clock = Clock()
        start()
        for _ in repeat(None, n // producers * producers):
            get()
        return clock.sample()


@contextmanager
def producing(queue: Any, producers: int, share: int) -> Iterator[Callable[[], object]]:
    """As many processes, which run already and begin when the callable is called."""
    gate = CONTEXT.Barrier(producers + 1)
    processes = [
        CONTEXT.Process(target=produce, args=(queue, share, gate), daemon=True)
        for _ in range(producers)
    ]
    for process in processes:
        process.start()
    try:
        yield lambda: gate.wait(PATIENCE_SECONDS)
        for process in processes:
            process.join(PATIENCE_SECONDS)
    finally:
        for process in processes:
            process.kill()
            process.join()


def produce(queue: Any, share: int, gate: Any) -> None:
    put = queue.put
    gate.wait(PATIENCE_SECONDS)
    for item in range(share):
        put(item)
