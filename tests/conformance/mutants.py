"""Deliberately broken classes, one for each suite; run as a script it tells whether the suite
goes red: `python -m tests.conformance.mutants SUITE`."""

from __future__ import annotations

import multiprocessing
import os
import sys
import unittest
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.conformance import breaking, breaking_loops
from tests.conformance.binding import bind, chosen_target
from tests.conformance.private import View
from tests.conformance.suites import BY_NAME, Suite, names_in
from tests.conformance.targets import Target


@dataclass(frozen=True)
class Mutant:
    """What breaks a class, and the test that has to notice."""

    suite: str
    part: str
    name: str
    breaks: Callable[[type], object]
    noticed_by: str


def processes(suite: str, name: str, breaks: Callable[..., object], noticed_by: str) -> Mutant:
    """A mutant of what processes share."""
    return Mutant(f"Process{suite}", "multiprocessing", name, breaks, noticed_by)


def executors(suite: str, breaks: Callable[..., object], noticed_by: str) -> Mutant:
    """A mutant of the pool of processes."""
    return Mutant(f"Executor{suite}", "futures", "ProcessPoolExecutor", breaks, noticed_by)


def loops(suite: str, breaks: Callable[..., object], noticed_by: str) -> Mutant:
    """A mutant of what makes loops."""
    return Mutant(f"Loop{suite}", "aio", "new_event_loop", breaks, noticed_by)


early = breaking.answering("wait", True, call=False)

