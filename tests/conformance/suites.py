"""Which of CPython's suites are bound, and to which attribute each takes its class."""

from __future__ import annotations

import asyncio
import unittest
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType

from tests.conformance.deviations import left_out
from tests.conformance.targets import Target, futures_views, lock_views, process_views

Attributes = Callable[[Target], Mapping[str, object]]
Views = Callable[[Target], Mapping[str, ModuleType]]

# The start method by which a suite is bound that is bound once.
FIRST_METHOD = "forkserver"


def _nothing(_: Target) -> Mapping[str, object]:
    return {}


@dataclass(frozen=True)
class Suite:
    """One class of CPython's suites and how our classes get into it."""

    name: str
    group: str
    module: str
    case: str
    views: Views
    attributes: Attributes = _nothing
    # Only these tests of the class concern ours; () means all.
    only: tuple[str, ...] = ()
    long: bool = False
    timeout: int = 60
    # Of tests that are bound for each start method, those where it does not matter, as a pattern:
    # but for one method they run in test-all only.
    repeated: str = ""
    # Another class of the suite's module, from which the case gets what it tests.
    mixin: str | None = None

    @property
    def without(self) -> tuple[str, ...]:
        """Tests that cannot apply to the class."""
        return left_out(self.name)

    def case_for(self, method: str | None) -> str:
        """The class's name: where there is one for each start method, that of this method."""
        return self.case.format(method=(method or FIRST_METHOD).capitalize())


def _threading(attribute: str, name: str) -> Attributes:
    return lambda chosen: {attribute: staticmethod(getattr(chosen.threading, name))}


def _no_views(_: Target) -> Mapping[str, ModuleType]:
    return {}


def _lock(name: str, attribute: str, case: str, cls: str, **more: object) -> Suite:
    views = more.pop("views", lock_views)
    attributes = _threading(attribute, cls)
    return Suite(name, "locks", "test.lock_tests", case, views, attributes, long=True, **more)


LOCKS = (
    _lock("Lock", "locktype", "LockTests", "Lock"),
    _lock("RLock", "locktype", "RLockTests", "RLock"),
    _lock("Condition", "condtype", "ConditionTests", "Condition"),
    # The suite's `threading.Lock()` stays the standard library's: a condition takes any lock.
    _lock("ConditionOverAnyLock", "condtype", "ConditionTests", "Condition", views=_no_views),
    _lock("ConditionAsRLock", "locktype", "RLockTests", "Condition"),
    _lock("Semaphore", "semtype", "SemaphoreTests", "Semaphore"),
    _lock("BoundedSemaphore", "semtype", "BoundedSemaphoreTests", "BoundedSemaphore"),
    _lock("Event", "eventtype", "EventTests", "Event"),
    _lock("Barrier", "barriertype", "BarrierTests", "Barrier"),
)


def _piece(name: str, module: str, case: str, only: tuple[str, ...]) -> Suite:
    return Suite(name, "threads", module, case, lock_views, only=only)


# What test_threading and test_threadsignals say about locks; the rest is about threads.
THREADS = (
    _piece(
        "Threads",
        "test.test_threading",
        "ThreadTests",
        (
            "test_lock_no_args",
            "test_lock_no_subclass",
            "test_lock_or_none",
            "test_various_ops",
            "test_BoundedSemaphore_limit",
        ),
    ),
    _piece(
        "ThreadingExceptions",
        "test.test_threading",
        "ThreadingExceptionTests",
        ("test_releasing_unacquired_lock",),
    ),
    _piece("RLockSignature", "test.test_threading", "CRLockTests", ("test_signature",)),
    _piece(
        "LockSignals",
        "test.test_threadsignals",
        "ThreadSignals",
        (
            "test_lock_acquire_interruption",
            "test_rlock_acquire_interruption",
            "test_lock_acquire_retries_on_intr",
            "test_rlock_acquire_retries_on_intr",
            "test_interrupted_timed_acquire",
        ),
    ),
)


def _queue(name: str) -> Suite:
    attributes: Attributes = lambda chosen: {"queue": chosen.queue}  # noqa: E731
    # The suite tests two implementations, Py and C; the tests of C contain those of Py.
    return Suite(name, "queues", "test.test_queue", f"C{name}Test", _no_views, attributes)


QUEUES = tuple(
    _queue(name) for name in ("Queue", "LifoQueue", "PriorityQueue", "FailingQueue", "SimpleQueue")
)


def _futures(name: str, module: str, case: str, **more: object) -> Suite:
    full = f"test.test_concurrent_futures.{module}"
    return Suite(name, "futures", full, case, futures_views, timeout=120, **more)


