"""What workers log, warn of and write, in the parent's logging."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterpoint._process.errors import WorkerCrashed
from counterpoint._process.executor import ProcessPoolExecutor
from tests.support import DEADLINE
from tests.unit.programs import run


class Collected(logging.Handler):
    """Keeps records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def texts(self, name: str) -> list[str]:
        return [each.getMessage() for each in self.records if each.name == name]


@pytest.fixture
def collected() -> Iterator[Collected]:
    """What reaches the root logger, whose level is INFO meanwhile."""
    handler, level = Collected(), logging.root.level
    logging.root.addHandler(handler)
    logging.root.setLevel(logging.INFO)
    yield handler
    logging.root.setLevel(level)
    logging.root.removeHandler(handler)


def log(name: str, text: str, *args: object) -> int:
    logging.getLogger(name).info(text, *args)
    return os.getpid()


def log_error() -> None:
    try:
        raise KeyError("gone")
    except KeyError:
        logging.getLogger("some").exception("failed", extra={"lock": threading.Lock(), "n": 1})


def log_by_the_module() -> None:
    logging.error("by the module")
    logging.info("%s and %d", "arguments")


def log_at_length() -> None:
    logging.getLogger("some").info("x" * 1_000_000)


def log_in_threads() -> None:
    threads = [threading.Thread(target=log, args=("some", "%d", n)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def log_and_die() -> None:
    logging.getLogger("some").warning("last words")
    os._exit(3)


def warn() -> None:
    warnings.warn("careful", RuntimeWarning, stacklevel=1)


def write() -> None:
    print("from Python\nand more")
    print("to stderr", file=sys.stderr)
    subprocess.run(["echo", "from a child"], check=True)
    os.write(1, b"no end of line")


def test_records_are_handled_as_if_they_were_the_parents(collected: Collected) -> None:
    with ProcessPoolExecutor(1) as pool:
        pid = pool.submit(log, "some.name", "%s of %d", "one", 2).result(DEADLINE)
    (record,) = [each for each in collected.records if each.name == "some.name"]
    assert record.getMessage() == "one of 2"
    assert (record.process, record.funcName, record.levelno) == (pid, "log", logging.INFO)


def test_tracebacks_and_strange_extras_arrive(collected: Collected) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(log_error).result(DEADLINE)
        pool.submit(log_by_the_module).result(DEADLINE)
        pool.submit(log_at_length).result(DEADLINE)
        pool.submit(log_in_threads).result(DEADLINE)
    error, *others = [each for each in collected.records if each.name == "some"]
    assert "KeyError: 'gone'" in logging.Formatter().format(error)
    assert error.n == 1  # type: ignore[attr-defined]
    assert "lock" in error.lock  # type: ignore[attr-defined]
    by_module = collected.texts("root")
    assert by_module[0] == "by the module"
    assert "cannot be formatted" in by_module[1]
    assert others[0].getMessage().endswith("(1000000 characters)")
    assert sorted(each.getMessage() for each in others[1:]) == [str(n) for n in range(8)]


def test_the_last_words_of_a_worker_arrive(collected: Collected) -> None:
    with ProcessPoolExecutor(1) as pool, pytest.raises(WorkerCrashed):
        pool.submit(log_and_die).result(DEADLINE)
    assert collected.texts("some") == ["last words"]


def test_levels_are_the_parents(collected: Collected) -> None:
    quiet = logging.getLogger("quiet.one")
    quiet.setLevel(logging.ERROR)
    try:
        with ProcessPoolExecutor(1) as pool:
            pool.submit(log, "quiet.one.child", "not wanted").result(DEADLINE)
            pool.submit(log, "loud", "wanted").result(DEADLINE)
    finally:
        quiet.setLevel(logging.NOTSET)
    assert collected.texts("quiet.one.child") == []
    assert collected.texts("loud") == ["wanted"]


def test_warnings_are_logged(collected: Collected) -> None:
    with ProcessPoolExecutor(1) as pool:
        pool.submit(warn).result(DEADLINE)
    (text,) = collected.texts("py.warnings")
    assert "RuntimeWarning: careful" in text


def test_not_if_unwanted(collected: Collected) -> None:
    with ProcessPoolExecutor(1, forward_logs=False) as pool:
        pool.submit(log, "some", "here").result(DEADLINE)
    assert collected.texts("some") == []


def test_output_is_captured_on_request(collected: Collected) -> None:
    with ProcessPoolExecutor(1, capture_output=True) as pool:
        pool.submit(write).result(DEADLINE)
    lines = collected.texts("counterpoint.worker.stdout")
    assert lines == ["from Python", "and more", "from a child", "no end of line"]
    assert collected.texts("counterpoint.worker.stderr") == ["to stderr"]


PROGRAM = """
import logging, multiprocessing, sys
from counterpoint._process.executor import ProcessPoolExecutor

logging.basicConfig(format="%(name)s:%(message)s", level=logging.INFO, stream=sys.stdout)

def work():
    logging.getLogger("task").info("hello")

if __name__ == "__main__":
    context = multiprocessing.get_context(METHOD)
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(work).result(30)
"""


@pytest.mark.parametrize("method", ["forkserver", "spawn", "fork"])
def test_a_program_that_configures_logging_at_its_top_logs_once(
    method: str, tmp_path: Path
) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("METHOD", repr(method)))
    ended = run([sys.executable, program], tmp_path, env=dict(os.environ))
    assert (ended.code, ended.out) == (0, "task:hello\n"), ended.err
