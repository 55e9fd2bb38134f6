"""The one place that says what is not run or not passed, and why; the docs' table comes from it."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
import sysconfig
from dataclasses import dataclass

FREE_THREADED_VARIABLE = "COUNTERPOINT_CONFORMANCE_FREE_THREADED"


@dataclass(frozen=True)
class Deviation:
    """A test of CPython's that our classes are not meant to pass."""

    suite: str
    test: str
    reason: str
    since: tuple[int, int] = (3, 11)


@dataclass(frozen=True)
class OwnSkip:
    """A test that CPython's suite may skip by itself, where, and part of the reason it gives."""

    suite: str
    test: str
    reason: str
    where: str


@dataclass(frozen=True)
class LeftOut:
    """A test that CPython's own binding of the suite replaces by a skip, and so does ours."""

    suite: str
    test: str
    reason: str
    since: tuple[int, int] = (3, 11)


@dataclass(frozen=True)
class Absent:
    """A package of CPython's tests with which some releases are not installed."""

    module: str
    releases: str
    reason: str


NO_FEEDER = "no feeder thread prints the error of what cannot be pickled: put() raises it"
LAZY_WORKERS = "counts the workers of a new pool; ours are started as calls need them"
OWN_FAULT = "what cannot be unpickled, a call or a result, fails with the error of that alone"
REFUSED = "counts the workers started for calls that cannot be pickled; ours start none for those"
FINISHES = "a pool whose executor is gone finishes what was submitted; the stdlib's gives that up"
INSIDES = "replaces what is inside of the stdlib's executor; ours has no such part"

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        "SimpleQueue",
        "test_simplequeue_sizeof",
        "asserts the size of CPython's C struct; ours is of another shape",
        since=(3, 15),
    ),
    Deviation("ProcessQueue", "test_queue_feeder_donot_stop_onexc", NO_FEEDER),
    Deviation("ProcessQueue", "test_queue_feeder_on_queue_feeder_error", NO_FEEDER),
    Deviation(
        "ProcessSimpleQueue",
        "test_closed",
        "looks at the pipe in the queue; there is none",
    ),
    Deviation("ProcessPool", "test_make_pool", LAZY_WORKERS),
    Deviation("ProcessPoolLifetime", "test_pool_worker_lifetime", LAZY_WORKERS),
    Deviation(
        "ProcessPoolErrors",
        "test_unpickleable_result",
        "a result that cannot be pickled raises pickle's own error, which names the part, and "
        "not MaybeEncodingError; with cloudpickle this one can be",
    ),
    Deviation(
        "Executor",
        "test_killed_child",
        'a death costs the call that it ran; with on_worker_death="break" the test is passed',
    ),
    Deviation(
        "Executor",
        "test_broken_process_pool_traceback",
        "as test_killed_child, and passed in the same way",
        since=(3, 14),
    ),
    Deviation(
        "Executor",
        "test_max_tasks_per_child_defaults_to_spawn_context",
        'expects "spawn"; the zygote, which is the default, has no second thread to be afraid of',
        since=(3, 12),
    ),
    Deviation("Executor", "test_saturation", REFUSED),
    Deviation("ExecutorShutdown", "test_processes_terminate", REFUSED),
    Deviation("Executor", "test_shutdown_no_wait_max_tasks_gh119592", FINISHES, since=(3, 14)),
    Deviation("Executor", "test_gc_during_max_tasks_worker_exit_gh152967", FINISHES, since=(3, 14)),
    Deviation("Executor", "test_python_finalization_error", INSIDES, since=(3, 13)),
    Deviation(
        "Executor", "test_force_shutdown_during_max_tasks_worker_exit", INSIDES, since=(3, 14)
    ),
    Deviation("Executor", "test_failed_worker_replacement_breaks_pool", INSIDES, since=(3, 14)),
    Deviation("Executor", "test_force_shutdown_workers", INSIDES, since=(3, 14)),
    Deviation(
        "ExecutorShutdown",
        "test_cancel_futures",
        "expects that some calls cannot be cancelled; ours can until a worker has begun with them",
    ),
    Deviation("ExecutorDeadlock", "test_error_at_task_unpickle", OWN_FAULT),
    Deviation("ExecutorDeadlock", "test_exit_at_task_unpickle", OWN_FAULT),
    Deviation("ExecutorDeadlock", "test_error_during_result_unpickle_in_result_handler", OWN_FAULT),
    Deviation("ExecutorDeadlock", "test_exit_during_result_unpickle_in_result_handler", OWN_FAULT),
)

