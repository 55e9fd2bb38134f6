"""examples/chat_server.py has the same transcript on asyncio's loop and on ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "chat_server.py"


def run_example(*under: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *under, str(EXAMPLE), "10"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_says_the_same_on_either_loop() -> None:
    plain = run_example()
    assert (plain.returncode, plain.stderr) == (0, "")
    lines = plain.stdout.splitlines()
    assert lines[0] == "10 clients heard 1 transcript of 30 lines:"
    assert lines[-3:] == [
        "10 clients are there, 30 lines were said",
        "* you said nothing, goodbye",
        "closed",
    ]
    ours = run_example("-m", "counterpoint", "run")
    assert (ours.returncode, ours.stdout) == (plain.returncode, plain.stdout)
    assert "\nEventLoop " in ours.stderr  # a row of the summary
