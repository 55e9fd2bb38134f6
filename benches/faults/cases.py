"""The faults. Each gets a pool's name, and returns or raises what is wrong."""

from __future__ import annotations

import gc
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import tasks
from .pools import NoSuchOption, Pool, make, work

__all__ = ["CASES", "Case"]


class TaskLost(Exception):
    """A task had no part in the fault and failed, or gave a wrong answer."""


class PoolLost(Exception):
    """The pool does no work any more."""


class NotMade(Exception):
    """The fault cannot be brought about on this machine."""


class Case:
    """One fault: its number in the list, what happens, and the time it may take."""

    def __init__(self, number: str, title: str, run: Callable[[str], None], limit: float) -> None:
        self.number, self.title, self.run, self.limit = number, title, run, limit


CASES: dict[str, Case] = {}


def case(number: str, title: str, limit: float = 25.0) -> Callable[[Any], Any]:
    def add(run: Callable[[str], None]) -> Callable[[str], None]:
        CASES[run.__name__] = Case(number, title, run, limit)
        return run

    return add


def outcome(ticket: Callable[[], Any]) -> Any:
    """The answer, or the error."""
    try:
        return ticket()
    except BaseException as error:
        return error


def bystanders(pool: Pool, count: int = 30) -> list[Callable[[], Any]]:
    return [pool.submit(work, number) for number in range(count)]


def unharmed(tickets: list[Callable[[], Any]]) -> None:
    """Every one of these answers as if nothing had happened."""
    for number, ticket in enumerate(tickets):
        answer = outcome(ticket)
        if answer != number * number:
            raise TaskLost(f"a task without fault: {answer!r}")


@contextmanager
def goes_on(name: str, **options: Any) -> Iterator[Pool]:
    """A pool that has begun its work, and that must go on afterwards, and come to its end."""
    pool = make(name, **options)
    unharmed(bystanders(pool, 4))
    lost: TaskLost | None = None
    try:
        yield pool
    except TaskLost as error:
        lost = error
    try:
        unharmed(bystanders(pool, 8))
    except Exception as error:
        raise PoolLost(f"{error} (before: {lost})") from error
    if lost is not None:
        raise lost
    pool.stop()


def among_others(name: str, fn: Callable[..., Any], *args: Any) -> Any:
    """Runs a faulty task in the midst of others; its error."""
    with goes_on(name) as pool:
        before = bystanders(pool)
        try:
            victim = pool.submit(fn, *args)
        except Exception as error:
            # Some pools pickle at once and say so.
            victim = lambda error=error: error  # noqa: E731
        after = bystanders(pool)
        answer = outcome(victim)
        if not isinstance(answer, BaseException):
            raise TaskLost(f"the faulty task answered {answer!r}")
        unharmed(before)
        unharmed(after)
    return answer


@case("1", "SIGKILL of an idle worker")
def idle_killed(name: str) -> None:
    with goes_on(name) as pool:
        os.kill(pool.submit(os.getpid)(), signal.SIGKILL)
        unharmed(bystanders(pool))


@case("2", "SIGKILL in mid-task")
def killed(name: str) -> None:
    among_others(name, tasks.die)


@case("3", "SIGKILL while receiving")
def killed_receiving(name: str) -> None:
    among_others(name, len, tasks.DiesWhenUnpickled())


@case("4", "SIGKILL while sending a big result")
def killed_sending(name: str) -> None:
    among_others(name, tasks.big_and_dies)


