"""What every other module here uses: paths, the error with one line, and running a command."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
TARGET = ROOT / "target"
LOGS = BUILD / "logs"
CORE_CRATES = ["--workspace", "--exclude", "counterpoint-python"]

Command = Sequence[str | Path]

IN_CI = os.environ.get("CI", "").lower() in ("1", "true", "yes")

# Output that goes to a log is without colours and progress bars.
PLAIN = {"TERM": "dumb", "NO_COLOR": "1", "CARGO_TERM_COLOR": "never"}

# The commands that run now, each waited for by the thread that began it.
RUNNING: set[subprocess.Popen[bytes]] = set()


class Trouble(Exception):
    """Something that the user has to put right, said in one line, without a traceback."""


def fail(text: str) -> NoReturn:
    raise Trouble(text)


def say(text: str) -> None:
    print(text, flush=True)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's environment without what a caller's own virtual environment put there."""
    env = {
        k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")
    }
    env.update(PIP_DISABLE_PIP_VERSION_CHECK="1", PIP_QUIET="1")
    env.update(extra or {})
    return env


def run(
    command: Command,
    *,
    env: Mapping[str, str] | None = None,
    limit: float = 1800,
    output: IO[str] | None = None,
) -> int:
    """Runs a command in the project's root and returns its status, 124 if the limit ended it."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment(env) if output is None else environment(PLAIN | dict(env or {})),
        stdout=output,
        stderr=subprocess.STDOUT if output is not None else None,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    RUNNING.add(process)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return 124
    finally:
        # Also what a finished command left running: a test's orphan would slow down or
        # confuse the next step.
        _kill_group(process)
        RUNNING.discard(process)


def kill_running() -> None:
    """Ends the commands that other threads run, as an interruption does in the thread it meets."""
    for process in list(RUNNING):
        _kill_group(process)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def check(command: Command, what: str, **options: object) -> None:
    """Like run, but a status other than 0 ends the whole command with `what`."""
    status = run(command, **options)  # type: ignore[arg-type]
    if status:
        fail(f"{what} failed (status {status}): {' '.join(map(str, command))}")


def ask(command: Command, *, limit: float = 30) -> str | None:
    """The output of a quick question, or None when it could not be asked."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            timeout=limit,
            env=environment(),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@contextmanager
def locked(name: str) -> Iterator[None]:
    """One process at a time for each name, since two would work in one directory."""
    directory = BUILD / "locks"
    directory.mkdir(parents=True, exist_ok=True)
    with open(directory / name, "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another run that uses {name} …", file=sys.stderr, flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
