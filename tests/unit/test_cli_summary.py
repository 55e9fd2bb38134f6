"""The summary: what it says, to whom, in which form, and when it keeps silent."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path

import pytest

from counterpoint._observe.registry import Cost, Row
from counterpoint._process.statistics import ProcessPoolStatistics
from counterpoint._statistics import (
    ExecutorStatistics,
    LockStatistics,
    QueueStatistics,
    WaitStatistics,
)
from counterpoint.cli.summary import Report, render
from counterpoint.cli.tables import duration
from tests.unit import programs

NONE = WaitStatistics(0, 0.0, 0.0, 0.0, 0.0)
SOME = WaitStatistics(7, 1.5, 0.0125, 0.9, 1.0)
DELAYS, RUNS = ((1e-06, 3), (2e-06, 4)), ((1.0, 7),)


def lock_row(site: str = "/far/away/locks.py:3", waits: WaitStatistics = SOME) -> Row:
    return Row("Lock", None, site, 2, LockStatistics(None, None, 0, waits))


POOL = Row(
    "ThreadPoolExecutor",
    "read",
    os.path.join(os.getcwd(), "prog.py:10"),
    1,
    ExecutorStatistics("read", 4, 4, 0, 0, 120, 3, 1, SOME, SOME, 0.75, DELAYS, RUNS),
)
PROCESSES = Row(
    "ProcessPoolExecutor",
    None,
    os.path.join(os.getcwd(), "prog.py:11"),
    1,
    ProcessPoolStatistics(
        None, 3, 0, 0, 0, 70, 2, 5, SOME, SOME, 0.5, ((1.0, 7),), ((1.0, 7),), 11, 13, ()
    ),
)
QUEUE = Row(
    "Queue", None, "/x/prog.py:12", 3, QueueStatistics(None, 1, 16, 1, 50, 49, 12, NONE, SOME, 0, 0)
)


def report(*rows: Row, unobserved: int = 0) -> Report:
    return Report("prog.py a", 2.5, list(rows), Cost(0.001, unobserved))


class Terminal(io.StringIO):
    """A stream that says it is a terminal, but has no size to ask for."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Ascii(io.StringIO):
    """A stream with few characters."""

    encoding = "ascii"


class Utf8(io.StringIO):
    """A stream with all characters."""

    encoding = "utf-8"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def test_text_has_a_row_for_each_executor_queue_and_contended_lock() -> None:
    text = render(report(POOL, QUEUE, lock_row(), lock_row(waits=NONE)), "text", Utf8())
    lines = text.splitlines()
    assert lines[0] == "counterpoint run prog.py a: 2.50 s"
    (pool,) = [line for line in lines if line.startswith("ThreadPoolExecutor read")]
    for part in ("prog.py:10", " 4 ", "120", "3", "12.5 ms", "900 ms", "75%"):
        assert part in pool
    (queue,) = [line for line in lines if line.startswith("Queue")]
    for part in ("prog.py:12 ×3", "50", "49", "12/16", "12.5 ms"):
        assert part in queue
    (lock,) = [line for line in lines if line.startswith("Lock")]
    for part in ("/far/away/locks.py:3 ×2", " 7 ", "12.5 ms", "900 ms", "1.50 s"):
        assert part in lock
    assert "120 tasks done, 3 failed; 50 puts, 49 gets; waited 1.50 s for queues; waited" in text
    assert "\x1b" not in text


def test_text_has_a_row_for_each_process_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = render(report(POOL, PROCESSES), "text", Utf8())
    head, row = text.split("\n\n")[2].splitlines()
    titles = ["workers", "done", "failed", "cancelled", "left", "crashes", "restarts"]
    assert head.split()[:11] == ["process", "pool", "made", "at", *titles]
    kind, site, *numbers = row.split()
    assert (kind, site) == ("ProcessPoolExecutor", "prog.py:11")
    assert numbers[:7] == ["3", "70", "2", "5", "0", "11", "13"]
    assert numbers[7:11] == ["12.5", "ms", "900", "ms"]
    assert numbers[-1] == "50%"
    assert "190 tasks done, 5 failed" in text
    assert "crashes" in render(report(PROCESSES), "text", Utf8())


