"""install() and uninstall(): what is replaced, what comes back, and the stdlib at work on it."""

from __future__ import annotations

import concurrent.futures
import concurrent.futures._base
import concurrent.futures.thread
import multiprocessing
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import counterpoint.futures
import counterpoint.multiprocessing
import counterpoint.queue
import counterpoint.threading
from counterpoint._install import install, uninstall
from tests.unit import programs

LOCKS = ("Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore", "Event", "Barrier")
QUEUES = ("Queue", "LifoQueue", "PriorityQueue", "SimpleQueue")
FUTURES = ("Future", "wait", "as_completed", "ThreadPoolExecutor")
PROCESSES = ("Pool", "Queue", "JoinableQueue", "SimpleQueue", *LOCKS, "Value", "Array")
MODULES = (
    multiprocessing,
    threading,
    queue,
    concurrent.futures,
    concurrent.futures._base,
    concurrent.futures.thread,
)


# The module finds it on first use, and keeps it.
assert concurrent.futures.ThreadPoolExecutor


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = [names_of(module) for module in MODULES]
    yield
    uninstall()
    assert [names_of(module) for module in MODULES] == before


def names_of(module: ModuleType) -> dict[str, object]:
    """What a module holds, but for submodules, which appear when they are imported."""
    return {k: v for k, v in vars(module).items() if not isinstance(v, ModuleType)}


def ours(module: object, mine: object, names: tuple[str, ...]) -> list[bool]:
    return [getattr(module, name) is getattr(mine, name) for name in names]


def test_everything_is_replaced() -> None:
    install(multiprocessing=True)
    assert all(ours(threading, counterpoint.threading, LOCKS))
    assert all(ours(queue, counterpoint.queue, (*QUEUES, "Empty", "Full", "ShutDown")))
    assert all(ours(concurrent.futures, counterpoint.futures, FUTURES))
    assert all(ours(concurrent.futures._base, counterpoint.futures, FUTURES[:3]))
    assert all(ours(concurrent.futures.thread, counterpoint.futures, FUTURES[3:]))
    assert all(ours(multiprocessing, counterpoint.multiprocessing, PROCESSES))


GROUPS = ("threading", "queue", "futures", "multiprocessing")


@pytest.mark.parametrize("group", GROUPS)
def test_one_group_leaves_the_others(group: str) -> None:
    install(**{name: name == group for name in GROUPS})
    processes = ours(multiprocessing, counterpoint.multiprocessing, PROCESSES)
    assert all(processes) is (group == "multiprocessing")
    assert all(ours(threading, counterpoint.threading, LOCKS)) is (group == "threading")
    assert all(ours(queue, counterpoint.queue, QUEUES)) is (group == "queue")
    assert all(ours(concurrent.futures, counterpoint.futures, FUTURES)) is (group == "futures")


def test_installing_adds_up_and_is_idempotent() -> None:
    before = threading.Lock
    install(queue=False, futures=False)
    install()
    install(threading=False)
    assert threading.Lock is counterpoint.threading.Lock
    assert queue.Queue is counterpoint.queue.Queue
    uninstall()
    assert threading.Lock is before
    uninstall()
    assert threading.Lock is before


def test_the_groups_have_names_only() -> None:
    with pytest.raises(TypeError, match="positional"):
        install("queue")  # type: ignore[misc]
    assert queue.Queue is not counterpoint.queue.Queue


def test_somebody_elses_replacement_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    before = queue.Queue

    class Theirs:
        pass

    install()
    queue.Queue = Theirs  # type: ignore[assignment, misc]
    try:
        uninstall()
        assert queue.Queue is Theirs
    finally:
        queue.Queue = before  # type: ignore[misc]


def test_what_somebody_put_in_between_comes_back() -> None:
    class Theirs:
        pass

    before = threading.Lock
    install()
    try:
        threading.Lock = Theirs  # type: ignore[assignment, misc]
        install()
        assert threading.Lock is counterpoint.threading.Lock
        uninstall()
        assert threading.Lock is Theirs
    finally:
        threading.Lock = before  # type: ignore[misc]


