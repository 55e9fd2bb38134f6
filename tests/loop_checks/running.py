"""Carries checks out: here, or in a process of its own, which may hang or crash."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests import loops
from tests.loop_checks import CHECKS, Arena, Effort
from tests.loop_checks.arena import DEADLINE, PATIENCE_VARIABLE

ROOT = Path(__file__).resolve().parents[2]

# Seconds for one check in a process.
LIMIT = 40.0


@contextmanager
def _quiet() -> Iterator[None]:
    """What a loop logs of the errors that are provoked here, is no news."""
    logger = logging.getLogger("asyncio")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def carry_out(loop: str, check: str, effort: Effort | None = None) -> None:
    """The check on the loop of this name, in this process and thread."""
    arena = Arena(loops.factory(loop), effort or Effort())
    with _quiet():
        try:
            CHECKS[check](arena)
        except BaseException:
            with suppress(BaseException):
                arena.close()
            raise
        arena.close()
        del arena
        gc.collect()


def verdict(loop: str, check: str, patience: float = DEADLINE) -> str:
    """What came of the check in a process of its own: `passed`, or what went wrong in a line."""
    command = [sys.executable, "-X", "faulthandler", "-m", "tests.loop_checks"]
    command += [loop, check, "--less"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), PATIENCE_VARIABLE: str(patience)}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=min(LIMIT, 5 + 3 * patience),
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "hung"
    if done.returncode == 0:
        return "passed"
    if done.returncode < 0:
        return f"crashed by signal {-done.returncode}"
    lines = [line for line in done.stderr.splitlines() if line and not line.startswith(" ")]
    return lines[-1][:200] if lines else f"ended with status {done.returncode}"
