"""The steps that judge the Python sources without running them: ruff, mypy, stubtest, style."""

from __future__ import annotations

import sys
from pathlib import Path

from . import venvs
from .common import ROOT, Command
from .interpreters import Interpreter
from .steps import Runner

SOURCES = ("python", "tests", "scripts", "benches", "examples", "docs")
ALLOWLIST = ROOT / "scripts" / "stubtest_allowlist.txt"


def sources() -> list[str]:
    return [name for name in SOURCES if (ROOT / name).is_dir()]


def ruff(runner: Runner, interpreter: Interpreter) -> None:
    tool = venvs.ensure(interpreter, "test", "lint").with_name("ruff")
    runner.commands("ruff check", [[tool, "check", "--no-cache", *sources()]])
    runner.commands("ruff format", [[tool, "format", "--no-cache", "--check", *sources()]])


def mypy(runner: Runner, interpreter: Interpreter) -> None:
    """--strict on the package, from pyproject.toml, and on these scripts."""
    python = venvs.ensure(interpreter, "test", "lint")
    cache = ["--cache-dir", "build/mypy"]
    scripts = ["scripts/dev.py", "scripts/check_style.py"]
    commands: list[Command] = [
        [python, "-m", "mypy", *cache],
        [python, "-m", "mypy", *cache, "--strict", *scripts],
        [python, "-m", "mypy", *cache, "--strict", "tests/typing"],
    ]
    runner.commands("mypy --strict", commands)


def stubtest(runner: Runner, interpreter: Interpreter) -> None:
    """The stub of the native module against the module as built for this interpreter."""
    python = venvs.ensure(interpreter, "test", "lint")
    command: list[str | Path] = [python, "-m", "mypy.stubtest", "counterpoint._core"]
    command += ["--mypy-config-file", "pyproject.toml"]
    if ALLOWLIST.exists():
        command += ["--allowlist", ALLOWLIST]
    runner.commands("stubtest", [command], env={"MYPYPATH": str(ROOT / "python")})


def style(runner: Runner) -> None:
    runner.commands("style", [[sys.executable, "scripts/check_style.py"]])
