"""Count the identifiers of the running interpreter's standard library.

Every ``.py`` file below the library's directory, its own tests included but not what was installed
beside it (``site-packages``), is read and tokenized in a pool of threads; two more threads add up
what the pool found. The report is the same each time: it depends on no order of events.

    python identifiers.py                      # the whole library: close to two thousand files
    python identifiers.py --limit 200 --top 5  # every so many-th file of it, until there are 200
    python identifiers.py --root src           # some other directory

The library's many tests are most of it; CPython 3.11, whose tokenizer is written in Python, takes
half a minute, 3.12 and newer less than half of that.

How the parts meet::

    ThreadPoolExecutor ── Queue(64) ──> counting threads ── Lock, Condition ──> main thread
      read, tokenize                      add to one Totals                       PriorityQueue
      (Semaphore: 8 files open)                                                   prints

The main thread waits on the Condition until every file is counted, then ends the counting threads
with one ``None`` each and the progress thread with an Event.
"""

from __future__ import annotations

import argparse
import io
import keyword
import os
import sys
import token
import tokenize
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from queue import PriorityQueue, Queue
from threading import Condition, Event, Lock, Semaphore, Thread

MAX_OPEN_FILES = 8
MAX_UNCOUNTED_FILES = 64
COUNTING_THREADS = 2
SECONDS_BETWEEN_PROGRESS_LINES = 1.0
NOT_OF_THE_LIBRARY = {"site-packages", "dist-packages", "__pycache__"}


@dataclass(frozen=True)
class FileReport:
    """What one file holds; one that cannot be read and tokenized has no identifiers."""

    lines: int
    names: Counter[str]
    readable: bool = True


@dataclass
class Totals:
    """The sum over all files counted so far, shared by the counting threads."""

    lock: Lock = field(default_factory=Lock)
    names: Counter[str] = field(default_factory=Counter)
    files: int = 0
    lines: int = 0
    unreadable: int = 0

    def __post_init__(self) -> None:
        self.grown = Condition(self.lock)

    def add(self, report: FileReport) -> None:
        with self.grown:
            self.names.update(report.names)
            self.files += 1
            self.lines += report.lines
            self.unreadable += not report.readable
            self.grown.notify_all()

    def wait_for_files(self, count: int) -> None:
        with self.grown:
            self.grown.wait_for(lambda: self.files >= count)


def python_files(root: Path) -> Iterator[Path]:
    """All Python files below root, in an order that does not depend on the file system."""
    for directory, subdirectories, files in os.walk(root):
        subdirectories[:] = sorted(set(subdirectories) - NOT_OF_THE_LIBRARY)
        for name in sorted(files):
            if name.endswith(".py"):
                yield Path(directory, name)


def evenly_spaced(paths: list[Path], limit: int | None) -> list[Path]:
    """At most limit of the paths, taken from all parts of the list."""
    if limit is None or limit >= len(paths):
        return paths
    return [paths[i * len(paths) // limit] for i in range(limit)]


def read_file(path: Path, open_files: Semaphore) -> FileReport:
    """Tokenize one file and count the identifiers in it."""
    try:
        with open_files:
            source = path.read_bytes()
    except OSError:
        # A symbolic link to nowhere, or a file that only root may read.
        return FileReport(0, Counter(), readable=False)
    lines = source.count(b"\n")
    try:
        return FileReport(lines, count_identifiers(source))
    except (SyntaxError, UnicodeDecodeError, tokenize.TokenError):
        # The library's tests hold files that are broken on purpose.
        return FileReport(lines, Counter(), readable=False)


def count_identifiers(source: bytes) -> Counter[str]:
    tokens = tokenize.tokenize(io.BytesIO(source).readline)
    words = (t.string for t in tokens if t.type == token.NAME)
    return Counter(word for word in words if not keyword.iskeyword(word))


def count_until_none(reports: Queue[FileReport | None], totals: Totals) -> None:
    """A counting thread: add report after report until the main thread sends a None."""
    while (report := reports.get()) is not None:
        totals.add(report)


def show_progress(totals: Totals, finished: Event) -> None:
    """The progress thread: now and then one line on a terminal, until everything is counted."""
    while not finished.wait(SECONDS_BETWEEN_PROGRESS_LINES):
        if sys.stderr.isatty():
            print(f"{totals.files} files counted", file=sys.stderr)


def count_files(paths: list[Path], workers: int | None) -> Totals:
    """Read all files in a pool of threads and count them in others."""
    totals = Totals()
    finished = Event()
    open_files = Semaphore(MAX_OPEN_FILES)
    reports: Queue[FileReport | None] = Queue(MAX_UNCOUNTED_FILES)

    def read_and_pass_on(path: Path) -> None:
        reports.put(read_file(path, open_files))

    helpers = [
        Thread(target=count_until_none, args=(reports, totals), name=f"count-{i}")
        for i in range(COUNTING_THREADS)
    ]
    helpers.append(Thread(target=show_progress, args=(totals, finished), name="progress"))
    for helper in helpers:
        helper.start()
    try:
        with ThreadPoolExecutor(workers, thread_name_prefix="read") as pool:
            readings = [pool.submit(read_and_pass_on, path) for path in paths]
            for reading in readings:
                reading.result()  # raises here what went wrong there
        totals.wait_for_files(len(paths))
    finally:
        for _ in range(COUNTING_THREADS):
            reports.put(None)
        finished.set()
        for helper in helpers:
            helper.join()
    return totals


def most_used(names: Counter[str], top: int) -> Iterator[tuple[str, int]]:
    """The most used names, ties in alphabetical order."""
    ranking: PriorityQueue[tuple[int, str]] = PriorityQueue()
    for name, count in names.items():
        ranking.put((-count, name))
    for _ in range(min(top, len(names))):
        minus_count, name = ranking.get()
        yield name, -minus_count


def print_report(totals: Totals, top: int) -> None:
    print(f"{totals.files:>10,} files, {totals.unreadable:,} of them unreadable as Python")
    print(f"{totals.lines:>10,} lines")
    print(f"{totals.names.total():>10,} identifiers, {len(totals.names):,} different ones")
    print()
    for rank, (name, count) in enumerate(most_used(totals.names, top), start=1):
        print(f"{rank:>4}  {count:>8,}  {name}")


def natural_number(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--limit", type=natural_number, metavar="N", help="count only N files")
    parser.add_argument("--top", type=natural_number, default=20, metavar="N", help="default: 20")
    parser.add_argument("--root", type=Path, metavar="DIR", help="default: the standard library")
    parser.add_argument("--workers", type=natural_number, metavar="N", help="threads in the pool")
    return parser.parse_args()


def main() -> int:
    arguments = parse_arguments()
    root: Path = arguments.root or Path(os.__file__).parent  # where the library is
    paths = evenly_spaced(list(python_files(root)), arguments.limit)
    if not paths:
        print(f"no Python files below {root}", file=sys.stderr)
        return 1
    print_report(count_files(paths, arguments.workers), arguments.top)
    return 0


if __name__ == "__main__":
    sys.exit(main())
