"""install(multiprocessing=True) under programs that use the stdlib, and what it leaves alone."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.unit import programs
from tests.unit.test_install import USES

INSTALL = "import counterpoint._install as c; c.install(multiprocessing=True)\n"

MORE = {
    "default objects": """
        import multiprocessing as mp, os
        def work(jobs, done, lock, event, semaphore, barrier):
            event.wait(30)
            with lock, semaphore:
                for number in iter(jobs.get, None):
                    done.put(number * number)
                    jobs.task_done()
            jobs.task_done()
            barrier.wait(30)
        if __name__ == "__main__":
            for method in mp.get_all_start_methods():
                mp.set_start_method(method, force=True)
                shared = (mp.JoinableQueue(), mp.SimpleQueue(), mp.RLock(), mp.Event(),
                          mp.BoundedSemaphore(2), mp.Barrier(2))
                process = mp.Process(target=work, args=shared)
                process.start()
                jobs, done, lock, event, semaphore, barrier = shared
                for number in (1, 2, 3, None): jobs.put(number)
                event.set(); jobs.join(); barrier.wait(30); process.join()
                print(method, [done.get() for _ in range(3)], process.exitcode, lock, semaphore)
    """,
    "values": """
        import multiprocessing as mp
        def add(value, array):
            with value.get_lock(): value.value += 1
            with array: array[1] = 5
        if __name__ == "__main__":
            for method in ("fork", "spawn"):
                mp.set_start_method(method, force=True)
                value, array = mp.Value("i", 41), mp.Array("i", 3)
                process = mp.Process(target=add, args=(value, array))
                process.start(); process.join()
                print(value.value, array[:], process.exitcode)
    """,
    "pools": """
        import multiprocessing as mp, sys
        def double(number): return 2 * number
        def fail(number): raise ValueError(number)
        if __name__ == "__main__":
            with mp.Pool(2) as pool:
                print(pool.map(double, range(20)), pool.apply(pow, (2, 5)))
                print(pool.starmap(pow, [(2, 3), (3, 2)]), list(pool.imap(double, range(5))))
                print(sorted(pool.imap_unordered(double, range(5), 2)))
                try: pool.map(fail, [1])
                except ValueError as error: print(repr(error))
            pool.join()
    """,
    "logging": """
        import logging, logging.handlers, multiprocessing as mp
        class Keep(logging.Handler):
            def emit(self, record): print(record.getMessage())
        def work(queue):
            log = logging.getLogger(); log.addHandler(logging.handlers.QueueHandler(queue))
            log.warning("from %s", "there")
        if __name__ == "__main__":
            queue = mp.Queue()
            listener = logging.handlers.QueueListener(queue, Keep()); listener.start()
            process = mp.Process(target=work, args=(queue,)); process.start(); process.join()
            listener.stop()
    """,
}
ALL = {**USES, **{f"multiprocessing: {name}": source for name, source in MORE.items()}}


@pytest.mark.parametrize("use", ALL)
def test_programs_do_the_same_with_everything_installed(use: str, tmp_path: Path) -> None:
    lines = ALL[use].strip("\n").splitlines()
    source = "\n".join(line[8:] for line in lines) + "\n"
    if use.endswith("values"):
        pytest.importorskip("ctypes", reason="this build has no ctypes, which Value needs")
    (tmp_path / "plain.py").write_text(source)
    (tmp_path / "ours.py").write_text(INSTALL + source)
    quiet = [sys.executable, "-W", "ignore::DeprecationWarning"]
    plain = programs.run([*quiet, "plain.py"], tmp_path)
    assert (plain.code, plain.err) == (0, "")
    assert programs.run([*quiet, "ours.py"], tmp_path) == plain


def test_contexts_and_the_modules_of_multiprocessing_stay_the_stdlibs(tmp_path: Path) -> None:
    """As the documentation of `install` says; those of `counterpoint.multiprocessing` are ours."""
    source = (
        INSTALL
        + "import counterpoint.multiprocessing as ours, multiprocessing as mp\n"
        + "import multiprocessing.queues, multiprocessing.pool\n"
        + "context = mp.get_context('spawn')\n"
        + "print(type(mp.Queue()) is ours.Queue, type(context.Queue()) is ours.Queue)\n"
        + "print(multiprocessing.queues.Queue is ours.Queue)\n"
        + "print(type(ours.get_context('spawn').Queue()) is ours.Queue)\n"
    )
    line = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", source]
    assert programs.run(line, tmp_path) == (0, "True False\nFalse\nTrue\n", "")
