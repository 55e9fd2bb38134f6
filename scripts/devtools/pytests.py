"""The steps that build for each interpreter and run there what is meaningful on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import IO

from . import build, venvs
from .common import IN_CI, ROOT
from .interpreters import TAGS, Found, Interpreter
from .steps import Runner, in_lanes

# The long suites say much the same on neighbouring versions: these three run them each time, all
# of them in test-all; so do some by each start method, which is for test-all alone.
LONG_TAGS = ("cp311", "cp313", "cp315")

# How many interpreters' tests run at a time.
LANES = 3

# Seconds for one of them, beside the others on a slow machine.
LIMIT = 2400

# Built with less effort, in less time: their neighbours are built as users are told to.
BRISKLY = ("cp312", "cp314", "cp315", "cp314t")

SUITES = ("unit", "faults", "stress", "clients")

# What is run on those whose neighbours run everything: faults, races and clients find out about our
# code, and not about the interpreter's. Races without a GIL are looked for on both such builds.
SUITES_OF = {"cp312": ("unit",), "cp314": ("unit",), "cp314t": ("unit", "stress")}

# Names a directory with test modules that an interpreter was installed without.
LENT = "COUNTERPOINT_CONFORMANCE_SUITES"

# A package that `make install` of some releases leaves out, what runs it, and the release whose own
# is known to pass on the older ones.
LENDABLE = {"test_concurrent_futures": "tests/conformance/test_futures.py"}
LENDER = "cp313"

# A module that cannot be imported is an error, and the others still run.
PYTEST = ["--durations=5", "--continue-on-collection-errors"]

# Any warning is an error here: the interpreter warns when an import turns the GIL on.
GIL_STAYS_OFF = """
import sys, counterpoint, counterpoint._core
import counterpoint.threading, counterpoint.queue, counterpoint.futures
sys.exit("the import turned the GIL on" if sys._is_gil_enabled() else 0)
"""


def coverage(runner: Runner, found: Found) -> None:
    """In CI every interpreter has to be there; elsewhere one is enough."""
    lost = [f"{tag}: {why}" for tag, why in found.missing.items() if why != "left out by TAGS"]
    if IN_CI and lost:
        runner.failed_because("all interpreters", "; ".join(lost))


def built(runner: Runner, interpreter: Interpreter) -> bool:
    """Sets up and builds for it; whether that worked."""
    return runner.call(f"build {interpreter.tag}", partial(_build, interpreter))


def _build(interpreter: Interpreter, output: IO[str]) -> int:
    profile = "brisk" if IN_CI and interpreter.tag in BRISKLY else "release"
    build.develop(interpreter, *venvs.TESTED_WITH, profile=profile, output=output)
    return 0


def lender(found: Found) -> Interpreter | None:
    """Whose test modules the others may borrow."""
    one = found.chosen.get(LENDER)
    return one if one and one.has_suite and one.tests and not LENDABLE.keys() & one.lacks else None


def everywhere(
    runner: Runner, built: list[Interpreter], *, everything: bool, lender: Interpreter | None
) -> None:
    """The tests of some interpreters at a time: tests wait more than they compute."""
    # What takes longest begins first.
    order = sorted(built, key=lambda one: (one.tag not in LONG_TAGS, not one.free_threaded))
    lanes = int(os.environ.get("TEST_LANES") or LANES)
    one = partial(everything_on, runner, everything=everything, lender=lender)
    in_lanes(lanes, [partial(one, interpreter) for interpreter in order])


def everything_on(
    runner: Runner,
    interpreter: Interpreter,
    *,
    everything: bool,
    lender: Interpreter | None = None,
) -> None:
    tag = interpreter.tag
    if interpreter.free_threaded:
        python = venvs.python_in(venvs.VENVS / tag)
        runner.commands(f"GIL stays off {tag}", [[python, "-W", "error", "-c", GIL_STAYS_OFF]])
    short = "not repeated" if tag in LONG_TAGS else "not long"
    options = [] if everything else ["-m", short]
    suites = SUITES if everything else SUITES_OF.get(tag, SUITES)
    if paths := _existing(suites):
        runner.commands(
            f"pytest {tag}", [_pytest(interpreter, *options, *paths)], limit=LIMIT, counts=True
        )
    _conformance(runner, interpreter, options, lender)


def _conformance(
    runner: Runner, interpreter: Interpreter, options: list[str], lender: Interpreter | None
) -> None:
    name = f"conformance {interpreter.tag}"
    if not (paths := _existing(["conformance"])):
        return
    if interpreter.free_threaded:
        runner.not_run(name, "CPython's suites are run on builds with the GIL")
    elif not interpreter.has_suite:
        runner.not_run(name, f"{interpreter.path} is installed without CPython's test package")
    else:
        runner.commands(name, [_pytest(interpreter, *options, *paths)], limit=LIMIT, counts=True)
        for module in () if os.environ.get(LENT) else interpreter.lacks:
            _lacking(runner, interpreter, module, options, lender)


def _lacking(
    runner: Runner,
    interpreter: Interpreter,
    module: str,
    options: list[str],
    lender: Interpreter | None,
) -> None:
    """A test module that was left out of an installation, lent by another one if possible."""
    name = f"conformance {interpreter.tag}, {module}"
    if lender is None or module not in LENDABLE:
        why = f"CPython {interpreter.version} is installed without test.{module}"
        runner.not_run(name, why)
        return
    command = _pytest(interpreter, *options, LENDABLE[module])
    env = {LENT: lender.tests}
    runner.commands(f"{name} of {lender.version}", [command], env=env, limit=600, counts=True)


def _existing(names: Sequence[str]) -> list[str]:
    return [f"tests/{name}" for name in names if any((ROOT / "tests" / name).rglob("test_*.py"))]


def _pytest(interpreter: Interpreter, *arguments: str) -> list[str | Path]:
    python = venvs.python_in(venvs.VENVS / interpreter.tag)
    cache = f"cache_dir=build/pytest/{interpreter.tag}"
    return [python, "-m", "pytest", "-q", "-o", cache, *PYTEST, *arguments]


def report(found: Found, built: list[Interpreter]) -> list[str]:
    """Which of the supported interpreters this run covered, and why not the others."""
    lines = ["", "interpreters covered:"]
    lines += [f"  {i.tag:8}{i.version:10}{i.path}" for i in built]
    lost = dict(found.missing)
    lost.update({tag: "its build failed" for tag, i in found.chosen.items() if i not in built})
    if lost:
        lines += ["not covered:", *(f"  {tag:8}{lost[tag]}" for tag in TAGS if tag in lost)]
    return lines
