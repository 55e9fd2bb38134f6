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
}


def expected(suite: str) -> tuple[int, bool]:
    """The suite's number of tests here, and whether it is exact or a lower bound.

    On the release of the table it is exact. A later patch release has no fewer; an earlier one
    no fewer than the last release before its minor version, as suites only grow.
    """
    column = min(sys.version_info[1] - 11, len(RELEASES) - 1)
    if platform.python_version() == RELEASES[column]:
        return COUNTS[suite][column], True
    counted_patch = int(RELEASES[column].split(".")[2])
    older = sys.version_info[:2] == (3, column + 11) and sys.version_info[2] < counted_patch
    return COUNTS[suite][max(column - 1, 0) if older else column], False
