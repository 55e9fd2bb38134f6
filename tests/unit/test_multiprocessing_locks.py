"""Locks, semaphores, events, conditions and barriers between processes."""

from __future__ import annotations

import multiprocessing as stdlib
import os
import pickle
import signal
import threading
from typing import Any

import pytest

from counterpoint import multiprocessing
from tests.support import DEADLINE, succeeds
from tests.unit import processes

pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

_ended = pytest.fixture(scope="module", autouse=True)(processes.ended)


@pytest.fixture(params=processes.METHODS)
def context(request: pytest.FixtureRequest) -> Any:
    """Each start method."""
    return multiprocessing.get_context(request.param)


@pytest.fixture
def fork() -> Any:
    """The fastest start method."""
    return multiprocessing.get_context("fork")


def kill(process: Any) -> None:
    """Kills a process, and leaves it a zombie."""
    os.kill(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["Lock", "RLock"])
def test_the_next_gets_the_lock_of_a_killed_holder_and_is_told(fork: Any, name: str) -> None:
    lock, held = getattr(fork, name)(), fork.Event()
    process = fork.Process(target=processes.hold_for_ever, args=(lock, held))
    process.start()
    assert held.wait(DEADLINE)
    assert lock.owner == process.pid
    assert lock.acquire(False) is False
    assert "SomeOtherProcess" in repr(lock)
    kill(process)
    died = lock.acquire(timeout=DEADLINE)
    assert isinstance(died, multiprocessing.OwnerDied)
    assert (died, died.pid, bool(died)) == (True, process.pid, True)
    assert lock.owner == os.getpid()
    assert lock.owner_deaths == 1
    lock.release()
    assert lock.acquire() is True
    lock.release()
    process.join()


def test_a_dead_holder_is_seen_whatever_the_timeout(fork: Any) -> None:
    lock, held = fork.Lock(), fork.Event()
    process = fork.Process(target=processes.hold_for_ever, args=(lock, held))
    process.start()
    assert held.wait(DEADLINE)
    kill(process)
    process.join()
    with lock as acquired:
        assert isinstance(acquired, multiprocessing.OwnerDied)
    process = fork.Process(target=processes.hold_for_ever, args=(lock, held))
    held.clear()
    process.start()
    assert held.wait(DEADLINE)
    kill(process)
    process.join()
    assert isinstance(lock.acquire(block=False), multiprocessing.OwnerDied)


def test_a_lock_is_released_by_anybody_and_once() -> None:
    lock = multiprocessing.Lock()
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert not lock.locked()
    with pytest.raises(ValueError, match="released too many times"):
        lock.release()


def test_an_rlock_is_released_by_its_thread_alone() -> None:
    lock = multiprocessing.RLock()
    lock.acquire()
    errors = []

    def release() -> None:
        try:
            lock.release()
        except AssertionError as error:
            errors.append(str(error))

    thread = threading.Thread(target=release)
    thread.start()
    thread.join()
    assert errors == ["attempt to release recursive lock not owned by thread"]
    assert lock._count() == 1
    lock.release()


@pytest.mark.parametrize("name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore"])
def test_reprs_are_the_stdlibs(name: str) -> None:
    ours, theirs = getattr(multiprocessing, name)(), getattr(stdlib, name)()
    assert repr(ours) == repr(theirs)
    with ours, theirs:
        assert repr(ours) == repr(theirs)
        texts: list[tuple[str, str]] = []
        thread = threading.Thread(target=lambda: texts.append((repr(ours), repr(theirs))))
        thread.start()
        thread.join()
        assert texts[0][0] == texts[0][1]


def test_a_forked_child_does_not_hold_what_its_parent_holds(fork: Any) -> None:
    lock, queue = fork.RLock(), fork.Queue()
    with lock:
        process = fork.Process(target=lambda: queue.put((lock._is_mine(), lock.acquire(False))))
        process.start()
        assert queue.get(timeout=DEADLINE) == (False, False)
        process.join()


def test_a_semaphore_is_bounded_if_it_is_told_so() -> None:
    semaphore = multiprocessing.BoundedSemaphore(1)
    with pytest.raises(ValueError, match="released too many times"):
        semaphore.release()
    with pytest.raises(ValueError, match="must be 0 to"):
        multiprocessing.Semaphore(-1)
    assert semaphore.maxvalue == 1


@pytest.mark.parametrize("timeout", [0, -1, 0.01])
def test_timeouts(timeout: float) -> None:
    semaphore = multiprocessing.Semaphore(0)
    assert semaphore.acquire(True, timeout) is False
    assert multiprocessing.Event().wait(timeout) is False
    with multiprocessing.Condition() as _:
        pass
    with pytest.raises(TypeError):
        semaphore.acquire(True, "soon")


def test_an_event_wakes_all(fork: Any) -> None:
    event, woken = fork.Event(), fork.Semaphore(0)
    waiting = [
        fork.Process(target=lambda: event.wait(DEADLINE) and woken.release()) for _ in range(3)
    ]
    for process in waiting:
        process.start()
    event.set()
    for process in waiting:
        process.join(DEADLINE)
    assert woken.get_value() == 3
    event.clear()
    assert not event.is_set()
    assert "unset" in repr(event)