OWN_SKIPS: tuple[OwnSkip, ...] = (
    OwnSkip(
        "ThreadPool",
        "test_idle_thread_reuse",
        "test is flaky without the GIL",
        where="free-threaded builds",
    ),
    OwnSkip("Executor", "test_idle_process_reuse_one", "without the GIL", "free-threaded builds"),
    OwnSkip("Executor", "test_max_workers_too_large", "Windows-only", where="Linux"),
    *(
        OwnSkip("Executor", test, "Incompatible with the fork start method", where="fork")
        for test in (
            "test_idle_process_reuse_one",
            "test_idle_process_reuse_multiple",
            "test_max_tasks_early_shutdown",
            "test_max_tasks_per_child_pending_tasks_gh115634",
        )
    ),
    *(
        OwnSkip("ExecutorShutdown", test, "Skipping test for start_method", where="fork")
        for test in ("test_shutdown_gh_132969_case_1", "test_shutdown_gh_132969_case_2")
    ),
    OwnSkip("ExecutorShutdown", "test_hang_gh83386", "83386", where="3.11 to 3.13"),
)

LEFT_OUT: tuple[LeftOut, ...] = (
    LeftOut(
        "ConditionAsRLock",
        "test_recursion_count",
        "a condition exports its lock's methods, `_recursion_count` not among them",
    ),
    LeftOut(
        "ConditionAsRLock",
        "test_constructor_noargs",
        "the constructor of a condition takes an argument, the lock",
        since=(3, 15),
    ),
)

ABSENT: tuple[Absent, ...] = (
    Absent(
        "test.test_concurrent_futures",
        "3.11.7, 3.12.1",
        "`make install` of these releases leaves the package out: the suites of threads are run "
        "from 3.13's, where that is found, and those of processes are not run "
        "(`pytest --conformance-suites=DIR` lends it from a source tree)",
    ),
)


def deviation(suite: str, test: str) -> Deviation | None:
    """The entry for a test on this interpreter, or None."""
    for entry in DEVIATIONS:
        if (entry.suite, entry.test) == (suite, test) and sys.version_info >= entry.since:
            return entry
    return None


def deviating(suite: str) -> set[str]:
    """The tests of a suite, or of a module that is run whole, that have an entry here."""
    return {e.test for e in DEVIATIONS if e.suite == suite and sys.version_info >= e.since}


def own_skip(suite: str, test: str, reason: str) -> bool:
    """Whether the table knows that CPython's suite skips this test for this reason."""
    return any((e.suite, e.test) == (suite, test) and e.reason in reason for e in OWN_SKIPS)


def left_out(suite: str) -> tuple[str, ...]:
    """The tests that cannot apply to the class to which this suite is bound."""
    return tuple(entry.test for entry in LEFT_OUT if entry.suite == suite)


def absent(module: str) -> str:
    """Why this interpreter has no such test module."""
    release = platform.python_version()
    package = ".".join(module.split(".")[:2])
    if importlib.util.find_spec("test.lock_tests") is None:
        return f"Python {release} is installed without {package}: its distributor packs it apart"
    return f"`make install` of CPython {release} leaves {package} out"


def interpreter_excluded() -> str | None:
    """Why the suites do not run on this interpreter at all, or None."""
    if not sysconfig.get_config_var("Py_GIL_DISABLED") or os.environ.get(FREE_THREADED_VARIABLE):
        return None
    return "the suites run on builds with the GIL; --conformance-free-threaded runs them here too"


def deviations_markdown() -> str:
    """The table of the documentation: tests not passed, tests not run, suites not there."""
    rows = [("suite", "test", "Python", "why"), ("---",) * 4]
    rows += [
        (e.suite, f"`{e.test}`", f"{e.since[0]}.{e.since[1]}+", f"not passed: {e.reason}")
        for e in DEVIATIONS
    ]
    rows += [
        (e.suite, f"`{e.test}`", e.where, f"not run: CPython's suite skips it, “{e.reason}”")
        for e in OWN_SKIPS
    ]
    rows += [
        (
            e.suite,
            f"`{e.test}`",
            f"{e.since[0]}.{e.since[1]}+",
            f"not run by CPython either: {e.reason}",
        )
        for e in LEFT_OUT
    ]
    rows += [(f"`{e.module}`", "all", e.releases, e.reason) for e in ABSENT]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


if __name__ == "__main__":
    print(deviations_markdown(), end="")