@case("5", "OOM kill")
def out_of_memory(name: str) -> None:
    group = Path(f"/sys/fs/cgroup/memory/counterpoint-bench-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(128 << 20))
    except OSError as error:
        raise NotMade("takes root and cgroup v1") from error
    among_others(name, tasks.devour, str(group))


@case("6", "`os._exit(0)` in a task")
def exits(name: str) -> None:
    among_others(name, os._exit, 0)


@case("7", "SystemExit in a task")
def system_exit(name: str) -> None:
    among_others(name, sys.exit, 3)


@case("8", "a segfault")
def segfault(name: str) -> None:
    among_others(name, tasks.segfault)


@case("9", "an argument whose pickling raises")
def unpicklable_argument(name: str) -> None:
    among_others(name, len, tasks.RaisesWhenPickled())


@case("10", "an argument whose unpickling raises")
def raising_argument(name: str) -> None:
    among_others(name, len, tasks.RaisesWhenUnpickled())


@case("10", "an argument whose unpickling exits")
def exiting_argument(name: str) -> None:
    among_others(name, len, tasks.ExitsWhenUnpickled())


@case("11", "a result that cannot be pickled")
def unpicklable_result(name: str) -> None:
    among_others(name, tasks.make, tasks.RaisesWhenPickled)


@case("12", "a result that cannot be unpickled in the parent")
def raising_result(name: str) -> None:
    among_others(name, tasks.make, tasks.RaisesWhenUnpickled)


@case("12", "an exception that cannot be unpickled in the parent")
def raising_exception(name: str) -> None:
    among_others(name, tasks.raise_odd)


@case("13", "unpicklable tasks, then shutdown")
def unpicklable_then_stop(name: str) -> None:
    pool = make(name)
    for _ in range(20):
        try:
            pool.submit(len, tasks.RaisesWhenPickled())
        except tasks.Odd:
            pass
    bystanders(pool)
    pool.stop(cancel=True)


@case("14", "cancel at once, then shutdown")
def cancel_then_stop(name: str) -> None:
    for _ in range(10):
        pool = make(name)
        pool.cancel(work, 5)
        pool.stop()


@case("15", "100,000 queued tiny tasks", limit=120.0)
def many(name: str) -> None:
    with goes_on(name) as pool:
        tickets = [pool.submit(abs, number) for number in range(100_000)]
        for number, ticket in enumerate(tickets):
            if outcome(ticket) != number:
                raise TaskLost(f"task {number}: {outcome(ticket)!r}")


@case("16", "workers replaced after 2 tasks, with a backlog")
def replaced(name: str) -> None:
    with goes_on(name, max_tasks=2) as pool:
        unharmed(bystanders(pool, 40))


@case("16", "the same, and the executor is garbage-collected")
def collected(name: str) -> None:
    pool = make(name, max_tasks=2)
    tickets = bystanders(pool, 40)
    del pool
    gc.collect()
    unharmed(tickets)


def press(times: int, every: float = 1.5) -> None:
    """Ctrl-C, as at a terminal: everybody in front is told."""

    def presses() -> None:
        for _ in range(times):
            time.sleep(every)
            os.killpg(0, signal.SIGINT)

    threading.Thread(target=presses, daemon=True).start()


@case("17", "Ctrl-C while idle, which the program catches")
def interrupted_idle(name: str, times: int = 1) -> None:
    with goes_on(name):
        press(times, 0.5)
        for _ in range(times):
            try:
                time.sleep(20)
            except KeyboardInterrupt:
                continue
            raise NotMade("no interrupt arrived")


@case("17", "the same twice")
def interrupted_idle_twice(name: str) -> None:
    interrupted_idle(name, 2)


@case("17", "Ctrl-C while busy")
def interrupted_once(name: str) -> None:
    pool = make(name)
    tickets = [pool.submit(time.sleep, 1000) for _ in range(4)]
    press(1)
    tickets[0]()


@case("17", "Ctrl-C twice while busy")
def interrupted(name: str) -> None:
    pool = make(name)
    tickets = [pool.submit(time.sleep, 1000) for _ in range(4)]
    press(2)
    try:
        tickets[0]()
    except BaseException as error:
        print(f"first: {error!r}", file=sys.stderr)
    # The second press meets the interpreter's exit.


@case("18", "an initializer that raises")
def bad_initializer(name: str) -> None:
    pool = make(name, initializer=tasks.raise_plain)
    for ticket in bystanders(pool, 6):
        if not isinstance(outcome(ticket), BaseException):
            raise TaskLost("a task ran in a worker that was not set up")
    pool.stop()


@case("18", "an initializer that hangs in one worker")
def hanging_initializer(name: str) -> None:
    pool = make(name, initializer=tasks.hang_once)
    unharmed(bystanders(pool, 30))
    # The one that hangs is at nobody's work.
    pool.stop(cancel=True)


@case("19", "a fork of the parent while busy")
def forked(name: str) -> None:
    with goes_on(name) as pool:
        tickets = bystanders(pool, 200)
        child = os.fork()
        if child == 0:
            # Out through everything, as a program that forks does.
            os.environ["COUNTERPOINT_FORKED"] = "1"
            sys.exit(0)
        unharmed(tickets)
        if os.waitpid(child, 0)[1] != 0:
            raise TaskLost("the child did not end well")


@case("20", "exit of the interpreter with work pending")
def exit_with_work(name: str) -> None:
    directory = Path(os.environ["COUNTERPOINT_DIRECTORY"])
    pool = make(name)
    global _kept
    _kept = pool, [pool.submit(tasks.touch, str(directory / str(n))) for n in range(30)]


_kept: Any = None


@case("21", "a task with a pool of its own")
def nested(name: str) -> None:
    with goes_on(name) as pool:
        answer = outcome(pool.submit(nest, name))
        if answer != [0, 1, 4]:
            raise TaskLost(f"the nested pool: {answer!r}")


def nest(name: str) -> list[Any]:
    pool = make(name)
    answers = [ticket() for ticket in bystanders(pool, 3)]
    pool.stop()
    return answers


@case("22", "a task leaves a non-daemon thread behind")
def thread_left(name: str) -> None:
    with goes_on(name) as pool:
        outcome(pool.submit(tasks.leave_a_thread))


@case("22", "a task leaves a child process behind")
def child_left(name: str) -> None:
    with goes_on(name) as pool:
        child = pool.submit(tasks.leave_a_child)()
        unharmed(bystanders(pool))
        os.kill(child, signal.SIGKILL)


@case("23", "/dev/shm of no use")
def no_shm(name: str) -> None:
    if os.access("/dev/shm", os.W_OK):
        raise NotMade("takes the right to make a mount namespace")
    with goes_on(name) as pool:
        unharmed(bystanders(pool))


@case("23", "a small limit of descriptors", limit=60.0)
def few_descriptors(name: str) -> None:
    """An error or the answers, whatever the limit, and all is well without it."""
    # What it imports is not what the limit is about.
    pool = make(name)
    unharmed(bystanders(pool, 4))
    pool.stop()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for room in (0, 5, 10, 15, 20, 30, 40):
        used = max(map(int, os.listdir("/proc/self/fd"))) + 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + room, hard))
        try:
            pool = make(name)
            answers = [outcome(ticket) for ticket in bystanders(pool, 10)]
            pool.stop()
        except Exception as error:
            answers = [error]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        wrong = [a for n, a in enumerate(answers) if not isinstance(a, Exception) and a != n * n]
        if wrong:
            raise TaskLost(f"with {room} descriptors: {wrong[0]!r}")
    with goes_on(name) as pool:
        unharmed(bystanders(pool))