FUTURES = (
    _futures("Future", "test_future", "FutureTests"),
    _futures("ThreadPool", "test_thread_pool", "ThreadPoolExecutorTest", long=True),
    _futures("Wait", "test_wait", "ThreadPoolWaitTests", long=True),
    _futures("AsCompleted", "test_as_completed", "ThreadPoolAsCompletedTest"),
    _futures("Initializer", "test_init", "ThreadPoolInitializerTest"),
    _futures("FailingInitializer", "test_init", "ThreadPoolFailingInitializerTest"),
    _futures("Shutdown", "test_shutdown", "ThreadPoolShutdownTest", long=True),
)


def _processes(name: str, case: str) -> Suite:
    return Suite(
        f"Process{name}",
        "processes",
        "test._test_multiprocessing",
        case,
        process_views,
        long=True,
        timeout=120,
        mixin="ProcessesMixin",
    )


# Bound three times, once for each start method.
PROCESSES = (
    _processes("Queue", "_TestQueue"),
    _processes("SimpleQueue", "TestSimpleQueue"),
    _processes("Lock", "_TestLock"),
    _processes("Semaphore", "_TestSemaphore"),
    _processes("Condition", "_TestCondition"),
    _processes("Event", "_TestEvent"),
    _processes("Barrier", "_TestBarrier"),
    _processes("Value", "_TestValue"),
    _processes("Array", "_TestArray"),
    _processes("Pool", "_TestPool"),
    _processes("PoolErrors", "_TestPoolWorkerErrors"),
    _processes("PoolLifetime", "_TestPoolWorkerLifetime"),
)


def _executor(name: str, module: str, case: str, **more: object) -> Suite:
    full = f"test.test_concurrent_futures.{module}"
    case = f"ProcessPool{{method}}{case}Test"
    more = {"long": True, "timeout": 120, **more}
    return Suite(f"Executor{name}", "executors", full, case, futures_views, **more)


def _breaking(_: Target) -> Mapping[str, object]:
    return {"executor_kwargs": {"on_worker_death": "break"}}


# Bound three times, each to the suite's class for the start method.
EXECUTORS = (
    _executor("", "test_process_pool", "ProcessPoolExecutor", repeated="test_map_timeout"),
    _executor("Wait", "test_wait", "Wait", repeated="test_*"),
    _executor("AsCompleted", "test_as_completed", "AsCompleted", repeated="test_*"),
    _executor("Initializer", "test_init", "Initializer"),
    _executor("FailingInitializer", "test_init", "FailingInitializer"),
    _executor("Shutdown", "test_shutdown", "ProcessPoolShutdown"),
    _executor("Deadlock", "test_deadlock", "ExecutorDeadlock"),
    # What a death does to the whole pool, if that is asked for.
    _executor(
        "Breaking",
        "test_process_pool",
        "ProcessPoolExecutor",
        attributes=_breaking,
        only=("test_killed_child", "test_broken_process_pool_traceback"),
    ),
)


def _close_loop(loop: asyncio.AbstractEventLoop) -> None:
    """What the suites' own does, by public methods alone: other loops have no asyncio's insides."""
    if not loop.is_closed():
        loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


def _making_loops(method: str) -> Attributes:
    def attributes(chosen: Target) -> Mapping[str, object]:
        make = staticmethod(chosen.aio.new_event_loop)
        return {method: lambda _: make(), "close_loop": staticmethod(_close_loop)}

    return attributes


def _loop(name: str, module: str, case: str, method: str, **more: object) -> Suite:
    full = f"test.test_asyncio.{module}"
    return Suite(f"Loop{name}", "loops", full, case, _no_views, _making_loops(method), **more)


# Each is bound to the class that CPython binds to asyncio's own loop.
LOOPS = (
    _loop("Events", "test_events", "SelectEventLoopTests", "create_event_loop"),
    _loop("Sock", "test_sock_lowlevel", "SelectEventLoopTests", "create_event_loop"),
    _loop("Sendfile", "test_sendfile", "SelectEventLoopTests", "create_event_loop"),
    _loop("StartTLS", "test_sslproto", "SelectorStartTLSTests", "new_loop"),
    _loop("StartServer", "test_server", "SelectorStartServerTests", "new_loop"),
    _loop("Buffered", "test_buffered_proto", "BufferedProtocolSelectorTests", "new_loop"),
)

SUITES = (*LOCKS, *THREADS, *QUEUES, *FUTURES, *PROCESSES, *EXECUTORS, *LOOPS)
BY_NAME = {suite.name: suite for suite in SUITES}


def names_in(case: type[unittest.TestCase]) -> list[str]:
    """The names that unittest and pytest collect from `case`."""
    return list(unittest.TestLoader().getTestCaseNames(case))
