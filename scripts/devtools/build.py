"""Builds the extension in place, with one cargo target directory for each interpreter."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import IO

from . import venvs
from .common import ROOT, TARGET, fail, locked, run
from .interpreters import TAGS, Interpreter


def cargo_env(interpreter: Interpreter) -> dict[str, str]:
    """What cargo needs to compile the binding for this interpreter, with or without maturin."""
    return {
        "CARGO_TARGET_DIR": str(TARGET / interpreter.tag),
        "PYO3_PYTHON": str(venvs.python_in(venvs.VENVS / interpreter.tag)),
        "PYO3_BUILD_EXTENSION_MODULE": "1",
    }


def develop(
    interpreter: Interpreter,
    *groups: str,
    profile: str = "release",
    output: IO[str] | None = None,
) -> Path:
    """Environment, build and editable install; returns the environment's Python."""
    python = venvs.ensure(interpreter, *groups)
    tools = venvs.tools()
    profile = os.environ.get("PROFILE", profile)
    command: list[str | Path] = [tools / "bin/maturin", "develop", "--quiet", "--profile", profile]
    command += ["--pip-path", tools / "bin/pip"]
    # The install writes the package's metadata and its command; the module itself is built in
    # place. It takes longer
    # than the build when little changed, so it is done once for each state of the metadata.
    stamp = venvs.VENVS / interpreter.tag / "installed" / "counterpoint"
    state = _metadata()
    if stamp.exists() and stamp.read_text() == state:
        command += ["--skip-install"]
    env = cargo_env(interpreter) | {"VIRTUAL_ENV": str(venvs.VENVS / interpreter.tag)}
    with locked(f"build-{interpreter.tag}"):
        _seed(interpreter, profile)
        status = run(command, env=env, output=output)
    if status:
        fail(f"the build for {interpreter} failed (status {status})")
    stamp.write_text(state)
    return python


def _seed(interpreter: Interpreter, profile: str) -> None:
    """Starts a first build from another interpreter's: most crates do not know of Python at all.

    cargo looks at each crate by itself and rebuilds those that asked for the interpreter.
    """
    mine = TARGET / interpreter.tag / profile
    if mine.exists():
        return
    for tag in TAGS:
        done = TARGET / tag / profile
        if done.exists() and (venvs.VENVS / tag / "installed" / "counterpoint").exists():
            with locked(f"build-{tag}"):
                shutil.copytree(done, mine, symlinks=True)
            return


def _metadata() -> str:
    text = (ROOT / "pyproject.toml").read_bytes() + (ROOT / "Cargo.toml").read_bytes()
    return hashlib.sha256(text).hexdigest()
