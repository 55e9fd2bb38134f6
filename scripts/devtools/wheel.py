"""`make wheel`: a wheel for each interpreter, and proof that it installs and works without Rust."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import IO

from . import venvs
from .build import cargo_env
from .common import BUILD, ROOT, Command, check, fail, locked, run
from .interpreters import Interpreter
from .steps import Runner

DIST = ROOT / "dist"

SMOKE = """
import asyncio, shutil
import counterpoint, counterpoint.futures, counterpoint.queue, counterpoint.threading
assert shutil.which("cargo") is None and shutil.which("rustc") is None
assert "site-packages" in counterpoint.__file__, counterpoint.__file__
lock, queue = counterpoint.threading.Lock(), counterpoint.queue.Queue()
with lock:
    queue.put(1)
async def main():
    async with lock:
        return await queue.async_get()
assert asyncio.run(main()) == 1
with counterpoint.futures.ThreadPoolExecutor(2) as pool:
    assert list(pool.map(abs, range(-3, 0))) == [3, 2, 1]
print("works:", counterpoint.__file__)
"""


def wheels(runner: Runner, chosen: list[Interpreter]) -> None:
    for interpreter in chosen:
        runner.call(f"wheel {interpreter.tag}", partial(_build_and_try, interpreter))


def _build_and_try(interpreter: Interpreter, output: IO[str]) -> int:
    venvs.ensure(interpreter)
    wheel = _build(interpreter, output)
    with locked("venv-wheel"):
        return _try(interpreter, wheel, output)


def _build(interpreter: Interpreter, output: IO[str]) -> Path:
    """Builds into a directory of its own, so that the file to install is the one just made."""
    fresh = BUILD / "wheel" / interpreter.tag
    shutil.rmtree(fresh, ignore_errors=True)
    env = cargo_env(interpreter)
    maturin = venvs.tools() / "bin/maturin"
    command: Command = [maturin, "build", "--interpreter", env["PYO3_PYTHON"], "--out", fresh]
    with locked(f"build-{interpreter.tag}"):
        status = run(command, env=env, output=output)
    made = sorted(fresh.glob("*.whl"))
    if status or len(made) != 1:
        fail(f"building the wheel for {interpreter} failed (status {status})")
    DIST.mkdir(exist_ok=True)
    return Path(shutil.copy2(made[0], DIST))


def _try(interpreter: Interpreter, wheel: Path, output: IO[str]) -> int:
    """Installs the wheel in a clean environment and uses it, with nothing else on PATH."""
    directory = venvs.VENVS / "wheel"
    shutil.rmtree(directory, ignore_errors=True)
    check([interpreter.path, "-m", "venv", "--without-pip", directory], "making an environment")
    env = {
        "PATH": str(directory / "bin"),
        "CARGO_HOME": "/nonexistent",
        "RUSTUP_HOME": "/nonexistent",
    }
    python = venvs.python_in(directory)
    pip = venvs.python_in(venvs.tools())
    commands: list[Command] = [
        [pip, "-m", "pip", "--python", python, "install", wheel],
        [python, "-W", "error", "-I", "-c", SMOKE],
        [directory / "bin/counterpoint", "--help"],
    ]
    for command in commands:
        if status := run(command, env=env, limit=300, output=output):
            return status
    return 0