def test_nothing_to_show_is_one_line() -> None:
    text = render(report(lock_row(waits=NONE)), "text", Utf8())
    assert text == (
        "counterpoint run prog.py a: no executor, no event loop, no queue in use and no contended "
        "lock in 2.50 s\n"
    )


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_lines_fit_the_width_and_no_number_is_cut(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = render(report(POOL, PROCESSES, QUEUE, lock_row()), "text", Utf8())
    tables = text.split("\n\n")[1:-1]
    assert len(tables) == 4
    assert all("failed" in table for table in tables[:2])
    for line in "\n".join(tables).splitlines():
        assert len(line) <= width
        assert "…" not in line


FAILING = POOL._replace(
    name="a name that goes on and on",
    site="/far/away/in/a/directory/of/packages/program.py:1234",
    statistics=ExecutorStatistics(None, 4, 4, 0, 0, 0, 50, 0, SOME, SOME, 0.75, (), ()),
)


def table(width: int, monkeypatch: pytest.MonkeyPatch, *rows: Row) -> str:
    """The first table at that width."""
    monkeypatch.setenv("COLUMNS", str(width))
    return render(report(*rows), "text", Utf8()).split("\n\n")[1]


@pytest.mark.parametrize("width", [50, 60, 80, 100])
def test_columns_of_zeros_and_the_fronts_of_paths_go_first(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = table(width, monkeypatch, FAILING)
    assert max(map(len, text.splitlines())) <= width
    assert "ogram.py:1234 " in text
    assert "failed" in text
    assert " 50" in text
    assert "cancelled" not in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_no_two_headings_read_alike(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    *heads, row = table(width, monkeypatch, FAILING).splitlines()
    ends = [match.end() for match in re.finditer(r"\S(?=\s\s|\s*$)", heads[-1])]
    starts = [0, *ends[:-1]]
    headings = [
        " ".join(head[start:end].strip() for head in heads)
        for start, end in zip(starts, ends, strict=True)
    ]
    assert len(set(headings)) == len(headings) >= 3
    assert "…" not in "".join(headings)
    assert "50" in row


def test_a_queue_keeps_its_counts_at_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    text = table(80, monkeypatch, QUEUE)
    assert [title in text for title in ("puts", "gets", "left", "depth", "p50", "p99")] == [
        True
    ] * 6


def test_the_widest_has_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    text = render(report(POOL, QUEUE, lock_row()), "text", Utf8())
    for title in ("cancelled", "delay max", "run p99", "busy", "put waits", "get max", "total"):
        assert title in text


def test_a_terminal_gets_colour_unless_it_is_told_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\x1b[" in render(report(POOL), "text", Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in render(report(POOL), "text", Terminal())
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in render(report(POOL), "text", Terminal())


def test_a_poor_encoding_is_respected() -> None:
    long = lock_row(site="/" + "directory/" * 12 + "end.py:1")
    tiny = lock_row(waits=WaitStatistics(1, 2e-6, 2e-6, 2e-6, 2e-6))
    text = render(report(long, tiny, QUEUE), "text", Ascii())
    assert text.isascii()
    assert "2.00 us" in text
    assert "directory/end.py:1" in text


def test_the_longest_waits_come_first_and_the_rest_is_counted() -> None:
    rows = [
        lock_row(f"/a.py:{n}", WaitStatistics(1, float(n), 0.0, 0.0, 0.0)) for n in range(1, 31)
    ]
    text = render(report(*rows), "text", Utf8())
    assert text.index("/a.py:30 ") < text.index("/a.py:29 ") < text.index("/a.py:11 ")
    assert "/a.py:10 " not in text
    assert "and 10 more" in text


def test_what_was_left_out_is_said() -> None:
    assert "5 more left out" in render(report(POOL, unobserved=5), "text", Utf8())


def test_json_has_everything() -> None:
    text = render(report(POOL, QUEUE, lock_row(waits=NONE)), "json", Ascii())
    assert text.count("\n") == 1
    document = json.loads(text)
    assert document["version"] == 1
    assert document["program"] == "prog.py a"
    assert document["wall_seconds"] == 2.5
    assert [row["kind"] for row in document["rows"]] == ["ThreadPoolExecutor", "Queue", "Lock"]
    pool = document["rows"][0]
    assert pool["site"].endswith("prog.py:10")
    assert pool["statistics"]["queue_delay"] == SOME._asdict()
    assert pool["statistics"]["utilisation"] == 0.75
    assert "owner" not in document["rows"][2]["statistics"]
    processes = json.loads(render(report(PROCESSES), "json", Ascii()))["rows"][0]["statistics"]
    assert (processes["crashes"], processes["restarts"], processes["done"]) == (11, 13, 70)
    assert "each_worker" not in processes
    for statistics in (pool["statistics"], processes):
        assert statistics["run_histogram"] == [[1.0, 7]]
    assert pool["statistics"]["queue_histogram"] == [[1e-06, 3], [2e-06, 4]]
    assert document["totals"]["puts"] == 50
    assert document["totals"]["queue_wait_seconds"] == 1.5
    assert document["observation"] == {"seconds": 0.001, "unobserved": 0}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (3e-8, "30 ns"),
        (9.996e-6, "10.0 µs"),
        (0.00099996, "1.00 ms"),
        (0.0421, "42.1 ms"),
        (0.9996, "1.00 s"),
        (99.96, "100 s"),
        (12345.6, "12346 s"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


BUSY = """
import atexit, concurrent.futures, queue, sys, threading
lock = threading.Lock()
jobs = queue.Queue(2)
inside = threading.Event()

def hold():
    with lock:
        inside.set()
        jobs.get()

def contend():
    with lock:
        pass

holder = threading.Thread(target=hold, daemon=True)
holder.start()
inside.wait()
contender = threading.Thread(target=contend, daemon=True)
contender.start()
while not (lock.waiters and jobs.statistics().getters):
    pass
jobs.put(1)
holder.join()
contender.join()
with concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="pool") as pool:
    print(sum(pool.map(abs, range(-10, 0))))
atexit.register(print, "atexit", file=sys.stderr, flush=True)
"""


def run(tmp_path: Path, source: str, *options: str) -> programs.Ended:
    (tmp_path / "prog.py").write_text(source)
    return programs.run([*programs.RUN, *options, "prog.py"], tmp_path)


def test_a_real_program_in_text(tmp_path: Path) -> None:
    ended = run(tmp_path, BUSY)
    assert (ended.code, ended.out) == (0, "55\n")
    assert ended.err.startswith("atexit\ncounterpoint run prog.py: ")
    for part in ("ThreadPoolExecutor pool", "\nQueue ", "\nLock "):
        assert part in ended.err


def test_a_real_program_in_json(tmp_path: Path) -> None:
    ended = run(tmp_path, BUSY, "--summary=json")
    assert (ended.code, ended.out) == (0, "55\n")
    document = json.loads(ended.err.splitlines()[-1])
    rows = {(row["kind"], row["site"].rpartition("/")[2]): row for row in document["rows"]}
    lock = rows["Lock", "prog.py:3"]["statistics"]
    assert lock["waits"]["count"] == 1
    assert lock["waits"]["max"] > 0
    jobs = rows["Queue", "prog.py:4"]["statistics"]
    assert (jobs["puts"], jobs["gets"], jobs["maxsize"], jobs["max_size"]) == (1, 1, 2, 1)
    assert jobs["get_waits"]["count"] == 1
    pool = next(row for (kind, _), row in rows.items() if kind == "ThreadPoolExecutor")
    assert pool["name"] == "pool"
    assert pool["statistics"]["done"] == 10
    assert pool["statistics"]["max_workers"] == 2
    assert 0 < pool["statistics"]["utilisation"] <= 1
    for name in ("queue_histogram", "run_histogram"):
        assert sum(count for _, count in pool["statistics"][name]) == 10
    assert document["wall_seconds"] > 0


PROCESSES_PROGRAM = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

def task(n):
    if n == 1:
        raise ValueError(n)
    if n == 2:
        os._exit(3)
    return n

def made(method):
    return ProcessPoolExecutor(1, multiprocessing.get_context(method))

if __name__ == "__main__":
    for method in ("fork", "forkserver", "spawn"):
        with made(method) as pool:
            for n in (0, 1, 2, 3):
                pool.submit(task, n).exception()
            if method == "spawn":
                pool.submit(time.sleep, 0.01).result()
    del pool
"""


def test_a_process_pool_is_in_the_summary_and_its_workers_print_none(tmp_path: Path) -> None:
    ended = run(tmp_path, PROCESSES_PROGRAM, "--summary=json")
    assert (ended.code, ended.out) == (0, "")
    (line,) = ended.err.splitlines()
    document = json.loads(line)
    (row,) = [row for row in document["rows"] if row["kind"] == "ProcessPoolExecutor"]
    assert row["site"].endswith("prog.py:14")
    assert (row["name"], row["objects"]) == (None, 3)
    pool = row["statistics"]
    assert (pool["done"], pool["failed"], pool["cancelled"]) == (7, 6, 0)
    assert (pool["crashes"], pool["restarts"], pool["max_workers"]) == (3, 3, 1)
    # A task that died with its worker had no end to be measured.
    assert pool["queue_delay"]["count"] == pool["run_time"]["count"] == 10
    assert pool["run_time"]["max"] >= 0.01
    assert 0 < pool["utilisation"] < 1
    assert document["totals"]["tasks_done"] == 7
    ended = run(tmp_path, PROCESSES_PROGRAM)
    assert ended.err.count("counterpoint run") == ended.err.count("\nProcessPoolExecutor ") == 1


def test_a_file_takes_the_summary(tmp_path: Path) -> None:
    source = "import os, threading; threading.Lock(); os.chdir('/'); print(1)"
    ended = run(tmp_path, source, "--summary=json", "--summary-file=out.json")
    assert ended == (0, "1\n", "")
    assert json.loads((tmp_path / "out.json").read_text())["program"] == "prog.py"
    run(tmp_path, BUSY, "--summary-file=out.txt")
    assert "ThreadPoolExecutor pool" in (tmp_path / "out.txt").read_text(encoding="utf-8")


def test_a_name_that_is_no_utf_8_is_in_the_summary_somehow(tmp_path: Path) -> None:
    source = "import threading, queue\nlock, q = threading.Lock(), queue.Queue()\nq.put(1)\n"
    name = os.fsdecode(b"prog\xff.py")
    (tmp_path / name).write_text(source)
    for form in ("text", "json"):
        command = [*programs.RUN, f"--summary={form}", "--summary-file=out", name, "a"]
        assert programs.run(command, tmp_path) == (0, "", "")
        text = (tmp_path / "out").read_text(encoding="utf-8")
        assert r"prog\udcff.py a" in text
        if form == "text":
            assert r"prog\udcff.py:2" in text
        else:
            assert json.loads(text)["program"] == f"{name} a"
    ended = programs.run([*programs.RUN, name], tmp_path)
    assert ended.code == 0
    assert ended.err.startswith("counterpoint run prog")


def test_a_long_command_runs_and_is_shortened_in_the_text(tmp_path: Path) -> None:
    (tmp_path / "prog.py").write_text("import sys; print(len(sys.argv))")
    arguments = [f"{n:06}" for n in range(40_000)]  # more than one variable holds
    command = [sys.executable, "-X", "dev", *programs.RUN[1:]]
    ended = programs.run([*command, "prog.py", *arguments], tmp_path)
    assert (ended.code, ended.out) == (0, "40001\n")
    head, _, _ = ended.err.partition(":")
    assert head.startswith("counterpoint run prog.py 000000 000001")
    assert head.endswith(" …")
    assert len(head) < 1100
    ended = programs.run([*command, "--summary=json", "prog.py", *arguments], tmp_path)
    assert json.loads(ended.err)["program"] == " ".join(["prog.py", *arguments])


def test_a_file_that_cannot_be_written_is_said_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    source = "import os; os.rmdir('sub')"
    ended = run(tmp_path, source, "--summary-file=sub/out.txt")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("counterpoint: no summary: FileNotFoundError")
    assert ended.err.count("\n") == 1


def test_a_program_without_objects_says_so_in_one_line(tmp_path: Path) -> None:
    ended = run(tmp_path, "print('x')")
    assert ended.out == "x\n"
    assert ended.err.startswith("counterpoint run prog.py: no executor, no event loop, no queue")
    assert ended.err.count("\n") == 1


def test_a_failing_program_prints_its_traceback_and_then_the_summary(tmp_path: Path) -> None:
    ended = run(tmp_path, "import threading\nlock = threading.Lock()\nraise ValueError('mine')\n")
    assert ended.code == 1
    head = 'Traceback (most recent call last):\n  File "'
    assert ended.err.startswith(head)
    assert "\nValueError: mine\ncounterpoint run prog.py: " in ended.err


def test_os_exit_skips_the_summary(tmp_path: Path) -> None:
    assert run(tmp_path, "import os; os._exit(4)") == (4, "", "")


FORKS = """
import os, sys
if os.fork() == 0:
    sys.exit(3)
print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


def test_a_forked_child_prints_none(tmp_path: Path) -> None:
    ended = run(tmp_path, FORKS)
    assert ended.out == "3\n"
    assert ended.err.count("counterpoint run") == 1


def test_a_child_process_is_plain_python(tmp_path: Path) -> None:
    source = (
        "import subprocess, sys\n"
        "show = 'import threading, os; print(threading.Lock.__module__, sorted(os.environ))'\n"
        "print(subprocess.run([sys.executable, '-c', show], capture_output=True, text=True))\n"
    )
    (tmp_path / "prog.py").write_text(source)
    plain = programs.run([*programs.PYTHON, "prog.py"], tmp_path)
    assert run(tmp_path, source).out == plain.out


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.stderr.close()",
        "import sys; sys.stderr = sys.__stderr__ = None",
        "import os; os.close(2)",
    ],
)
def test_nobody_to_tell(source: str, tmp_path: Path) -> None:
    assert run(tmp_path, source) == (0, "", "")


def test_a_program_that_takes_stderr_for_itself(tmp_path: Path) -> None:
    ended = run(tmp_path, "import io, sys; sys.stderr = io.StringIO()")
    assert ended.err.startswith("counterpoint run prog.py")


def test_strange_surroundings(tmp_path: Path) -> None:
    source = (
        "import concurrent.futures.thread, os, queue, sys, threading, time, warnings\n"
        "warnings.simplefilter('error')\n"
        "time.perf_counter = time.monotonic = lambda: 0\n"
        "sys.path[:] = []\n"
    )
    (tmp_path / "rich.py").write_text("raise RuntimeError('not the one')")
    ended = run(tmp_path, source + BUSY.partition("atexit.register")[0])
    assert ended.code == 0
    assert "ThreadPoolExecutor pool" in ended.err