MUTANTS = (
    Mutant("Lock", "threading", "Lock", breaking.lock_for_everybody, "test_try_acquire_contended"),
    Mutant(
        "RLock",
        "threading",
        "_CRLock",
        breaking.forgiving("release", RuntimeError),
        "test_release_unacquired",
    ),
    Mutant("Condition", "threading", "Condition", early, "test_notify"),
    Mutant("ConditionOverAnyLock", "threading", "Condition", early, "test_notify"),
    Mutant(
        "ConditionAsRLock",
        "threading",
        "Condition",
        breaking.answering("__enter__", True, False),
        "test_with",
    ),
    Mutant(
        "Semaphore", "threading", "Semaphore", breaking.semaphore_without_limit, "test_try_acquire"
    ),
    Mutant(
        "BoundedSemaphore",
        "threading",
        "BoundedSemaphore",
        breaking.forgiving("release", ValueError),
        "test_release_unacquired",
    ),
    Mutant("Event", "threading", "Event", breaking.answering("clear", None, False), "test_is_set"),
    Mutant("Barrier", "threading", "Barrier", breaking.answering("wait", 0), "test_wait_return"),
    Mutant(
        "Threads",
        "threading",
        "BoundedSemaphore",
        breaking.forgiving("release", ValueError),
        "test_BoundedSemaphore_limit",
    ),
    Mutant(
        "ThreadingExceptions",
        "threading",
        "Lock",
        breaking.lock_for_everybody,
        "test_releasing_unacquired_lock",
    ),
    Mutant("RLockSignature", "threading", "RLock", breaking.silent_rlock, "test_signature"),
    Mutant(
        "LockSignals", "threading", "Lock", breaking.deaf_lock, "test_lock_acquire_interruption"
    ),
    Mutant("Queue", "queue", "Queue", breaking.queue_in_disguise("LifoQueue"), "test_basic"),
    Mutant("LifoQueue", "queue", "LifoQueue", breaking.queue_in_disguise("Queue"), "test_basic"),
    Mutant(
        "PriorityQueue", "queue", "PriorityQueue", breaking.queue_in_disguise("Queue"), "test_basic"
    ),
    Mutant("FailingQueue", "queue", "Queue", breaking.hiding_queue, "test_failing_queue"),
    Mutant("SimpleQueue", "queue", "SimpleQueue", breaking.hoarding_queue, "test_references"),
    Mutant("Future", "futures", "Future", breaking.answering("cancel", True), "test_cancel"),
    Mutant("ThreadPool", "futures", "ThreadPoolExecutor", breaking.reversing_pool, "test_map"),
    Mutant("Wait", "futures", "wait", breaking.hasty_wait, "test_timeout"),
    Mutant(
        "AsCompleted",
        "futures",
        "as_completed",
        breaking.doubling_as_completed,
        "test_duplicate_futures",
    ),
    Mutant(
        "Initializer",
        "futures",
        "ThreadPoolExecutor",
        breaking.uninitialized_pool,
        "test_initializer",
    ),
    Mutant(
        "FailingInitializer",
        "futures",
        "ThreadPoolExecutor",
        breaking.uninitialized_pool,
        "test_initializer",
    ),
    Mutant(
        "Shutdown", "futures", "ThreadPoolExecutor", breaking.diligent_pool, "test_cancel_futures"
    ),
    processes("Queue", "Queue", breaking.made(breaking.answering("full", False)), "test_put"),
    processes(
        "SimpleQueue", "SimpleQueue", breaking.made(breaking.answering("empty", 0)), "test_empty"
    ),
    processes("Lock", "Lock", breaking.lock_for_everybody, "test_lock"),
    processes(
        "Semaphore", "Semaphore", breaking.made(breaking.semaphore_without_limit), "test_semaphore"
    ),
    processes("Condition", "Condition", breaking.made(early), "test_timeout"),
    processes(
        "Event", "Event", breaking.made(breaking.answering("clear", None, False)), "test_repr"
    ),
    processes(
        "Barrier", "Barrier", breaking.made(breaking.answering("wait", 0)), "test_wait_return"
    ),
    processes("Value", "Value", breaking.lockless, "test_getobj_getlock"),
    processes("Array", "Array", breaking.lockless, "test_getobj_getlock_obj"),
    processes("Pool", "Pool", breaking.reversing_processes, "test_map"),
    processes("PoolErrors", "Pool", breaking.deaf_pool, "test_async_error_callback"),
    processes("PoolLifetime", "Pool", breaking.easy_pool, "test_pool_maxtasksperchild_invalid"),
    executors("", breaking.reversing_pool, "test_map"),
    Mutant("ExecutorWait", "futures", "wait", breaking.hasty_wait, "test_timeout"),
    Mutant(
        "ExecutorAsCompleted",
        "futures",
        "as_completed",
        breaking.doubling_as_completed,
        "test_duplicate_futures",
    ),
    executors("Initializer", breaking.without("initializer", "initargs"), "test_initializer"),
    executors(
        "FailingInitializer", breaking.without("initializer", "initargs"), "test_initializer"
    ),
    executors("Shutdown", breaking.answering("shutdown", None, False), "test_run_after_shutdown"),
    executors("Deadlock", breaking.losing_pool, "test_exit_during_func_exec_on_worker"),
    executors("Breaking", breaking.without("on_worker_death"), "test_killed_child"),
    loops("Events", breaking_loops.running_closed, "test_close"),
    loops("Sock", breaking_loops.receiving_nothing, "test_sock_client_ops"),
    loops("Sendfile", breaking_loops.sending_no_file, "test_sock_sendfile_success"),
    loops("StartTLS", breaking_loops.taking_no_context, "test_start_tls_wrong_args"),
    loops("StartServer", breaking_loops.serving_at_once, "test_start_server_1"),
    loops("Buffered", breaking_loops.aborting, "test_buffered_proto_create_connection"),
)


def broken(chosen: Target, mutant: Mutant) -> Target:
    """The target with the mutant's class in place of its own."""
    part = getattr(chosen, mutant.part)
    value = mutant.breaks(getattr(part, mutant.name))
    names = {mutant.name: value}
    if mutant.name == "_CRLock":
        names["RLock"] = value
    return replace(chosen, swapped={mutant.part: View(part, **names)})


def failing_test(suite: Suite, mutant: Mutant) -> str | None:
    """The first test of the suite that fails on the mutant, the one meant to notice tried first."""
    case = bind(suite, broken(chosen_target(), mutant))
    rest = [name for name in names_in(case) if name != mutant.noticed_by]
    for name in (mutant.noticed_by, *rest):
        result = unittest.TestResult()
        case(name).run(result)
        if not result.wasSuccessful():
            return name
    return None


def main() -> int:
    """Print the failing test; 1 when the suite stays green."""
    (mutant,) = (each for each in MUTANTS if each.suite == sys.argv[1])
    found = failing_test(BY_NAME[mutant.suite], mutant)
    print(found or "green", flush=True)
    for child in multiprocessing.active_children():
        child.kill()
    return 0 if found else 1


if __name__ == "__main__":
    # Threads that a broken class left stuck would keep the interpreter from ending.
    os._exit(main())
