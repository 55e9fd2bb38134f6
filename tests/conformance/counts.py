"""How many tests each suite has: a suite that silently shrinks proves nothing."""

from __future__ import annotations

import platform
import sys

# The release that each column was counted on; other patch releases may hold more tests.
RELEASES = ("3.11.7", "3.12.1", "3.13.0", "3.14.10", "3.15.2")

COUNTS = {
    "Lock": (17, 17, 17, 17, 18),
    "RLock": (19, 19, 19, 22, 23),
    "Condition": (7, 7, 7, 8, 8),
    "ConditionOverAnyLock": (7, 7, 7, 8, 8),
    "ConditionAsRLock": (18, 18, 18, 21, 21),
    "Semaphore": (12, 12, 12, 12, 12),
    "BoundedSemaphore": (12, 12, 12, 12, 12),
    "Event": (6, 6, 6, 7, 7),
    "Barrier": (11, 11, 12, 12, 12),
    "Threads": (2, 2, 5, 5, 5),
    "ThreadingExceptions": (1, 1, 1, 1, 1),
    "RLockSignature": (0, 0, 1, 1, 1),
    "LockSignals": (5, 5, 5, 5, 5),
    # 82 in all on 3.13.
    "Queue": (6, 6, 24, 24, 24),
    "LifoQueue": (6, 6, 24, 24, 24),
    "PriorityQueue": (6, 6, 24, 24, 24),
    "FailingQueue": (1, 1, 1, 1, 1),
    "SimpleQueue": (9, 9, 9, 10, 11),
    # 3.11.7 and 3.12.1 are installed without these; counted on 3.11.2's, lent.
    "Future": (20, 20, 20, 20, 21),
    "ThreadPool": (15, 15, 15, 26, 26),
    "Wait": (9, 9, 9, 9, 9),
    "AsCompleted": (5, 5, 5, 5, 5),
    "Initializer": (1, 1, 1, 1, 1),
    "FailingInitializer": (1, 1, 1, 1, 1),
    "Shutdown": (13, 13, 14, 14, 14),
    # For each start method; the last column is 3.15.1's.
    "ProcessQueue": (10, 10, 11, 11, 11),
    "ProcessSimpleQueue": (3, 3, 4, 4, 4),
    "ProcessLock": (3, 3, 3, 8, 8),
    "ProcessSemaphore": (3, 3, 3, 3, 3),
    "ProcessCondition": (7, 7, 7, 7, 7),
    "ProcessEvent": (2, 2, 2, 2, 2),
    "ProcessBarrier": (11, 11, 11, 11, 11),
    "ProcessValue": (3, 3, 3, 3, 4),
    "ProcessArray": (4, 4, 4, 4, 5),
    "ProcessPool": (25, 25, 25, 25, 25),
    "ProcessPoolErrors": (2, 2, 2, 2, 2),
    "ProcessPoolLifetime": (4, 4, 4, 4, 4),
    # For each start method; the first two columns are those of a lent 3.10.13.
    "Executor": (17, 17, 21, 44, 45),
    "ExecutorWait": (8, 8, 8, 8, 8),
    "ExecutorAsCompleted": (5, 5, 5, 5, 5),
    "ExecutorInitializer": (1, 1, 1, 1, 1),
    "ExecutorFailingInitializer": (1, 1, 1, 1, 1),
    "ExecutorShutdown": (11, 11, 11, 13, 13),
    "ExecutorDeadlock": (14, 14, 16, 16, 16),
    "ExecutorBreaking": (1, 1, 1, 2, 2),
    # 122 in all on 3.13; StartServer has one over a Unix socket besides the mixin's own.
    "LoopEvents": (73, 74, 75, 87, 87),
    "LoopSock": (13, 13, 13, 15, 15),
    "LoopSendfile": (20, 20, 20, 22, 22),
    "LoopStartTLS": (11, 11, 11, 13, 13),
    "LoopStartServer": (2, 2, 2, 2, 2),
    "LoopBuffered": (1, 1, 1, 1, 1),
}

# Modules that run whole (loop_modules.py): their tests, and how many of those come to a loop of
# the kind under test. The others have no loop, or one whose time they invent.
MODULES: dict[str, tuple[tuple[int, int], ...]] = {
    "test_streams": ((67, 67), (67, 67), (73, 73), (76, 76), (76, 76)),
    "test_ssl": ((22, 22), (22, 22), (22, 22), (24, 24), (24, 24)),
    "test_sslproto": ((32, 21), (32, 21), (33, 22), (40, 27), (40, 27)),
    "test_server": ((3, 2), (5, 4), (12, 11), (13, 12), (13, 12)),
    "test_subprocess": ((148, 119), (141, 140), (145, 144), (86, 86), (86, 86)),
    "test_taskgroups": ((35, 35), (35, 35), (39, 39), (96, 96), (130, 130)),
    "test_timeouts": ((32, 32), (32, 32), (34, 34), (34, 34), (34, 34)),
    "test_locks": ((70, 70), (70, 70), (75, 75), (75, 75), (75, 75)),
    "test_queues": ((44, 44), (44, 44), (59, 59), (59, 59), (59, 59)),
    "test_waitfor": ((15, 15), (19, 19), (19, 19), (19, 19), (19, 19)),
    "test_futures": ((155, 155), (155, 155), (162, 162), (186, 186), (189, 189)),
    "test_futures2": ((3, 3), (7, 7), (7, 7), (7, 7), (7, 7)),
    "test_tasks": ((913, 891), (945, 923), (977, 955), (1110, 1086), (1133, 1109)),
    "test_eager_task_factory": ((0, 0), (39, 39), (40, 40), (48, 48), (48, 48)),
    "test_runners": ((26, 25), (27, 26), (29, 28), (30, 29), (30, 29)),
    "test_staggered": ((0, 0), (0, 0), (5, 5), (7, 7), (7, 7)),
    "test_threads": ((6, 6), (6, 6), (6, 6), (6, 6), (6, 6)),
}


def _column() -> tuple[int, bool]:
    """The column for this interpreter, and whether it is exact or a lower bound.

    On the release of the table it is exact. A later patch release has no fewer; an earlier one
    no fewer than the last release before its minor version, as suites only grow.
    """
    column = min(sys.version_info[1] - 11, len(RELEASES) - 1)
    if platform.python_version() == RELEASES[column]:
        return column, True
    counted_patch = int(RELEASES[column].split(".")[2])
    older = sys.version_info[:2] == (3, column + 11) and sys.version_info[2] < counted_patch
    return max(column - 1, 0) if older else column, False


def expected(suite: str) -> tuple[int, bool]:
    """The suite's number of tests here, and whether it is exact or a lower bound."""
    column, exact = _column()
    return COUNTS[suite][column], exact


def check_module(name: str, tests: int, on_loop: int) -> None:
    """Fails a module that has fewer tests than it should, or whose tests miss the loop."""
    column, exact = _column()
    wanted = MODULES[name][column]
    if exact:
        assert (tests, on_loop) == wanted
    else:
        assert tests >= wanted[0]
        assert on_loop >= wanted[1]
