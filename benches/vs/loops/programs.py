"""Processes that are spoken to in lines, and where the programs in Rust are."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from benches.vs.case import PATIENCE_SECONDS
from benches.vs.environment import usual

PROGRAMS = Path(__file__).parents[3] / "target" / "bench" / "release"
CPU_CLOCK_SCHEDULER = 2
END_SECONDS = 5.0


class Program:
    """A process that answers each line with a line; its stdin's end is its own."""

    def __init__(self, *command: object, more: Mapping[str, str] | None = None) -> None:
        self._said = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=usual() | dict(more or {}),
        )
        self.pid = self._process.pid

    def ask(self, question: str) -> str:
        """Raises if the process ends instead, with what it said last."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(question, file=self._process.stdin, flush=True)
        return self.line()

    def line(self) -> str:
        answers = self._process.stdout
        assert answers is not None
        if not select.select([answers], [], [], PATIENCE_SECONDS)[0]:
            raise TimeoutError(f"no answer within {PATIENCE_SECONDS:.0f} s")
        line = answers.readline()
        if not line:
            self._said.seek(0)
            said = self._said.read().strip().splitlines()
            raise RuntimeError(said[-1] if said else "its process ended")
        return line.strip()

    def keep_to(self, cpu: int) -> None:
        """Run on one CPU from now on."""
        os.sched_setaffinity(self.pid, {cpu})

    def cpu_ns(self) -> int:
        """CPU time so far, of all its threads; from the clock that Linux has for each process."""
        return time.clock_gettime_ns((~self.pid << 3) | CPU_CLOCK_SCHEDULER)

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._said.close()


def in_rust(name: str) -> Path:
    """One of the programs that ``make bench`` builds."""
    path = PROGRAMS / name
    if not path.exists():
        raise FileNotFoundError(f"{name} is not built: `make bench` builds it")
    return path


def in_python(module: str, *arguments: object) -> tuple[object, ...]:
    return (sys.executable, "-m", f"benches.vs.loops.{module}", *arguments)
