"""examples/chat_server.py has the same transcript on asyncio's loop and on ours."""

from __future__ import annotations

import ast
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


def imported(source: str) -> set[str]:
    """The packages that it imports, wherever in it that is."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level + (node.module or "").partition(".")[0])
    return found


def test_it_imports_nothing_but_the_standard_library() -> None:
    packages = imported(EXAMPLE.read_text(encoding="utf-8"))
    assert "asyncio" in packages
    assert packages <= sys.stdlib_module_names
