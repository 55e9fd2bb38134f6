"""Process pools and queues, each library's in a process of its own: see ``hosts.py``."""

from __future__ import annotations

from benches.vs.case import Case, Demand
from benches.vs.hosts import WORKERS, in_host
from benches.vs.libraries import BEST_PEER, OURS, STDLIB
from benches.vs.process_works import ARRAY_MB, MANY

POOL = f"ProcessPoolExecutor({WORKERS})"
MEMCPY = {"memcpy": (STDLIB, "MemoryCopy")}

CASES = (
    Case(
        "process-submit",
        f"{POOL}, submit + result of tiny tasks",
        "ProcessPool",
        in_host("each"),
        (Demand(30), Demand(14, BEST_PEER)),
    ),
    Case(
        "process-parent-cpu",
        "the same, CPU time of the parent",
        "ProcessPool",
        in_host("each"),
        clock="cpu",
    ),
    Case(
        "process-round-trip",
        "the same, one round trip at a time",
        "ProcessPool",
        in_host("call"),
        (Demand(8), Demand(6, BEST_PEER)),
        base=20,
    ),
    Case(
        "process-map",
        f"{POOL}, map of {MANY:,} tiny tasks, others with their best chunk size",
        "ChunkedProcessPool",
        in_host("map_all"),
        (Demand(1, BEST_PEER),),
        step=MANY,
        base=MANY,
    ),
    Case(
        "process-argument",
        f"{POOL}, {ARRAY_MB} MB as an argument",
        "ProcessPool",
        in_host("argument"),
        (Demand(20), Demand(0.5, "memcpy")),
        also=MEMCPY,
        step=ARRAY_MB,
        base=ARRAY_MB,
        unit="MB/s",
    ),
    Case(
        "process-result",
        f"{POOL}, {ARRAY_MB} MB as a result",
        "ProcessPool",
        in_host("result"),
        (Demand(20), Demand(0.5, "memcpy")),
        also=MEMCPY,
        step=ARRAY_MB,
        base=ARRAY_MB,
        unit="MB/s",
    ),
    Case(
        "process-start",
        f"{POOL}, from its making until all workers run; stdlib by fork",
        "ProcessPool",
        in_host("start"),
        (Demand(1),),
        base=1,
    ),
    Case(
        "process-cpu",
        f"{POOL}, tasks of 1 ms of CPU",
        "ProcessPool",
        in_host("millisecond"),
        (Demand(1.9, "one worker"),),
        also={"one worker": (OURS, "SoloProcessPool")},
        base=20,
        step=2,
    ),
    Case(
        "process-queue-1x1",
        "multiprocessing.Queue, 1 producer and 1 consumer process",
        "ProcessQueue",
        in_host("queue", workers=1),
        (Demand(8), Demand(2, BEST_PEER)),
    ),
    Case(
        "process-queue-4x1",
        "multiprocessing.Queue, 4 producers and 1 consumer process",
        "ProcessQueue",
        in_host("queue", workers=4),
        (Demand(8), Demand(2, BEST_PEER)),
        step=4,
    ),
)
