"""The command line: one function for each target of the Makefile."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from functools import partial

from . import build, docs, interpreters, prerequisites, pytests, python_checks, rust, venvs
from .common import BUILD, IN_CI, ROOT, TARGET, Trouble, check, run, say
from .demo import demo, demo_step
from .interpreters import Found, Interpreter
from .steps import Runner, in_lanes
from .wheel import DIST, wheels

# How much is compiled at a time.
BUILD_LANES = 2

# Where demands are judged; on the free-threaded builds the numbers are only reported.
BENCH_TAGS = ("cp311", "cp313", "cp314t", "cp315t")


def develop() -> int:
    prerequisites.check_all()
    for interpreter in _chosen():
        say(f"{interpreter}: {build.develop(interpreter, *venvs.TESTED_WITH)}")
    return 0


def _chosen() -> list[Interpreter]:
    """PYTHON's interpreter, or with PYTHON=all every one found."""
    if os.environ.get("PYTHON") == "all":
        return list(interpreters.discover().chosen.values())
    return [interpreters.one()]


def test() -> int:
    return _test(everything=False)


def test_all() -> int:
    return _test(everything=True)


def _test(*, everything: bool) -> int:
    prerequisites.check_all()
    prerequisites.check_rust_tools()
    started = time.monotonic()
    found = interpreters.discover()
    primary = found.primary()
    runner = Runner()
    say(f"interpreters: {' '.join(found.chosen)}; lint, types and docs on {primary.tag}")
    pytests.coverage(runner, found)
    rust.fmt(runner)
    python_checks.ruff(runner, primary)
    python_checks.style(runner)
    shipped = everything or IN_CI
    built = _compiled(runner, found, shipped)
    rust.tests(runner)
    rust.loom(runner)
    rust.tsan(runner)
    pytests.everywhere(runner, built, everything=everything, lender=pytests.lender(found))
    docs.docs(runner, primary)
    if shipped:
        demo_step(runner, primary)
    minutes = (time.monotonic() - started) / 60
    return runner.finish([*pytests.report(found, built), f"{minutes:.1f} minutes"])


def _compiled(runner: Runner, found: Found, shipped: bool) -> list[Interpreter]:
    """Compiles all there is and runs what judges sources; the interpreters that it worked for.

    Two at a time: the last and longest crate of a build keeps one CPU busy.
    """
    primary = found.primary()
    built = {primary.tag: pytests.built(runner, primary)}  # the others start from what it made

    def build_for(interpreter: Interpreter) -> None:
        built[interpreter.tag] = pytests.built(runner, interpreter)

    others = [one for one in found.chosen.values() if one != primary]
    steps: list[Callable[[], object]] = [partial(build_for, interpreter) for interpreter in others]
    steps += [partial(step, runner) for step in rust.BUILDS]
    if shipped:
        steps.append(partial(wheels, runner, [primary]))
    steps.append(partial(_static, runner, found, primary))
    in_lanes(BUILD_LANES, steps)
    return [interpreter for tag, interpreter in found.chosen.items() if built[tag]]


def _static(runner: Runner, found: Found, primary: Interpreter) -> None:
    """What judges the sources with the compilers' help; the binding has been built by now."""
    python_checks.mypy(runner, primary)
    python_checks.stubtest(runner, primary)
    rust.clippy(runner, found)


def lint() -> int:
    prerequisites.check_all()
    prerequisites.check_rust_tools()
    found = interpreters.discover()
    primary = found.primary()
    runner = Runner()
    rust.fmt(runner)
    python_checks.ruff(runner, primary)
    python_checks.style(runner)
    pytests.built(runner, primary)
    _static(runner, found, primary)
    return runner.finish()


def fmt() -> int:
    prerequisites.check_rust_tools()
    check(["cargo", "fmt", "--all"], "cargo fmt")
    ruff = venvs.ensure(interpreters.discover().primary(), "test", "lint").with_name("ruff")
    check([ruff, "check", "--no-cache", "--select", "I", "--fix", *python_checks.sources()], "ruff")
    check([ruff, "format", "--no-cache", *python_checks.sources()], "ruff format")
    return 0


def _checker(*steps: Callable[[Runner], object]) -> Callable[[], int]:
    """A command of steps that need Rust only."""

    def command() -> int:
        prerequisites.check_rust()
        runner = Runner()
        for step in steps:
            step(runner)
        return runner.finish()

    return command


def make_docs() -> int:
    prerequisites.check_all()
    primary = interpreters.discover().primary()
    build.develop(primary, "test", "docs")
    runner = Runner()
    docs.docs(runner, primary)
    return runner.finish([f"built: {docs.SITE / 'index.html'}"])


def wheel() -> int:
    prerequisites.check_all()
    chosen = list(interpreters.discover().chosen.values())
    runner = Runner()
    wheels(runner, chosen)
    return runner.finish([f"wheels are in {DIST}"])


def bench() -> int:
    """On PYTHON or, without it, on the versions with targets and the free-threaded ones."""
    prerequisites.check_all()
    if os.environ.get("PYTHON"):
        chosen = _chosen()
    else:
        found = interpreters.discover().chosen
        tags = [tag for tag in BENCH_TAGS if tag in found]
        chosen = [found[tag] for tag in tags or list(found)[:1]]
    rust.build_bench_programs()
    status = 0
    for interpreter in chosen:
        say(f"\n{interpreter}")
        python = build.develop(interpreter, "test", "bench")
        arguments = shlex.split(os.environ.get("BENCH_ARGS", ""))
        status |= run([python, "-m", "benches.vs", *arguments], limit=7200)
    return status


def clean() -> int:
    for directory in (BUILD, TARGET, DIST):
        shutil.rmtree(directory, ignore_errors=True)
    for module in (ROOT / "python").rglob("*.so"):
        module.unlink()
    return 0


COMMANDS: dict[str, Callable[[], int]] = {
    "bench": bench,
    "clean": clean,
    "demo": demo,
    "develop": develop,
    "docs": make_docs,
    "fmt": fmt,
    "lint": lint,
    "loom": _checker(rust.build_loom, rust.loom),
    "miri": _checker(rust.miri),
    "test": test,
    "test-all": test_all,
    "tsan": _checker(rust.tsan),
    "wheel": wheel,
}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="scripts/dev", description=__doc__)
    parser.add_argument("command", choices=sorted(COMMANDS))
    parser.add_argument("--python", help="the interpreter to use (the same as PYTHON=…)")
    given = parser.parse_args(arguments)
    if given.python:
        os.environ["PYTHON"] = given.python
    try:
        return COMMANDS[given.command]()
    except Trouble as trouble:
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
