"""Count primes and invert pictures in a pool of processes, beside a crash and an endless loop.

Four kinds of tasks go to one pool at the same time:

- *Slices*: primes of a range of numbers are counted in pure Python. Threads cannot speed this up on
  an interpreter with a GIL; processes can.
- *Pictures*: each is 8 MB on its way in and 8 MB on its way out, NumPy arrays where NumPy is
  installed and bytes where it is not. They travel through shared memory.
- *A crash*: a task kills its own process by a segmentation fault, as a bug in a C library does.
- *An endless loop*: a task that never returns has a time limit.

The crash and the endless loop cost themselves; every other answer is there, and the report is the
same each time.

    python primes_and_arrays.py                    # a few seconds
    python primes_and_arrays.py --limit 2000000    # more primes
    python primes_and_arrays.py --compare          # the slices again, in threads; times to stderr

This program imports its pool from ``counterpoint.futures``, and does not leave the choice to
``counterpoint run``: it would not work on the standard library's. There the crash breaks the whole
pool, every task that is not done fails with ``BrokenProcessPool``, and nothing can stop the
endless loop but the end of the program.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import time
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TypeAlias

from counterpoint.futures import ProcessPoolExecutor, WorkerCrashed

try:
    import numpy
except ImportError:
    numpy = None  # type: ignore[assignment]

SLICES = 24
PICTURES = 6
PICTURE_BYTES = 8_000_000
SECONDS_FOR_THE_ENDLESS = 1.0
WHITE = 255
INVERSE = bytes(WHITE - value for value in range(256))

Picture: TypeAlias = "bytes | numpy.ndarray"  # of unsigned bytes


def count_primes(start: int, stop: int) -> int:
    """How many primes there are from start to before stop, by trial division."""
    return sum(map(is_prime, range(max(start, 2), stop)))


def is_prime(number: int) -> bool:
    if number % 2 == 0:
        return number == 2
    divisor = 3
    while divisor * divisor <= number:
        if number % divisor == 0:
            return False
        divisor += 2
    return True


def make_picture(number: int, plain: bool) -> Picture:
    """A picture of stripes, each with stripes of its own."""
    stripe = bytes(range(number, 256)) + bytes(range(number))
    content = stripe * (PICTURE_BYTES // len(stripe))
    return content if plain or numpy is None else numpy.frombuffer(content, numpy.uint8)


def invert(picture: Picture) -> Picture:
    """The same with black and white exchanged."""
    return picture.translate(INVERSE) if isinstance(picture, bytes) else WHITE - picture


def crash() -> None:
    """Die as a bug in a C library makes a process die."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    signal.raise_signal(signal.SIGSEGV)


def run_for_ever() -> None:
    while True:
        pass


def bounds(limit: int) -> list[tuple[int, int]]:
    """Slices of the numbers below limit."""
    edges = [limit * i // SLICES for i in range(SLICES + 1)]
    return list(pairwise(edges))


def submit_slices(pool: Executor, limit: int) -> list[Future[int]]:
    return [pool.submit(count_primes, start, stop) for start, stop in bounds(limit)]


def say_primes(limit: int, slices: Sequence[Future[int]]) -> None:
    print(f"primes below {limit:,}: {sum(part.result() for part in slices):,}")


def say_pictures(pictures: Sequence[Future[Picture]]) -> None:
    checksum = 0
    for picture in pictures:
        checksum = zlib.crc32(picture.result(), checksum)
    print(f"{len(pictures)} pictures inverted, checksum {checksum:08x}")


def say_crash(future: Future[None]) -> None:
    try:
        future.result()
    except WorkerCrashed as error:
        name = signal.Signals(-(error.exitcode or 0)).name
        print(f"the task that crashed: its process was killed by {name}")


def say_endless(future: Future[None]) -> None:
    try:
        future.result()
    except TimeoutError:
        print(f"the task that never ends: stopped after {SECONDS_FOR_THE_ENDLESS:.0f} s")


def run(limit: int, workers: int, plain: bool) -> None:
    """Submit everything to one pool, then report."""
    with ProcessPoolExecutor(workers) as pool:
        limited = pool.options(timeout=SECONDS_FOR_THE_ENDLESS)
        endless = limited.submit(run_for_ever)
        slices = submit_slices(pool, limit)
        broken = pool.submit(crash)
        pictures = [pool.submit(invert, make_picture(i, plain)) for i in range(PICTURES)]
        say_primes(limit, slices)
        say_pictures(pictures)
        say_crash(broken)
        say_endless(endless)


def seconds_for_slices(pool: Executor, limit: int, workers: int) -> float:
    """Wall-clock time of the slices alone, in a pool whose workers have started."""
    list(pool.map(abs, range(workers)))
    start = time.perf_counter()
    for part in submit_slices(pool, limit):
        part.result()
    return time.perf_counter() - start


def compare(limit: int, workers: int) -> None:
    """Say on stderr what processes gain over threads."""
    makers: tuple[Callable[[int], Executor], ...] = (ThreadPoolExecutor, ProcessPoolExecutor)
    took = []
    for make in makers:
        with make(workers) as pool:
            took.append(seconds_for_slices(pool, limit, workers))
    threads, processes = took
    print(
        f"{workers} threads: {threads:.2f} s; {workers} processes: {processes:.2f} s, "
        f"{threads / processes:.2f} times as fast",
        file=sys.stderr,
    )


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    cpus = len(os.sched_getaffinity(0))
    parser.add_argument("--limit", type=positive, default=500_000, help="default: %(default)s")
    parser.add_argument("--workers", type=positive, default=max(cpus, 2), help="default: the CPUs")
    parser.add_argument("--plain", action="store_true", help="bytes, even where NumPy is there")
    parser.add_argument("--compare", action="store_true", help="time the slices in threads too")
    options = parser.parse_args()
    run(options.limit, options.workers, options.plain)
    if options.compare:
        compare(options.limit, options.workers)


if __name__ == "__main__":
    main()