def test_a_condition_notifies_first_come_first(fork: Any) -> None:
    condition, waiting, woken = fork.Condition(), fork.Semaphore(0), fork.Semaphore(0)
    started = []
    for _ in range(3):
        process = fork.Process(target=processes.wait_at, args=(condition, waiting, woken))
        process.start()
        started.append(process)
        assert waiting.acquire(timeout=DEADLINE)
    with condition:
        assert condition._sleeping_count.get_value() == 3
        condition.notify()
    assert woken.acquire(timeout=DEADLINE)
    started[0].join(DEADLINE)
    assert [process.is_alive() for process in started] == [False, True, True]
    with condition:
        condition.notify_all()
    for process in started:
        process.join(DEADLINE)
    assert woken.get_value() == 2


def test_a_notification_of_the_dead_goes_to_another(fork: Any) -> None:
    condition, waiting, woken = fork.Condition(), fork.Semaphore(0), fork.Semaphore(0)
    dying = fork.Process(target=processes.wait_at_for_ever, args=(condition, waiting))
    with condition:
        dying.start()
    assert waiting.acquire(timeout=DEADLINE)
    other = fork.Process(target=processes.wait_at, args=(condition, waiting, woken))
    # It holds the lock and will not return it: whoever comes next is told when it is dead.
    os.kill(dying.pid, signal.SIGSTOP)
    kill(dying)
    dying.join()
    other.start()
    assert waiting.acquire(timeout=DEADLINE)
    with condition:
        condition.notify(1)
    assert woken.acquire(timeout=DEADLINE)
    other.join()


def test_a_condition_wants_its_lock_held() -> None:
    condition = multiprocessing.Condition()
    with pytest.raises(AssertionError, match="must acquire"):
        condition.wait()
    with pytest.raises(AssertionError, match="not owned"):
        condition.notify()
    with condition:
        assert condition.wait_for(lambda: 5) == 5
        assert condition.wait_for(lambda: 0, 0.01) == 0


def test_a_barrier_passes_all(context: Any) -> None:
    barrier, places = context.Barrier(3), context.Queue()
    for _ in range(2):
        process = context.Process(target=processes.pass_barrier, args=(barrier, places))
        process.start()
    places.put(barrier.wait(DEADLINE))
    assert sorted(places.get(timeout=DEADLINE) for _ in range(3)) == [0, 1, 2]
    for process in stdlib.active_children():
        process.join()


def test_a_barrier_is_broken_by_the_death_of_who_changes_it(fork: Any) -> None:
    barrier, held = fork.Barrier(2), fork.Event()
    process = fork.Process(target=processes.hold_for_ever, args=(barrier._cond._lock, held))
    process.start()
    assert held.wait(DEADLINE)
    kill(process)
    process.join()
    with pytest.raises(threading.BrokenBarrierError):
        barrier.wait(DEADLINE)
    assert barrier.broken


def test_all_go_to_a_process_of_each_start_method(context: Any) -> None:
    pytest.importorskip("ctypes", reason="this build has no ctypes, which Value needs")
    lock, rlock, semaphore = context.Lock(), context.RLock(), context.BoundedSemaphore(2)
    event, value, queue = context.Event(), context.Value("i", 41), context.Queue()
    condition = context.Condition(lock)
    objects = (context.Lock(), rlock, semaphore, event, condition, value, queue)
    process = context.Process(target=processes.use_everything, args=objects)
    process.start()
    assert event.wait(DEADLINE)
    assert queue.get(timeout=DEADLINE) == process.pid
    process.join()
    assert (process.exitcode, value.value, lock.locked()) == (0, 42, False)


@pytest.mark.parametrize(
    "name", ["Lock", "RLock", "Semaphore", "BoundedSemaphore", "Event", "Condition", "Queue"]
)
def test_pickling_is_for_processes_that_start(name: str) -> None:
    with pytest.raises(RuntimeError, match="through inheritance"):
        pickle.dumps(getattr(multiprocessing, name)())


def test_ctrl_c_ends_a_wait() -> None:
    code = """if True:
        import os, signal, threading
        from counterpoint import multiprocessing
        lock, queue = multiprocessing.Lock(), multiprocessing.Queue(1)
        lock.acquire(), queue.put(1)
        main = threading.main_thread().ident
        def interrupt(go):
            go.wait()
            threading.Event().wait(0.2)
            os.kill(os.getpid(), signal.SIGINT)
        for wait in (lock.acquire, lambda: queue.put(2), multiprocessing.Event().wait):
            go = threading.Event()
            asked = threading.Thread(target=interrupt, args=(go,))
            asked.start()
            try:
                go.set()
                wait()
            except KeyboardInterrupt:
                print("interrupted")
            asked.join()
    """
    assert succeeds(code).split() == ["interrupted"] * 3
