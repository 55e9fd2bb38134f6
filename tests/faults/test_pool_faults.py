"""Interruptions, forks and failing callbacks in the middle of a pool's work."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from typing import Any

import pytest

from counterpoint.futures import CancelledError, Future, ThreadPoolExecutor
from counterpoint.queue import Queue
from tests.faults.scripts import run
from tests.support import DEADLINE, eventually, loops, result, spawn
from tests.unit.making import is_asleep
from tests.unit.pools import Busy


class TestRoom:
    def test_an_interrupted_submission_leaves_the_room_to_others(self) -> None:
        program = """
from counterpoint.futures import ThreadPoolExecutor
class Interruption(BaseException): pass
def handle(*_): raise Interruption
signal.signal(signal.SIGALRM, handle)
interrupted = 0
for _ in range(40):
    pool = ThreadPoolExecutor(1, max_pending=1)
    go, admitted = threading.Event(), threading.Event()
    first = pool.submit(go.wait)
    eventually(first.running)
    pool.submit(int)
    main = threading.main_thread()
    def other():
        pool.submit(int)
        admitted.set()
    done = threading.Event()
    def kick():
        # First the main thread waits for room, then the other.
        eventually(lambda: asleep(main))
        begin(other)
        go.set()
        os.kill(os.getpid(), signal.SIGALRM)
        done.set()
    threading.Thread(target=kick, daemon=True).start()
    try:
        try:
            pool.submit(int)
        except Interruption:
            interrupted += 1
        while not done.is_set():
            pass
    except Interruption:
        pass
    assert admitted.wait(20)
    pool.shutdown(wait=False)
print("ok")
"""
        assert run(program) == "ok\n"

    def test_a_coroutine_that_raises_leaves_the_room_to_others(self) -> None:
        class Failing(ThreadPoolExecutor):
            def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Any:
                if args == ("fail",):
                    raise ZeroDivisionError
                return super().submit(fn, *args, **kwargs)

        with Failing(1, max_pending=1) as pool, loops() as (loop,):
            with Busy(pool):
                pool.submit(int)
                failing = loop.start(pool.async_submit(str, "fail"))
                eventually(lambda: waiting_for_room(pool) == 1)
                other = spawn(pool.submit, abs, -3)
                threading.Event().wait(0.05)
            with pytest.raises(ZeroDivisionError):
                failing.result(DEADLINE)
            assert result(other).result(DEADLINE) == 3

    @pytest.mark.parametrize("who", ["threads", "tasks"])
    def test_one_that_is_overtaken_keeps_its_place(self, who: str) -> None:
        with ThreadPoolExecutor(1, max_pending=1) as pool, loops() as (loop,):
            order: list[str] = []
            with Busy(pool):
                pool.submit(int)
                waiting: list[Any] = []
                for name in "abc":
                    if who == "tasks":
                        waiting.append(loop.start(pool.async_submit(order.append, name)))
                        eventually(lambda: waiting_for_room(pool) == len(waiting))
                    else:
                        waiting.append(spawn(pool.submit, order.append, name))
                        # More than once: it is not the interpreter that it waits for.
                        for _ in range(3):
                            eventually(lambda: is_asleep(waiting[-1].thread))
                            threading.Event().wait(0.001)
            for each in waiting:
                result(each).result(DEADLINE)
            assert order == ["a", "b", "c"]


def waiting_for_room(pool: ThreadPoolExecutor) -> int:
    import gc

    referents = gc.get_referents(pool._counterpoint_pool)
    return sum(isinstance(each, asyncio.Task) for each in referents)


class Raising:
    """A condition whose `notify_all` is interrupted."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass

    def notify_all(self) -> None:
        raise KeyboardInterrupt


def test_cancel_wakes_before_it_notifies() -> None:
    future: Future[int] = Future()
    waiting = spawn(future.result)
    threading.Event().wait(0.05)
    future._condition = Raising()  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        future.cancel()
    future._condition = threading.Condition()
    with pytest.raises(CancelledError):
        waiting.result(DEADLINE)


class TestManyFutures:
    """What one future raises does not leave the others behind."""

    def test_a_failed_initializer(self) -> None:
        go_on = threading.Event()

        def fail() -> None:
            assert go_on.wait(DEADLINE)
            raise OSError

        pool = ThreadPoolExecutor(1, initializer=fail)
        pending = [pool.submit(int) for _ in range(3)]
        pending[0]._condition = Raising()  # type: ignore[assignment]
        go_on.set()
        for future in pending[1:]:
            assert isinstance(future.exception(DEADLINE), pool.BROKEN)
        pool.shutdown()

    def test_an_exception_that_cannot_be_made(self) -> None:
        pool = ThreadPoolExecutor(1)
        with pool, Busy(pool):
            pending = [pool.submit(int) for _ in range(3)]

            def make() -> BaseException:
                raise ValueError("no exception for you")

            with pytest.raises(ValueError, match="no exception for you"):
                pool._counterpoint_pool.fail_all(make)
            for future in pending:
                assert isinstance(future.exception(DEADLINE), ValueError)

    def test_a_shutdown(self) -> None:
        pool = ThreadPoolExecutor(1)
        with Busy(pool):
            pending = [pool.submit(int) for _ in range(3)]
            pending[0]._waiters.append(object())
            with pytest.raises(AttributeError):
                pool.shutdown(wait=False, cancel_futures=True)
            assert [future._state for future in pending[1:]] == ["CANCELLED_AND_NOTIFIED"] * 2


