"""All cases, in the order of the report."""

from __future__ import annotations

from benches.vs.case import Case
from benches.vs.cases import locks, mixed, pools, queues

ALL: tuple[Case, ...] = (*queues.CASES, *locks.CASES, *pools.CASES, *mixed.CASES)
