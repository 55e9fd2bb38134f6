"""What any event loop has to be safe from: checks that run on ours, asyncio's and the others'.

A check is a function of an `Arena`: it raises AssertionError where the loop is not safe. Each is
run in the tests, on the loops that are installed; `python -m tests.loop_checks` makes the table
of which loop passes which.
"""

from __future__ import annotations

from tests.loop_checks import (
    callbacks,
    crowds,
    cycles,
    forks,
    interrupts,
    peers,
    sockets,
    threads,
    timers,
    tls,
    writes,
)
from tests.loop_checks.arena import Arena, Check, Effort

MODULES = (
    timers,
    writes,
    callbacks,
    interrupts,
    crowds,
    threads,
    cycles,
    peers,
    sockets,
    tls,
    forks,
)

CHECKS: dict[str, Check] = {name: check for module in MODULES for name, check in module.ALL.items()}

__all__ = ["CHECKS", "Arena", "Check", "Effort"]
