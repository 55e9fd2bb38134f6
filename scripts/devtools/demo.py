"""`make demo`: examples plain and on Counterpoint's classes, with the same answers; then one that
only a pool of processes can do."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from . import build, interpreters, prerequisites
from .common import ROOT, environment, fail, say
from .interpreters import Interpreter
from .steps import Runner

EXAMPLES = ("examples/identifiers.py", "examples/chat_server.py")
PROCESSES = "examples/primes_and_arrays.py"
LIMIT = 300


def demo() -> int:
    prerequisites.check_all()
    interpreter = interpreters.one()
    say(f"building for {interpreter} …")
    python = build.develop(interpreter)
    for example in EXAMPLES:
        _compare(python, example)
    say(f"\n$ python {PROCESSES} --compare")
    say(_output([python, PROCESSES, "--compare"]))
    say("a crash and an endless loop cost themselves; the speed-up over threads is above")
    return 0


def _compare(python: Path, example: str) -> None:
    say(f"\n$ python {example}")
    plain = _output([python, example])
    say(plain)
    say(f"$ counterpoint run {example}")
    ours = _output([python.with_name("counterpoint"), "run", example])
    if ours != plain:
        say(ours)
        fail(f"{example} printed something else under `counterpoint run`: see above")
    say("\nthe same output, plain and under `counterpoint run`; the summary is above")


def _output(command: list[str | Path]) -> str:
    """Standard output of a run; its standard error, where the summary goes, is the user's."""
    started = time.monotonic()
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired:
        fail(f"{' '.join(map(str, command))} did not end within {LIMIT} s")
    if done.returncode:
        fail(f"{' '.join(map(str, command))} ended with status {done.returncode}")
    say(f"({time.monotonic() - started:.1f} s)")
    return done.stdout


def demo_step(runner: Runner, interpreter: Interpreter) -> None:
    """The same as a step of a run: on the whole library, where the tests take some of it."""
    command: list[str | Path] = [sys.executable, ROOT / "scripts/dev.py", "demo"]
    runner.commands("demo", [command], env={"PYTHON": str(interpreter.path)}, limit=LIMIT)
