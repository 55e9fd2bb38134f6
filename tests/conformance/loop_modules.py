"""CPython's asyncio modules that run whole, with the loop under test as asyncio's default."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass

from tests.conformance import deviations
from tests.conformance.loop_runs import Job, Outcomes, run


@dataclass(frozen=True)
class Module:
    """A module of `test.test_asyncio`."""

    name: str
    # Tests that look into `TestLoop`, or whose time is its: they have no use for another loop.
    invented: tuple[str, ...] = ()
    since: tuple[int, int] = (3, 11)
    long: bool = False

    def job(self, loop: str) -> Job:
        """All of the module on this loop."""
        return Job(loop, module=self.name, invented=self.invented)


MODULES = (
    Module("test_streams"),
    Module("test_ssl", long=True),
    Module("test_sslproto", long=True),
    Module("test_server"),
    Module("test_subprocess", long=True),
    Module("test_taskgroups"),
    Module("test_timeouts"),
    Module("test_locks"),
    Module("test_queues"),
    Module("test_waitfor"),
    Module("test_futures"),
    Module("test_futures2"),
    Module("test_tasks", long=True),
    Module("test_eager_task_factory", since=(3, 12)),
    Module("test_runners"),
    Module("test_staggered", since=(3, 13)),
    Module("test_threads"),
)
BY_NAME = {module.name: module for module in MODULES}


def absence(module: Module) -> str | None:
    """Why the module cannot be run on this interpreter, or None."""
    excluded = deviations.interpreter_excluded()
    if excluded is not None:
        return excluded
    if sys.version_info < module.since:
        return f"new in Python {module.since[0]}.{module.since[1]}"
    name = f"test.test_asyncio.{module.name}"
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:
        found = None
    return None if found else deviations.absent(name)


def missed(module: Module, loop: str, outcomes: Outcomes) -> dict[str, str]:
    """The tests that did not pass, but do so with asyncio's own loop: each with the reason."""
    doubtful = [name for name, outcome in outcomes.items() if not outcome.is_passed]
    if not doubtful or loop == "asyncio":
        return {}
    theirs = run(module.job("asyncio"), doubtful)
    return {
        name: f"{outcomes[name].state}: {outcomes[name].why}"
        for name in doubtful
        if name in theirs and theirs[name].is_passed
    }
