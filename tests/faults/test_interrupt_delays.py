"""Ctrl-C out of the calls that wait within another: `wait_for`, `exception`, `with`.

The calls that wait by themselves are interrupted in test_locks_faults, test_queue_process and
test_thread_pool_ends.
"""

from __future__ import annotations

import os

import pytest

from tests.support import succeeds

PATHS = (os.getcwd(), os.path.join(os.getcwd(), "python"))
PROGRAM = """
import asyncio, os, signal, sys, threading as stdlib, time
sys.path[:0] = sys.argv[1:]
from counterpoint import futures, threading
from tests.support import eventually

sent, took = [0.0], []

def interrupt():
    waiting.wait()
    # The call that was announced is about to wait, or does.
    stdlib.Event().wait(0.03)
    sent[0] = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)

def hold():
    with condition:
        release.wait()

for _ in range(5):
    waiting, release = stdlib.Event(), stdlib.Event()
    pool = futures.ThreadPoolExecutor(1)
    future = pool.submit(release.wait)
    condition, plain = threading.Condition(), threading.Condition(threading.Lock())
    sender = stdlib.Thread(target=interrupt)
    sender.start()
    try:
        CALL
    except KeyboardInterrupt:
        took.append(time.monotonic() - sent[0])
    else:
        raise SystemExit("not interrupted")
    sender.join()
    release.set()
    assert not condition.waiters and not plain.waiters and not condition.locked()
    pool.shutdown()
# The median is what is promised; the worst is for a machine that is busy with other things.
took.sort()
assert took[2] < 0.1 and took[-1] < 2.0, took
"""

CALLS = {
    "result": "waiting.set(); future.result()",
    "result-timeout": "waiting.set(); future.result(60)",
    "exception": "waiting.set(); future.exception()",
    "exception-timeout": "waiting.set(); future.exception(timeout=60)",
    "a-future-of-no-pool": "waiting.set(); futures.Future().exception()",
    "wait_for": """
        with condition:
            waiting.set()
            condition.wait_for(lambda: False)
""",
    "wait_for-timeout": """
        with condition:
            waiting.set()
            condition.wait_for(lambda: False, timeout=60)
""",
    "wait_for-plain-lock": """
        with plain:
            waiting.set()
            plain.wait_for(lambda: False)
""",
    "leaving-a-pool": """
        with pool:
            waiting.set()
""",
    "with-lock": """
        lock = threading.Lock()
        lock.acquire()
        waiting.set()
        with lock:
            pass
""",
    "with-semaphore": """
        semaphore = threading.Semaphore(0)
        waiting.set()
        with semaphore:
            pass
""",
    "with-condition": """
        other = stdlib.Thread(target=hold)
        other.start()
        eventually(condition.locked)
        waiting.set()
        try:
            with condition:
                pass
        finally:
            release.set()
            other.join()
""",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=list(CALLS))
def test_ctrl_c_ends_it_soon(call: str) -> None:
    succeeds(PROGRAM.replace("        CALL", f"        {call.strip()}"), *PATHS)


def test_a_pool_whose_end_was_interrupted_still_waits_for_its_workers() -> None:
    """Before 3.13 `Thread.join`, when interrupted, takes its thread for ended."""
    succeeds(
        PROGRAM.partition("for _ in range(5):")[0]
        + """
waiting, release = stdlib.Event(), stdlib.Event()
pool = futures.ThreadPoolExecutor(1)
future = pool.submit(release.wait)
sender = stdlib.Thread(target=interrupt)
sender.start()
try:
    with pool:
        waiting.set()
except KeyboardInterrupt:
    pass
else:
    raise SystemExit("not interrupted")
sender.join()
(worker,) = pool._threads
assert worker.is_alive() and not future.done()
shutting = stdlib.Thread(target=pool.shutdown)
shutting.start()
shutting.join(0.05)
assert shutting.is_alive()
release.set()
shutting.join()
assert future.result(0) is True and not worker.is_alive()
""",
        *PATHS,
    )