class TestForks:
    def test_queues_alone_notice_a_fork(self) -> None:
        """Threads that wait in the parent do not wait in the child."""
        program = """
from counterpoint.queue import Queue
assert "counterpoint.threading" not in sys.modules
queue = Queue()
begin(queue.get)
if os.fork() == 0:
    got = []
    getter = begin(lambda: got.append(queue.get()))
    queue.put("item")
    getter.join(10)
    os._exit(0 if got == ["item"] else 1)
print(os.waitstatus_to_exitcode(os.wait()[1]))
os._exit(print(end="", flush=True) or 0)
"""
        assert run(program) == "0\n"

    def test_a_hook_that_comes_first_finds_it_noticed(self) -> None:
        program = """
got = []
def hook():
    getter = begin(lambda: got.append(queue.get()))
    queue.put("item")
    getter.join(5)
os.register_at_fork(after_in_child=hook)
from counterpoint.queue import Queue
queue = Queue()
begin(queue.get)
if os.fork() == 0:
    os._exit(0 if got == ["item"] else 1)
print(os.waitstatus_to_exitcode(os.wait()[1]))
os._exit(print(end="", flush=True) or 0)
"""
        assert run(program) == "0\n"

    def test_a_task_that_forks_and_uses_the_pool(self) -> None:
        program = """
from counterpoint.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
def task():
    if os.fork():
        return os.waitstatus_to_exitcode(os.wait()[1])
    ok = pool.submit(abs, -3).result(10) == 3
    def later():
        # The task has returned in the child, too: its worker is none there. (Joining it ends on no
        # version from 3.14 on, also without a pool: after a fork it is the main thread.)
        good = False
        try:
            eventually(lambda: pool.statistics().running == 0)
            good = ok and [pool.submit(abs, -n).result(10) for n in range(3)] == [0, 1, 2]
        finally:
            os._exit(0 if good else 1)
    threading.Thread(target=later).start()
print(pool.submit(task).result())
"""
        assert run(program) == "0\n"

    def test_a_child_s_thread_is_not_the_parent_s_comparer(self) -> None:
        program = """
from counterpoint.queue import PriorityQueue
queue = PriorityQueue()
class Key:
    slow = False
    def __init__(self, value):
        self.value = value
    def __lt__(self, other):
        if Key.slow:
            begun.set()
            threading.Event().wait(30)
        return self.value < other.value
begun = threading.Event()
queue.put(Key(1))
Key.slow = True
threading.Thread(target=queue.put, args=(Key(2),), daemon=True).start()
begun.wait()
if os.fork() == 0:
    Key.slow = False
    # It has the number of the parent's comparer, if it gets its stack.
    putter = threading.Thread(target=queue.put, args=(Key(3),), daemon=True)
    putter.start()
    putter.join(10)
    got = queue.get(timeout=10).value
    os._exit(0 if got == 3 and queue.qsize() == 0 else 1)
print(os.waitstatus_to_exitcode(os.wait()[1]))
os._exit(print(end="", flush=True) or 0)
"""
        assert run(program) == "0\n"


class TestDeepStacks:
    """A thread at its recursion limit can call no loop; who waits there is told all the same."""

    @pytest.mark.parametrize("margin", range(20))
    def test_an_item_for_a_task(self, margin: int) -> None:
        queue: Queue[str] = Queue()
        with loops() as (loop,):
            waiting = loop.start(queue.async_get())
            eventually(lambda: queue.statistics().getters == 1)
            at_the_limit(lambda: queue.put("item"), margin)
            if queue.statistics().puts == 0:
                queue.put("item")
            assert waiting.result(DEADLINE) == "item"

    @pytest.mark.parametrize("margin", range(20))
    def test_a_result_for_a_task(self, margin: int) -> None:
        async def wait(future: Future[int]) -> int:
            return await future

        future: Future[int] = Future()
        with loops() as (loop,):
            waiting = loop.start(wait(future))
            eventually(lambda: future._done_callbacks)
            at_the_limit(lambda: future.set_result(7), margin)
            if not future.done():
                future.set_result(7)
            assert waiting.result(DEADLINE) == 7


def at_the_limit(function: Any, margin: int) -> None:
    """Calls a function with only so many frames left."""
    depth, frame = 0, sys._getframe()
    while frame is not None:
        depth, frame = depth + 1, frame.f_back  # type: ignore[assignment]

    def descend(left: int) -> None:
        if left == 0:
            function()
        else:
            descend(left - 1)

    # Or some other test's finalizer is called down there.
    gc.disable()
    try:
        descend(sys.getrecursionlimit() - depth - margin - 1)
    except RecursionError:
        pass
    finally:
        gc.enable()


def test_contents_of_a_queue_that_dies_with_its_thread() -> None:
    """Deeply nested queues may die after the variables of their thread did."""
    pytest.importorskip("ctypes")
    program = """
import ctypes
from counterpoint.queue import Queue
def nest(depth):
    outer = None
    for _ in range(depth):
        queue = Queue()
        queue.put(outer)
        outer = queue
    return outer
libc = ctypes.CDLL(None)
key = ctypes.c_uint()
kept = [nest(200)]
gone = []
@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def destroy(_):
    kept.clear()
    gone.append(True)
assert libc.pthread_key_create(ctypes.byref(key), destroy) == 0
def work():
    nest(200)
    assert libc.pthread_setspecific(key, ctypes.c_void_p(1)) == 0
thread = threading.Thread(target=work)
thread.start()
thread.join()
eventually(lambda: gone)
print(gone)
"""
    assert run(program) == "[True]\n"