def test_a_signal_handler_calls_what_it_interrupted(tmp_path: Path) -> None:
    source = (
        "import signal, threading, counterpoint._install as c\n"
        "before, replace = threading.Lock, c._replace\n"
        "signal.alarm(20)\n"
        "def interrupted(*names):\n    signal.raise_signal(signal.SIGUSR1); replace(*names)\n"
        "c._replace = interrupted\n"
        "def handler(*_):\n    c._replace = replace; c.uninstall(); c.install()\n"
        "signal.signal(signal.SIGUSR1, handler)\n"
        "c.install(); print(threading.Lock is before)\n"
        "c.uninstall(); print(threading.Lock is before)\n"
    )
    line = [sys.executable, "-c", source]
    assert programs.run(line, tmp_path) == (0, "False\nTrue\n", "")


def test_many_threads_install_and_uninstall() -> None:
    barrier = threading.Barrier(4)
    thread = threading.Thread

    def work() -> None:
        barrier.wait()
        for _ in range(50):
            install()
            uninstall()

    workers = [thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    # The fixture checks that everything is back.


def test_threads_run_on_our_event() -> None:
    install()
    thread = threading.Thread(target=lambda: None)
    assert type(thread._started) is counterpoint.threading.Event  # type: ignore[attr-defined]
    assert not thread.is_alive()
    thread.start()
    thread.join()
    assert not thread.is_alive()
    uninstall()
    again = threading.Thread(target=lambda: None)
    assert type(again._started) is not counterpoint.threading.Event  # type: ignore[attr-defined]


def test_objects_outlive_the_installation() -> None:
    install()
    mine = queue.Queue[int]()
    condition = threading.Condition()
    uninstall()
    mine.put(1)
    assert mine.get() == 1
    with condition:
        condition.notify_all()


def test_futures_of_an_installed_pool_are_futures() -> None:
    install()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        future = pool.submit(pow, 2, 3)
        assert isinstance(future, concurrent.futures.Future)
        assert concurrent.futures.wait([future]).done == {future}
        assert list(concurrent.futures.as_completed([future])) == [future]


USES = {
    "fork": """
        import os, threading, queue
        lock, q = threading.Lock(), queue.Queue()
        q.put(1)
        child = os.fork()
        if child == 0:
            t = threading.Thread(target=lambda: q.put(q.get() + 1)); t.start(); t.join()
            with lock: os._exit(q.get())
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """,
    "processes": """
        import concurrent.futures as f, multiprocessing
        context = multiprocessing.get_context("fork")
        with f.ProcessPoolExecutor(2, mp_context=context) as pool:
            print(list(pool.map(abs, range(-5, 0))))
            future = pool.submit(abs, -1)
            print(isinstance(future, f.Future), future.result())
    """,
    "multiprocessing": """
        import multiprocessing
        context = multiprocessing.get_context("fork")
        q = context.Queue()
        p = context.Process(target=q.put, args=(5,)); p.start(); print(q.get()); p.join()
        with context.Pool(2) as pool: print(pool.map(abs, [-1, -2]))
        from multiprocessing.dummy import Pool
        with Pool(2) as pool: print(pool.map(abs, [-1, -2]))
        with context.Manager() as m:
            d, q = m.dict(), m.Queue(); q.put(3); print(q.get(), len(d))
    """,
    "asyncio": """
        import asyncio, concurrent.futures as f, threading
        async def main():
            loop = asyncio.get_running_loop()
            print(await loop.run_in_executor(None, abs, -1), await asyncio.to_thread(abs, -2))
            loop.set_default_executor(f.ThreadPoolExecutor(1))
            print(await asyncio.to_thread(abs, -3))
            done = threading.Event()
            async def inner(): done.set(); return 4
            outer = asyncio.run_coroutine_threadsafe(inner(), loop)
            print(await asyncio.wrap_future(outer), done.is_set())
        asyncio.run(main())
    """,
    "logging": """
        import io, logging, logging.handlers, queue
        q = queue.Queue(); out = io.StringIO()
        listener = logging.handlers.QueueListener(q, logging.StreamHandler(out)); listener.start()
        log = logging.getLogger("x"); log.addHandler(logging.handlers.QueueHandler(q))
        log.warning("hello"); listener.stop(); print(out.getvalue().strip())
    """,
    "timers": """
        import sched, threading
        done = threading.Event(); threading.Timer(0.001, done.set).start(); print(done.wait(30))
        s = sched.scheduler(); s.enter(0, 1, print, ("event",)); s.run()
        local = threading.local(); local.x = 1; print(local.x, threading.current_thread().name)
    """,
    "subprocess": """
        import socketserver, subprocess, sys, tempfile, threading
        print(subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout)
        p = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        print(p.communicate(b"x", timeout=30))
        class Echo(socketserver.StreamRequestHandler):
            def handle(self): self.wfile.write(self.rfile.readline())
        with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
            t = threading.Thread(target=server.serve_forever); t.start()
            import socket
            with socket.create_connection(server.server_address) as s:
                s.sendall(b"hi\\n"); print(s.recv(10))
            server.shutdown(); t.join()
    """,
    "subclasses": """
        import queue, threading
        class Unique(queue.Queue):
            def _init(self, maxsize): self.queue = {}
            def _qsize(self): return len(self.queue)
            def _put(self, item): self.queue[item] = None
            def _get(self): return self.queue.popitem()[0]
        q = Unique(); q.put(1); q.put(1); print(q.qsize(), q.get(), isinstance(q, queue.Queue))
        class Named(threading.Event):
            name = "n"
        print(Named().is_set(), Named.name)
    """,
}


@pytest.mark.parametrize("use", USES)
def test_the_stdlib_works_on_our_classes(use: str, tmp_path: Path) -> None:
    lines = USES[use].strip("\n").splitlines()
    source = "\n".join(line[8:] for line in lines) + "\n"
    installed = f"import counterpoint._install as c; c.install()\n{source}"
    (tmp_path / "plain.py").write_text(source)
    (tmp_path / "ours.py").write_text(installed)
    quiet = [sys.executable, "-W", "ignore::DeprecationWarning"]
    plain = programs.run([*quiet, "plain.py"], tmp_path)
    assert plain.code == 0
    assert programs.run([*quiet, "ours.py"], tmp_path) == plain


def test_a_fork_in_another_threads_installation_leaves_a_usable_guard(tmp_path: Path) -> None:
    source = (
        "import os, threading, counterpoint._install as c\n"
        "holder = c._guard.held()\n"
        "installing = threading.Thread(target=holder.__enter__)\n"
        "installing.start(), installing.join()\n"
        "if os.fork() == 0:\n    c.install(); os._exit(0)\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)\n"
        "os._exit(0)\n"
    )
    line = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", source]
    assert programs.run(line, tmp_path) == (0, "0\n", "")


def test_lazy_names_of_concurrent_futures_are_lazy_again(tmp_path: Path) -> None:
    source = (
        "import concurrent.futures as f, counterpoint._install as c\n"
        "c.install(); ours = f.ThreadPoolExecutor; c.uninstall()\n"
        "from concurrent.futures.thread import ThreadPoolExecutor as T\n"
        "print(f.ThreadPoolExecutor is T, ours is T, issubclass(ours, T))\n"
    )
    line = [sys.executable, "-c", source]
    assert programs.run(line, tmp_path) == (0, "True False True\n", "")


@pytest.mark.skipif(
    not hasattr(concurrent.futures, "InterpreterPoolExecutor"),
    reason="Python 3.14 brings InterpreterPoolExecutor, where it has subinterpreters",
)
def test_the_interpreter_pool_stays_the_stdlib_s(tmp_path: Path) -> None:
    source = (
        "import concurrent.futures as f, concurrent.futures.thread as t\n"
        "plain = t.ThreadPoolExecutor\n"
        "import counterpoint\n"
        "counterpoint.install()\n"
        "print(issubclass(f.InterpreterPoolExecutor, plain))\n"
        "print(f.InterpreterPoolExecutor.__mro__[1] is plain, t.ThreadPoolExecutor is plain)\n"
        "with f.InterpreterPoolExecutor(1) as pool:\n"
        "    print(pool.submit(pow, 2, 3).result(), list(pool.map(abs, [-1, -2])))\n"
    )
    line = [sys.executable, "-c", source]
    ended = programs.run(line, tmp_path)
    assert ended == (0, "True\nTrue False\n8 [1, 2]\n", "")
