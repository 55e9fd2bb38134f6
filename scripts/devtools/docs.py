"""`make docs`: builds the documentation; a broken internal link or reference is an error."""

from __future__ import annotations

from . import rust, venvs
from .common import BUILD, ROOT
from .interpreters import Interpreter
from .steps import Runner

SITE = BUILD / "docs"


def docs(runner: Runner, interpreter: Interpreter) -> None:
    rust.rustdoc(runner)
    if not (ROOT / "docs" / "conf.py").exists():
        runner.not_run("docs", "docs/conf.py does not exist")
        return
    python = venvs.ensure(interpreter, "test", "docs")
    strict = ["--nitpicky", "--fail-on-warning", "--keep-going", "--quiet"]
    runner.commands("docs", [[python, "-m", "sphinx", *strict, "docs", SITE]])
