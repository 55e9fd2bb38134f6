"""Run a program under plain Python and under `counterpoint run`, and see what each did."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

PYTHON = (sys.executable,)
RUN = (sys.executable, "-m", "counterpoint", "run")
QUIET = (*RUN, "--summary=off")


class Ended(NamedTuple):
    """How a process ended."""

    code: int
    out: str
    err: str


def environment(**changes: str) -> dict[str, str]:
    """This process's environment, without what would change a program's output."""
    unwanted = ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "PYTHONPATH", "PYTHONWARNINGS")
    env = {key: value for key, value in os.environ.items() if key not in unwanted}
    return {**env, **changes}


def run(
    command: Sequence[str], cwd: Path, stdin: str = "", env: dict[str, str] | None = None
) -> Ended:
    """Run a command to its end."""
    done = subprocess.run(
        list(command),
        cwd=cwd,
        input=stdin,
        env=environment() if env is None else env,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=50,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
