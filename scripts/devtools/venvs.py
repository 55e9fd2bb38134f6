"""An environment for each interpreter, and one with the tools that build and install for all."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tomllib
from functools import cache
from pathlib import Path

from .common import BUILD, LOGS, ROOT, Command, check, fail, locked, run
from .interpreters import Interpreter

VENVS = BUILD / "venv"

# In each environment: the Python that it was made from.
ORIGIN = "origin.txt"

# The groups of what the tests need.
TESTED_WITH = ("test", "clients", "loops")


@cache
def pyproject() -> dict[str, dict[str, list[str]]]:
    with open(ROOT / "pyproject.toml", "rb") as file:
        return tomllib.load(file)


def requirements(*groups: str) -> list[str]:
    """The named dependency groups together; `runtime` is what the package itself needs."""
    listed = pyproject()["dependency-groups"]
    wanted = {name for g in groups for name in (_runtime() if g == "runtime" else listed[g])}
    return sorted(wanted)


def _runtime() -> list[str]:
    return pyproject()["project"]["dependencies"]


def python_in(directory: Path) -> Path:
    return directory / "bin" / "python"


def tools() -> Path:
    """The environment with pip and maturin, made from the interpreter that runs this."""
    directory = VENVS / "tools"
    with locked("venv-tools"):
        if not _made_from(directory):
            _make(Path(sys.executable), directory, with_pip=True)
        _install(python_in(directory), directory, requirements("build"))
    return directory


def ensure(interpreter: Interpreter, *groups: str) -> Path:
    """The environment of an interpreter with these groups installed; its Python is returned."""
    directory = VENVS / interpreter.tag
    with_pip = tools()
    with locked(f"venv-{interpreter.tag}"):
        # An environment goes on pointing at the Python that it was made from.
        if _made_from(directory) != str(interpreter.path):
            _make(interpreter.path, directory, with_pip=False)
        _install(python_in(with_pip), directory, requirements("runtime", *groups))
    return python_in(directory)


def _made_from(directory: Path) -> str:
    origin = directory / ORIGIN
    return origin.read_text() if origin.exists() else ""


def _make(python: Path, directory: Path, *, with_pip: bool) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.parent.mkdir(parents=True, exist_ok=True)
    # Some builds have no working ensurepip: the tools' pip installs into every environment.
    options = [] if with_pip else ["--without-pip"]
    check([python, "-m", "venv", *options, directory], f"making an environment with {python}")
    # Last, so that an environment which was cut short is made again.
    (directory / ORIGIN).write_text(str(python))


def _install(pip_python: Path, directory: Path, wanted: list[str]) -> None:
    """Installs what this environment has not yet got, going by a stamp for each requirement."""
    stamps = directory / "installed"
    stamps.mkdir(exist_ok=True)
    missing = [r for r in wanted if not (stamps / _stamp(r)).exists()]
    if not missing:
        return
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"pip-{directory.name}.log"
    with open(log, "w") as output:
        command: Command = [
            pip_python,
            "-m",
            "pip",
            "--python",
            python_in(directory),
            "install",
            *missing,
        ]
        status = run(command, limit=900, output=output)
    if status:
        names = " ".join(missing)
        fail(f"pip could not install {names} for {directory.name} (no package index?): see {log}")
    for requirement in missing:
        (stamps / _stamp(requirement)).touch()


def _stamp(requirement: str) -> str:
    return hashlib.sha256(requirement.encode()).hexdigest()[:16]
