"""All cases, in the order of the report."""

from __future__ import annotations

from benches.vs.case import Case
from benches.vs.cases import locks, loops, mixed, pools, processes, queues

SPEED: tuple[Case, ...] = (*queues.CASES, *locks.CASES, *pools.CASES, *mixed.CASES)
PROCESSES: tuple[Case, ...] = processes.CASES
LOOPS: tuple[Case, ...] = loops.SERVERS + loops.ALONE
ALL: tuple[Case, ...] = SPEED + PROCESSES + LOOPS
