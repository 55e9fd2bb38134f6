"""examples/primes_and_arrays.py gives every answer, beside a crash and an endless loop."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "primes_and_arrays.py"
PICTURE_BYTES = 8_000_000


def run_example(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def checksum() -> int:
    """Of six pictures of stripes with black and white exchanged, found in another way."""
    total = 0
    for number in range(6):
        stripe = bytes(255 - (number + i) % 256 for i in range(256))
        total = zlib.crc32(stripe * (PICTURE_BYTES // 256), total)
    return total


def expected(primes: str) -> list[str]:
    return [
        f"primes below {primes}",
        f"6 pictures inverted, checksum {checksum():08x}",
        "the task that crashed: its process was killed by SIGSEGV",
        "the task that never ends: stopped after 1 s",
    ]


def test_every_answer_is_there_and_the_same_each_time() -> None:
    first = run_example("--limit", "20000")
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert first.stdout.splitlines() == expected("20,000: 2,262")
    assert run_example("--limit", "20000", "--workers", "3").stdout == first.stdout


def test_bytes_do_as_well_as_arrays() -> None:
    done = run_example("--limit", "100", "--plain", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected("100: 25")


def test_threads_and_processes_are_compared_on_stderr() -> None:
    done = run_example("--limit", "1000", "--compare", "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected("1,000: 168")
    assert done.stderr.startswith("2 threads: ")
    assert done.stderr.endswith(" times as fast\n")


def test_wrong_numbers_are_refused() -> None:
    result = run_example("--workers", "0")
    assert result.returncode == 2
    assert "0 is not positive" in result.stderr
