"""Programs that use a pool, run as a user would: in a session of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.processes import descendants, state_of
from tests.support import eventually

__all__ = ["TASKS", "Program", "program", "succeeds", "with_own_shm"]

PATHS = (os.getcwd(), os.path.join(os.getcwd(), "python"))

PRELUDE = """
import gc, os, signal, sys, threading, time, warnings
sys.path[:0] = sys.argv[-2:]
"""

# For programs whose workers may take their time to begin.
TASKS = """
from tests.processes import Guest, ProcessPoolExecutor, die, identity, square, stay
"""


PYTHON = (sys.executable, "-W", "error", "-X", "faulthandler")


class Program:
    """A program in a session of its own, as at a terminal."""

    def __init__(
        self, path: Path, code: str, *arguments: str, prefix: tuple[str, ...] = ()
    ) -> None:
        path.write_text(PRELUDE + code)
        self.process = subprocess.Popen(
            [*prefix, *PYTHON, str(path), *arguments, *PATHS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": ""},
        )

    def end(self, timeout: float = 30) -> tuple[int, str, str]:
        """Its status and what it wrote."""
        out, err = self.process.communicate(timeout=timeout)
        return self.process.returncode, out, err

    def ctrl_c(self) -> None:
        """As from the terminal: everybody of the process group in front is told."""
        os.killpg(self.process.pid, signal.SIGINT)


@contextmanager
def program(
    path: Path, code: str, *arguments: str, prefix: tuple[str, ...] = ()
) -> Iterator[Program]:
    """Runs a program; whatever it was the parent of must be gone in the end."""
    running = Program(path / "program.py", code, *arguments, prefix=prefix)
    try:
        yield running
    finally:
        # Those that would be left are nobody's children then, so they are asked for before.
        below = descendants(running.process.pid)
        if running.process.poll() is None:
            running.process.kill()
        running.process.communicate()
        eventually(lambda: all(state_of(pid) in ("", "Z") for pid in below), 10)


def succeeds(
    path: Path, code: str, *arguments: str, prefix: tuple[str, ...] = (), timeout: float = 30
) -> str:
    """Runs a program that must end well and silently."""
    with program(path, code, *arguments, prefix=prefix) as running:
        status, out, err = running.end(timeout)
    assert (status, err) == (0, ""), (status, out, err)
    return out


_UNSHARE = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c")


def with_own_shm(options: str = "", then: str = ":") -> tuple[str, ...]:
    """A prefix for a program whose /dev/shm is its own, mounted with these options."""
    mount = f"mount -t tmpfs {options} none /dev/shm"
    if (
        shutil.which("unshare") is None
        or subprocess.run([*_UNSHARE, mount], capture_output=True).returncode
    ):
        pytest.skip("no mount namespace can be made here, which takes the right to")
    return (*_UNSHARE, f'{mount}; {then} 2>/dev/null; exec "$@"', "sh")