@case("24", "a worker stopped by SIGSTOP, with a time limit")
def stopped(name: str) -> None:
    with goes_on(name) as pool:
        victim = pool.submit(tasks.die, signal.SIGSTOP, limit=1.0)
        after = bystanders(pool)
        if not isinstance(outcome(victim), BaseException):
            raise TaskLost("the stopped task answered")
        unharmed(after)


@case("", "the storm: SIGKILL of random workers through 3,000 tasks", limit=60.0)
def storm(name: str) -> None:
    chance = random.Random(7)
    with goes_on(name) as pool:
        tickets = [pool.submit(tasks.numbered, number) for number in range(3000)]
        stop, killed = threading.Event(), [0]

        def kill() -> None:
            while not stop.wait(0.02):
                pids = [pid for pid in tasks.workers() if chance.random() < 0.5]
                for pid in pids[:1]:
                    killed[0] += 1
                    os.kill(pid, signal.SIGKILL)

        thread = threading.Thread(target=kill, daemon=True)
        thread.start()
        answers = [outcome(ticket) for ticket in tickets]
        stop.set()
        thread.join()
        wrong = sum(answer != number for number, answer in enumerate(answers))
        if wrong > killed[0]:
            raise TaskLost(f"{wrong} tasks failed for {killed[0]} kills")


def judge(name: str, which: str) -> str:
    """Runs a case in this process; the verdict, as far as it can be seen from here."""
    try:
        CASES[which].run(name)
    except NoSuchOption as error:
        return f"no such option|{error}"
    except NotMade as error:
        return f"not run|{error}"
    except PoolLost as error:
        return f"pool lost|{error}"
    except TaskLost as error:
        return f"task lost|{error}"
    except Exception as error:
        return f"pool lost|{error!r}"
    return "correct|"
